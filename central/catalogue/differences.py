"""What differs between two texts of an entry, field by field; items are told apart by their column."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from central.catalogue.entry import Entry


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: ``items[name].type`` and the like; None = it is not there."""

    field: str
    before: Any
    after: Any

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON says it."""
        return {"field": self.field, "before": self.before, "after": self.after}


def differences(before: Entry | None, after: Entry | None) -> list[Difference]:
    """Every field that is not the same, in the order of the model."""
    old, new = _said(before), _said(after)
    parts = [*new, *(part for part in old if part not in new)]
    return [found for part in parts for found in _between(part, old.get(part, {}), new.get(part, {}))]


def name_key(text: str) -> str:
    """*text* without what two people would write differently: width, case, spaces, punctuation."""
    wide = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in wide if letter.isalnum())


_Fields = dict[str, Any]


def _said(entry: Entry | None) -> dict[str, _Fields]:
    """Its own fields under "", and those of each item."""
    if entry is None:
        return {}
    own = entry.model_dump(mode="json")
    items = own["items"]
    own["items"] = [item["column"] for item in items]
    return {"": own, **{f"items[{item['column']}]": item for item in items}}


def _between(part: str, old: _Fields, new: _Fields) -> Iterator[Difference]:
    if old == new:
        return
    # Nothing is taken apart that is the same as a whole.
    was = dict(_leaves(part, {name: old[name] for name in old if old[name] != new.get(name)}))
    now = dict(_leaves(part, {name: new[name] for name in new if new[name] != old.get(name)}))
    for name in (*now, *(name for name in was if name not in now)):
        if was.get(name) != now.get(name):
            yield Difference(name, was.get(name), now.get(name))


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [
            leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}" if name else key, inner)
        ]
    return [(name, value)]
