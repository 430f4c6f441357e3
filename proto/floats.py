"""Floating point numbers: the shortest text that reads back as the same number, as PostgreSQL prints it.

Python's ``repr`` also gives the shortest digits, but it takes a decimal that lies exactly halfway between two
numbers when rounding to even would save it (1e23); PostgreSQL does not. And Python has no 4-byte floats.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NoReturn

from proto.errors import Refused


@dataclass(frozen=True, slots=True)
class Width:
    """One size of float."""

    form: struct.Struct
    bits: struct.Struct
    digits: int
    """As many significant digits always suffice."""
    fixed_below: int
    """From this decimal exponent on, PostgreSQL prints an exponent."""
    nan: bytes


FLOAT32: Final = Width(struct.Struct(">f"), struct.Struct(">I"), 9, 6, bytes.fromhex("7fc00000"))
FLOAT64: Final = Width(struct.Struct(">d"), struct.Struct(">Q"), 17, 15, bytes.fromhex("7ff8000000000000"))
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?", re.ASCII)
_EXACT_BELOW: Final = 2.0**53
_SPECIAL: Final = {"Infinity": math.inf, "-Infinity": -math.inf}


def number(width: Width, data: bytes) -> float:
    """The number as Python has it."""
    if len(data) != width.form.size:
        _refuse(f"has {len(data)} bytes instead of {width.form.size}")
    value: float = width.form.unpack(data)[0]
    return value


def from_number(width: Width, value: float) -> bytes:
    """The binary form of a Python float; a 4-byte one is rounded to the nearest."""
    if math.isnan(value):
        return width.nan
    try:
        return width.form.pack(value)
    except OverflowError:
        _refuse("is out of range")


def float_text(width: Width, data: bytes) -> str:
    """The shortest text that reads back as the same number."""
    value = number(width, data)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if value == 0:
        return sign + "0"
    digits, exponent = _shortest(width, abs(value))
    return sign + _layout(digits, exponent, width.fixed_below)


def float_from_text(width: Width, text: str) -> bytes:
    """The binary form of the number nearest to *text*."""
    if text == "NaN":
        return width.nan
    if text in _SPECIAL:
        return width.form.pack(_SPECIAL[text])
    if not _NUMBER.fullmatch(text) or len(text) > 2000:
        _refuse("is malformed")
    value = float(text)
    if width is FLOAT32 and not math.isinf(value):
        value = _not_rounded_twice(value, text)
    data = from_number(width, value)
    if math.isinf(number(width, data)):
        _refuse("is out of range")
    return data


def _shortest(width: Width, value: float) -> tuple[str, int]:
    """The digits, and the power of ten of the first one."""
    if width is FLOAT64 and value < _EXACT_BELOW:
        # Below 2**53 nothing this short lies exactly halfway, so repr and PostgreSQL agree.
        return _digits(repr(value))
    low, high = _between(width, value)
    exact = Fraction(value)
    exponent = math.floor(math.log10(value))
    exponent += (exact >= Fraction(10) ** (exponent + 1)) - (exact < Fraction(10) ** exponent)
    for count in range(1, width.digits + 1):
        step = Fraction(10) ** (exponent - count + 1)
        down = exact // step
        inside = [n for n in (down, down + 1) if low < n * step < high]
        if inside:
            best = min(inside, key=lambda n: (abs(n * step - exact), n % 2))
            text = str(best)
            return text.rstrip("0"), exponent + len(text) - count
    raise AssertionError("a float has no decimal form")


def _between(width: Width, value: float) -> tuple[Fraction, Fraction]:
    """The open interval of decimals that can only mean *value*."""
    (bits,) = width.bits.unpack(width.form.pack(value))
    exact = Fraction(value)
    below: float = width.form.unpack(width.bits.pack(bits - 1))[0]
    above: float = width.form.unpack(width.bits.pack(bits + 1))[0]
    gap = exact - Fraction(below)
    upper = gap if math.isinf(above) else Fraction(above) - exact
    return exact - gap / 2, exact + upper / 2


def _digits(text: str) -> tuple[str, int]:
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    lost = len(whole + fraction) - len(digits)
    return digits.rstrip("0"), len(whole) - 1 - lost + int(power or 0)


def _layout(digits: str, exponent: int, fixed_below: int) -> str:
    if not -4 <= exponent < fixed_below:
        tail = "." + digits[1:] if len(digits) > 1 else ""
        return f"{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :]}" if len(digits) > exponent + 1 else whole


def _not_rounded_twice(value: float, text: str) -> float:
    """*value* rounded to odd instead of to nearest, so that rounding it again to 4 bytes is exact."""
    exact, seen = Decimal(text), Decimal(value)
    if exact == seen:
        return value
    (bits,) = FLOAT64.bits.unpack(FLOAT64.form.pack(value))
    bits -= abs(seen) > abs(exact)
    odd: float = FLOAT64.form.unpack(FLOAT64.bits.pack(bits | 1))[0]
    return odd


def _refuse(what: str) -> NoReturn:
    raise Refused(f"a value for a float {what}")
