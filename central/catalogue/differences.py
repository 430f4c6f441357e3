"""What differs between two texts of an entry, field by field; items are told apart by their column."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
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
        return asdict(self)


def differences(before: Entry | None, after: Entry | None) -> list[Difference]:
    """Every field that is not the same, in the order of the model."""
    old, new = _flat(before), _flat(after)
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    ]


def name_key(text: str) -> str:
    """*text* without what two people would write differently: width, case, spaces, punctuation."""
    wide = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in wide if letter.isalnum())


def _flat(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    said = entry.model_dump(mode="json")
    items = said.pop("items")
    fields = dict(_leaves("", said))
    fields["items"] = [item["column"] for item in items]
    for item in items:
        fields |= dict(_leaves(f"items[{item['column']}]", item))
    return fields


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [
            leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}" if name else key, inner)
        ]
    return [(name, value)]
