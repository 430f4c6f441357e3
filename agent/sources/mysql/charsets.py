"""The servers' character sets: their bytes become UTF-8 exactly as the server itself would convert them, or not at all.

Bytes that are no character raise UnicodeDecodeError; nothing is ever replaced. What a set's name does not say is
here too: latin1 is Windows' cp1252 with the five holes filled, big5 has the seven ETEN characters, euckr is cp949.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from proto.errors import Refused

Decoder = Callable[[bytes], bytes]
"""From a column's bytes to UTF-8."""

UTF8: Final = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii"})
"""Sets whose bytes are UTF-8 already."""
TABLED: Final = frozenset({"latin1", "gbk", "gb2312", "big5", "euckr"})
"""Sets of one or two bytes per character within 16 bits, which the compiled version keeps tables of."""

_CODECS: Final = {
    "gbk": "gbk",
    "gb2312": "gb2312",
    "gb18030": "gb18030",
    "euckr": "cp949",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "koi8r": "koi8-r",
    "tis620": "tis-620",
    "macroman": "mac-roman",
    "macce": "mac-latin2",
}
_ETEN: Final = dict(zip(range(0xF9D6, 0xF9DD), "碁銹裏墻恒粧嫺", strict=True))

# Numbers of collations, as the optional part of a table map has them. One set's numbers from 2048 on are a block.
_COLLATIONS: Final = {
    "ascii": (11, 65),
    "big5": (1, 84),
    "binary": (63,),
    "cp1250": (26, 34, 44, 66, 99),
    "cp1251": (14, 23, 50, 51, 52),
    "cp1256": (57, 67),
    "cp1257": (29, 58, 59),
    "cp850": (4, 80),
    "cp852": (40, 81),
    "cp866": (36, 68),
    "cp932": (95, 96),
    "eucjpms": (97, 98),
    "euckr": (19, 85),
    "gb18030": (248, 249, 250),
    "gb2312": (24, 86),
    "gbk": (28, 87),
    "greek": (25, 70),
    "hebrew": (16, 71),
    "koi8r": (7, 74),
    "koi8u": (22, 75),
    "latin1": (5, 8, 15, 31, 47, 48, 49, 94),
    "latin2": (2, 9, 21, 27, 77),
    "latin5": (30, 78),
    "latin7": (20, 41, 42, 79),
    "macce": (38, 43),
    "macroman": (39, 53),
    "sjis": (13, 88),
    "tis620": (18, 89),
    "ujis": (12, 91),
    "ucs2": (35, 90, *range(128, 152), 159, 640, 641, 642, *range(2560, 2816)),
    "utf16": (54, 55, *range(101, 125), 672, 673, 674, *range(2816, 3072)),
    "utf16le": (56, 62),
    "utf32": (60, 61, *range(160, 184), 736, 737, 738, *range(3072, 3328)),
    "utf8mb3": (33, 76, 83, *range(192, 216), 223, 576, 577, 578, *range(2048, 2304)),
    "utf8mb4": (45, 46, *range(224, 248), *range(255, 324), 608, 609, 610, *range(2304, 2560)),
}
_CHARSETS: Final = {number: name for name, numbers in _COLLATIONS.items() for number in numbers}
_NO_PAD: Final = 1024
"""MariaDB adds it to the number of a collation for its variant that keeps trailing spaces."""


def charset_of(collation: int) -> str:
    """The character set of a collation by its number; ``""`` when it is not known here."""
    found = _CHARSETS.get(collation)
    if found is None and _NO_PAD < collation < 2 * _NO_PAD:
        found = _CHARSETS.get(collation - _NO_PAD)
    return found or ""


def decoder(charset: str) -> Decoder:
    """How to read this character set; Refused when it is not known exactly."""
    if charset in _SPECIAL:
        return _SPECIAL[charset]
    if charset not in _CODECS:
        raise Refused(f"character set {charset} is not supported")
    return _by_codec(_CODECS[charset])


@cache
def _by_codec(codec: str) -> Decoder:
    def decode(data: bytes) -> bytes:
        return data.decode(codec).encode()

    return decode


def _utf8(data: bytes) -> bytes:
    data.decode()
    return data


def _utf8mb3(data: bytes) -> bytes:
    return _within_16_bits(data.decode(), data)


def _ascii(data: bytes) -> bytes:
    data.decode("ascii")
    return data


def _latin1(data: bytes) -> bytes:
    return "".join(map(_LATIN1.__getitem__, data)).encode()


def _ucs2(data: bytes) -> bytes:
    return _within_16_bits(data.decode("utf-16-be"), data)


def _big5(data: bytes) -> bytes:
    parts: list[str] = []
    at = 0
    while True:
        try:
            parts.append(data[at:].decode("big5"))
        except UnicodeDecodeError as error:
            start = at + error.start
            code = int.from_bytes(data[start : start + 2])
            if code not in _ETEN:
                raise
            parts += (data[at:start].decode("big5"), _ETEN[code])
            at = start + 2
        else:
            return "".join(parts).encode()


def _within_16_bits(text: str, data: bytes) -> bytes:
    if text and max(text) > "\uffff":
        raise UnicodeDecodeError("ucs2", data, 0, len(data), "a character of more than 16 bits")
    return text.encode()


def _one_latin1(code: int) -> str:
    # The server keeps the five codes that cp1252 leaves open as control characters.
    hole = code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
    return chr(code) if hole else bytes([code]).decode("cp1252")


_LATIN1: Final = tuple(map(_one_latin1, range(256)))
_SPECIAL: Final[dict[str, Decoder]] = {
    "utf8mb4": _utf8,
    "utf8mb3": _utf8mb3,
    "utf8": _utf8mb3,
    "ascii": _ascii,
    "latin1": _latin1,
    "ucs2": _ucs2,
    "big5": _big5,
}
