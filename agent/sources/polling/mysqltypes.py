"""What a type means in MariaDB's and MySQL's own words: the kind and the text that their log gives."""

from __future__ import annotations

import re
from typing import Final

from agent.sources.mysql.types import Type, from_catalog
from proto.values import Kind

_WORD: Final = re.compile(r"\w+")
_DIGITS: Final = frozenset({Kind.OTHER, Kind.TEXT})


def kind_of(declared: str) -> Kind | None:
    """The kind the log gives a column of this type; None for a word that is not the server's own."""
    found = _type(declared)
    return None if found is None else found.kind


def expressions(declared: str, kind: Kind) -> tuple[str, str] | None:
    """How to read, and to compare, a column that no cast makes the text that the log gives; None for all others."""
    found = _type(declared)
    if found is not None and found.shown == "bit" and kind is Kind.BOOL:
        # It comes as a byte, which is not what it is compared with; a text that says t must not be reckoned with.
        return "{0} + 0", "({0} = 't')"
    if found is None or kind not in _DIGITS:
        return None
    if found.shown == "bit":
        return f"LPAD(BIN({{0}} + 0), {found.size}, '0')", "CONV({0}, 2, 10) + 0"
    return ("HEX({0})", "UNHEX({0})") if found.shown == "geometry" else None


def _type(declared: str) -> Type | None:
    words = declared.lower()
    head = _WORD.match(words)
    return from_catalog(head[0], words, 0, "") if head else None
