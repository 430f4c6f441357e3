"""Exact decimals: PostgreSQL's base-10,000 binary form and the text it prints for it, every digit and zero kept."""

from __future__ import annotations

import re
import struct
from typing import Final, NoReturn

from proto.errors import Refused

_HEAD: Final = struct.Struct(">HhHH")
"""Digit groups, weight of the first one, sign, digits shown after the point."""
_PLUS, _MINUS = 0x0000, 0x4000
SPECIAL: Final = {"NaN": 0xC000, "Infinity": 0xD000, "-Infinity": 0xF000}
_SPECIAL_TEXT: Final = {sign: text for text, sign in SPECIAL.items()}
# The server sends the infinities with a bit of their stored flag in the scale; equal values must be equal bytes.
_SPECIAL_SCALE: Final = {"NaN": 0, "Infinity": 0x20, "-Infinity": 0x20}
MAX_WHOLE_DIGITS, MAX_SCALE = 131_072, 16_383
_GROUP: Final = tuple(f"{group:04}" for group in range(10_000))
_TEXT: Final = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?", re.ASCII)


def decimal_text(data: bytes) -> str:
    """The text of a decimal, as many digits after the point as its scale says."""
    digits, weight, sign, scale = _parts(data)
    if sign in _SPECIAL_TEXT:
        return _SPECIAL_TEXT[sign]
    groups = [_GROUP[digit] for digit in digits]
    point = weight + 1  # how many groups stand before the point
    if point <= 0:
        whole, fraction = "0", "0000" * -point + "".join(groups)
    else:
        whole = "".join(groups[:point]).ljust(4 * point, "0").lstrip("0") or "0"
        fraction = "".join(groups[point:])
    shown = f"{whole}.{fraction[:scale].ljust(scale, '0')}" if scale else whole
    return "-" + shown if sign == _MINUS else shown


def decimal_from_text(text: str) -> bytes:
    """The binary form of a decimal; an exponent is allowed and widens the scale as PostgreSQL does."""
    if text in SPECIAL:
        return _HEAD.pack(0, 0, SPECIAL[text], _SPECIAL_SCALE[text])
    found = _TEXT.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        _refuse("is malformed")
    whole, fraction = _shifted(found[2], found[3] or "", int(found[4] or 0))
    whole = whole.lstrip("0")
    if len(whole) > MAX_WHOLE_DIGITS or len(fraction) > MAX_SCALE:
        _refuse("has too many digits")
    before = -(-len(whole) // 4)
    after = -(-len(fraction) // 4)
    all_digits = whole.rjust(4 * before, "0") + fraction.ljust(4 * after, "0")
    return _assemble(all_digits, before - 1, found[1] == "-", len(fraction))


def check_decimal(data: bytes) -> None:
    """Raise Refused unless *data* is a decimal in its one canonical form."""
    digits, weight, sign, scale = _parts(data)
    if sign in _SPECIAL_TEXT:
        if digits or weight or scale != _SPECIAL_SCALE[_SPECIAL_TEXT[sign]]:
            _refuse("is not in its canonical form")
        return
    if digits and (digits[0] == 0 or digits[-1] == 0):
        _refuse("is not in its canonical form")
    if not digits and (weight or sign):
        _refuse("is not in its canonical form")
    if digits and _last_place(digits, weight) > scale:
        _refuse("has digits beyond its scale")


def _parts(data: bytes) -> tuple[tuple[int, ...], int, int, int]:
    if len(data) < _HEAD.size:
        _refuse("is cut off")
    count, weight, sign, scale = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + 2 * count:
        _refuse("has another number of digits than it says")
    if sign not in (_PLUS, _MINUS) and sign not in _SPECIAL_TEXT:
        _refuse("has no known sign")
    digits = struct.unpack_from(f">{count}H", data, _HEAD.size)
    if count and max(digits) > 9999:
        _refuse("has a digit group over 9999")
    if scale > MAX_SCALE or not -(MAX_SCALE // 4 + 1) <= weight < MAX_WHOLE_DIGITS // 4:
        _refuse("has too many digits")
    return digits, weight, sign, scale


def _last_place(digits: tuple[int, ...], weight: int) -> int:
    """How many places after the point the last digit that is not zero stands."""
    last = _GROUP[digits[-1]].rstrip("0")
    return 4 * (len(digits) - weight - 2) + len(last)


def _shifted(whole: str, fraction: str, exponent: int) -> tuple[str, str]:
    """The digits before and after the point once the exponent is gone."""
    if abs(exponent) > MAX_WHOLE_DIGITS:
        _refuse("has too large an exponent")
    if exponent > 0:
        fraction = fraction.ljust(exponent, "0")
        return whole + fraction[:exponent], fraction[exponent:]
    if exponent < 0:
        whole = whole.rjust(-exponent, "0")
        return whole[:exponent], whole[exponent:] + fraction
    return whole, fraction


def _assemble(all_digits: str, weight: int, negative: bool, scale: int) -> bytes:
    groups = [int(all_digits[at : at + 4]) for at in range(0, len(all_digits), 4)]
    first = next((at for at, group in enumerate(groups) if group), None)
    if first is None:
        return _HEAD.pack(0, 0, _PLUS, scale)
    last = next(at for at in range(len(groups) - 1, -1, -1) if groups[at])
    groups = groups[first : last + 1]
    head = _HEAD.pack(len(groups), weight - first, _MINUS if negative else _PLUS, scale)
    return head + struct.pack(f">{len(groups)}H", *groups)


def _refuse(what: str) -> NoReturn:
    raise Refused(f"a value for a decimal {what}")
