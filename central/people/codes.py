"""The unified social credit code of a department (GB 32100-2015): eighteen characters, the last one checks the rest."""

from __future__ import annotations

import re
from typing import Final

from proto.errors import Refused

_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CODE: Final = re.compile(f"[{_ALPHABET}]{{18}}")


def check_character(first_17: str) -> str:
    """The eighteenth character of a code that begins so: weights are the powers of 3 modulo 31."""
    total = sum(_ALPHABET.index(letter) * pow(3, place, 31) for place, letter in enumerate(first_17))
    return _ALPHABET[-total % 31]


def check_credit_code(code: str) -> str:
    """Return *code* if it is one; raises Refused that says what is wrong with it."""
    if not _CODE.fullmatch(code):
        raise Refused(
            "is not a unified social credit code: 18 digits and capitals, no I, O, S, V, Z", where=code[:40]
        )
    if check_character(code[:17]) != code[17]:
        raise Refused("its last character does not fit the others: a digit was mistyped", where=code)
    return code
