"""What differs between two texts of an entry, field by field; items are told apart by their column."""

from __future__ import annotations

import unicodedata
from collections.abc import Set
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
    said, meant = _said(before), _said(after)
    same = {column for column, item in meant[1].items() if said[1].get(column) == item}
    old, new = _flat(*said, same), _flat(*meant, same)
    names = [*new, *(name for name in old if name not in new)]
    return [
        Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    ]


def name_key(text: str) -> str:
    """*text* without what two people would write differently: width, case, spaces, punctuation."""
    wide = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in wide if letter.isalnum())


Fields = dict[str, Any]


def _said(entry: Entry | None) -> tuple[Fields, dict[str, Fields]]:
    """Its own fields, and its items by column."""
    if entry is None:
        return {}, {}
    fields = entry.model_dump(mode="json")
    return fields, {item["column"]: item for item in fields.pop("items")}


def _flat(said: Fields, items: dict[str, Fields], same: Set[str]) -> Fields:
    """Field by field; items that are the *same* on both sides are not taken apart."""
    fields = dict(_leaves("", said))
    if said:
        fields["items"] = list(items)
    for column, item in items.items():
        if column not in same:
            fields |= dict(_leaves(f"items[{column}]", item))
    return fields


def _leaves(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [
            leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}" if name else key, inner)
        ]
    return [(name, value)]
