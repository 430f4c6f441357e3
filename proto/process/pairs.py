"""COLUMN=VALUE, as both programs take it on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from proto.errors import Refused


def pairs_of(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """COLUMN=VALUE by column; raises Refused, naming the *option*."""
    found = {}
    for text in texts or ():
        column, sign, value = text.partition("=")
        if not column or not sign:
            raise Refused("is not COLUMN=VALUE", where=option)
        found[column] = value
    return found
