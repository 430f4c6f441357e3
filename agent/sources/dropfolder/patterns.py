"""Names of files: patterns with ``*`` and ``?``, and which names are nobody's file yet."""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase
from functools import cache
from typing import Final

MAX_NAME_BYTES: Final = 200
"""A number is put before it and a word behind it; file systems take 255."""
_UNFINISHED: Final = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


def matches(name: str, pattern: str) -> bool:
    """Whether a file's *name* fits; the case of letters does not matter, as people do not see it."""
    return fnmatchcase(_folded(name), _folded(pattern))


def is_unfinished(name: str) -> bool:
    """Whether a program marks the file as not for us: hidden, being copied, or a spreadsheet's lock."""
    return name.startswith((".", "~$")) or name.lower().endswith(_UNFINISHED)


def overlap(one: str, other: str) -> bool:
    """Whether some name fits both patterns."""
    first, second = _folded(one), _folded(other)

    @cache
    def meet(at: int, to: int) -> bool:
        if at == len(first) or to == len(second):
            return not (first[at:] + second[to:]).strip("*")
        here, there = first[at], second[to]
        if "*" in (here, there):
            return meet(at + 1, to) or meet(at, to + 1)
        return (here == there or "?" in (here, there)) and meet(at + 1, to + 1)

    return meet(0, 0)


def _folded(text: str) -> str:
    # A name made on another system may hold the same characters in another composition.
    return unicodedata.normalize("NFC", text).casefold()
