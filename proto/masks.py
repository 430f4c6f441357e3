"""What another department sees in place of a value: functions on one field.

NULL stays NULL. A mask never shows more than it says: a value that is too short to hide anything between the
characters kept is hidden whole. ``drop`` is not a mask: leave the column out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from proto.calendar import DATE_FIRST, INFINITY, MINUS_INFINITY, STAMP_FIRST
from proto.errors import Refused
from proto.values import INTEGERS, Kind, from_text, to_text

Field = bytes | None
Masking = Callable[[bytes], Field]
"""A mask made ready for one column; Refused when the bytes cannot be a value of the column's kind."""

HIDDEN: Final = b"***"
MAX_KEPT: Final = 64
MIN_KEY_BYTES: Final = 16
PSEUDONYM_BYTES: Final = 16
_FIRST: Final = {
    Kind.DATE: DATE_FIRST.to_bytes(4, signed=True),
    Kind.TIMESTAMP: STAMP_FIRST.to_bytes(8, signed=True),
    Kind.TIMESTAMPTZ: STAMP_FIRST.to_bytes(8, signed=True),
}
"""The kinds that have a year, and the first value of each."""
_NEW_YEAR: Final = {
    Kind.DATE: "-01-01",
    Kind.TIMESTAMP: "-01-01 00:00:00",
    Kind.TIMESTAMPTZ: "-01-01 00:00:00+00",
}
_FIRST_YEAR: Final = ("4714-", " BC")


@dataclass(frozen=True, slots=True)
class Keep:
    """The first and last characters, a ``*`` for each between: an ID card with 3 and 4 is ``110***********1234``.

    Characters are Unicode code points. Integers become text.
    """

    name: ClassVar[str] = "keep"
    keeps_keys: ClassVar[bool] = False
    first: int
    last: int

    def __post_init__(self) -> None:
        kept = (self.first, self.last)
        if any(not 0 <= count <= MAX_KEPT for count in kept) or kept == (0, 0):
            fix = f"keep 0 to {MAX_KEPT} characters at each end, or use 'hide'"
            raise Refused("'keep' keeps too many characters or none", fix=fix)

    def kind_after(self, kind: Kind) -> Kind:
        """Text."""
        if kind is not Kind.TEXT and kind not in INTEGERS:
            raise Refused(
                f"'keep' is for texts and integers, not for {kind}", fix="use 'hide' or 'pseudonym'"
            )
        return Kind.TEXT

    def ready(self, kind: Kind, key: bytes) -> Masking:
        """The mask for a column of this kind."""
        return partial(self._masked, kind)

    def _masked(self, kind: Kind, data: bytes) -> bytes:
        text = to_text(kind, data)
        hidden = len(text) - self.first - self.last
        if hidden <= 0:
            return b"*" * len(text)
        return f"{text[: self.first]}{'*' * hidden}{text[len(text) - self.last :]}".encode()


@dataclass(frozen=True, slots=True)
class Hide:
    """Nothing of the value: ``***`` for a text; NULL for every other kind, which has no value that says "hidden"."""

    name: ClassVar[str] = "hide"
    keeps_keys: ClassVar[bool] = False

    def kind_after(self, kind: Kind) -> Kind:
        """The same."""
        return kind

    def ready(self, kind: Kind, key: bytes) -> Masking:
        """The mask for a column of this kind."""
        hidden = HIDDEN if kind is Kind.TEXT else None
        return lambda _: hidden


@dataclass(frozen=True, slots=True)
class Year:
    """The first day of the year of a date or a timestamp (one with time zone: of the year in UTC)."""

    name: ClassVar[str] = "year"
    keeps_keys: ClassVar[bool] = False

    def kind_after(self, kind: Kind) -> Kind:
        """The same."""
        if kind not in _FIRST:
            raise Refused(f"{kind} has no year", fix="use 'hide' or 'pseudonym'")
        return kind

    def ready(self, kind: Kind, key: bytes) -> Masking:
        """The mask for a column of this kind."""
        return partial(_cut, kind)


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """The same 32 hexadecimal characters for the same value, under the grant's own key.

    Rows can be joined and counted by it; without the key it cannot be reckoned back from guesses. Values that
    differ in their canonical bytes (decimals 1.0 and 1.00) have different ones.
    """

    name: ClassVar[str] = "pseudonym"
    keeps_keys: ClassVar[bool] = True

    def kind_after(self, kind: Kind) -> Kind:
        """Text."""
        return Kind.TEXT

    def ready(self, kind: Kind, key: bytes) -> Masking:
        """The mask for a column of this kind."""
        if len(key) < MIN_KEY_BYTES:
            raise Refused(f"the key for pseudonyms has fewer than {MIN_KEY_BYTES} bytes")
        prefix = kind.encode() + b"\0"
        # A closure and not a partial, whose repr would show the key.
        return lambda data: hmac.digest(key, prefix + data, "sha256")[:PSEUDONYM_BYTES].hex().encode()


Mask = Keep | Hide | Year | Pseudonym

_MASKS: Final[dict[str, type[Keep | Hide | Year | Pseudonym]]] = {
    mask.name: mask for mask in (Keep, Hide, Year, Pseudonym)
}


def to_json(mask: Mask) -> dict[str, Any]:
    """What :func:`from_json` reads back; it never holds a key."""
    kept = {"first": mask.first, "last": mask.last} if isinstance(mask, Keep) else {}
    return {"mask": mask.name, **kept}


def from_json(form: object, where: str = "mask") -> Mask:
    """The mask of a parsed JSON object. Raises Refused when anything is missing or not known."""
    if not isinstance(form, Mapping):
        raise Refused("a mask is not an object", where=where)
    name = form.get("mask")
    if not isinstance(name, str) or name not in _MASKS:
        fix = f"use one of: {', '.join(_MASKS)}; to drop a column, do not choose it"
        raise Refused("'mask' is missing or unknown", where=where, fix=fix)
    keys = ("first", "last") if name == Keep.name else ()
    if set(form) != {"mask", *keys}:
        wanted = ", ".join(("mask", *keys))
        raise Refused(f"'{name}' takes other keys", where=where, fix=f"give exactly: {wanted}")
    counts = [form[key] for key in keys]
    if any(type(count) is not int for count in counts):
        raise Refused("'first' and 'last' are not whole numbers", where=where)
    try:
        return _MASKS[name](*counts)
    except Refused as error:
        raise Refused(error.what, where=where, fix=error.fix) from None


def _cut(kind: Kind, data: bytes) -> bytes:
    text = to_text(kind, data)
    if text in (INFINITY, MINUS_INFINITY):
        return data
    first_year, before_christ = _FIRST_YEAR
    era = before_christ if text.endswith(before_christ) else ""
    if era and text.startswith(first_year):
        return _FIRST[kind]  # the calendar begins in that November
    return from_text(kind, text[: text.index("-")] + _NEW_YEAR[kind] + era)
