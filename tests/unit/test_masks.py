"""What stands in place of a value: exactly what the mask says, never more."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import Refused
from proto.masks import Hide, Keep, Mask, Pseudonym, Year, from_json, to_json
from proto.values import Kind, check_value, from_text, to_text

KEY = bytes(range(32))


def masked(mask: Mask, kind: Kind, text: str) -> str | None:
    """The text of what is delivered, which is a value of the delivered kind."""
    field = mask.ready(kind, KEY)(from_text(kind, text))
    if field is None:
        return None
    check_value(mask.kind_after(kind), field)
    return to_text(mask.kind_after(kind), field)


@pytest.mark.parametrize(
    ("mask", "kind", "text", "shown"),
    [
        (Keep(3, 4), Kind.TEXT, "110101199003071234", "110***********1234"),
        (Keep(3, 4), Kind.TEXT, "13812345678", "138****5678"),
        (Keep(3, 4), Kind.INT64, "13812345678", "138****5678"),
        (Keep(1, 0), Kind.TEXT, "张三丰", "张**"),
        (Keep(1, 0), Kind.TEXT, "欧阳𠮷😀", "欧***"),
        (Keep(0, 1), Kind.TEXT, "甲😀", "*😀"),
        (Keep(1, 0), Kind.TEXT, "张", "*"),
        (Keep(3, 4), Kind.TEXT, "1234567", "*******"),
        (Keep(3, 4), Kind.TEXT, "12345678", "123*5678"),
        (Keep(3, 4), Kind.TEXT, "", ""),
        (Keep(1, 1), Kind.INT16, "-123", "-**3"),
        (Hide(), Kind.TEXT, "张三", "***"),
        (Hide(), Kind.TEXT, "", "***"),
        (Hide(), Kind.INT32, "7", None),
        (Hide(), Kind.OTHER, "{甲}", None),
        (Hide(), Kind.BYTES, "\\x00", None),
        (Year(), Kind.DATE, "1990-03-07", "1990-01-01"),
        (Year(), Kind.DATE, "0044-03-15 BC", "0044-01-01 BC"),
        (Year(), Kind.DATE, "4714-11-30 BC", "4714-11-24 BC"),
        (Year(), Kind.DATE, "10000-12-31", "10000-01-01"),
        (Year(), Kind.DATE, "infinity", "infinity"),
        (Year(), Kind.TIMESTAMP, "1990-12-31 23:59:59.999999", "1990-01-01 00:00:00"),
        (Year(), Kind.TIMESTAMP, "4714-12-01 00:00:00 BC", "4714-11-24 00:00:00 BC"),
        (Year(), Kind.TIMESTAMP, "-infinity", "-infinity"),
        (Year(), Kind.TIMESTAMPTZ, "1990-12-31 23:59:59+00", "1990-01-01 00:00:00+00"),
        (Year(), Kind.TIMESTAMPTZ, "0001-05-05 00:00:00+00 BC", "0001-01-01 00:00:00+00 BC"),
    ],
)
def test_what_is_shown(mask: Mask, kind: Kind, text: str, shown: str | None) -> None:
    """Chinese names, emoji and the ends of the calendar too."""
    assert masked(mask, kind, text) == shown


@given(text=st.text(max_size=12), first=st.integers(0, 4), last=st.integers(1, 4))
def test_keep_hides_at_least_one_character(text: str, first: int, last: int) -> None:
    """As many characters as before; a short value is hidden whole."""
    shown = masked(Keep(first, last), Kind.TEXT, text)
    assert shown is not None
    assert len(shown) == len(text)
    if len(text) > first + last:
        assert shown == text[:first] + "*" * (len(text) - first - last) + text[-last:]
    else:
        assert set(shown) <= {"*"}


def test_a_pseudonym_is_a_keyed_digest() -> None:
    """The same for the same value, kind and key; another as soon as one of them differs."""
    expected = hmac.new(KEY, b"text\0" + "张三".encode(), hashlib.sha256).hexdigest()[:32]
    assert masked(Pseudonym(), Kind.TEXT, "张三") == expected
    found = [
        Pseudonym().ready(kind, key)(from_text(kind, text))
        for kind, key, text in [
            (Kind.TEXT, KEY, "张三"),
            (Kind.OTHER, KEY, "张三"),
            (Kind.TEXT, KEY[::-1], "张三"),
            (Kind.TEXT, KEY, "张四"),
            (Kind.TEXT, KEY, ""),
            (Kind.INT32, KEY, "1"),
            (Kind.INT64, KEY, "1"),
        ]
    ]
    assert len(set(found)) == len(found)
    assert {len(each or b"") for each in found} == {32}


def test_pseudonyms_of_many_keys_differ() -> None:
    """They stand for key columns."""
    ready = Pseudonym().ready(Kind.INT32, KEY)
    assert len({ready(number.to_bytes(4)) for number in range(20_000)}) == 20_000


def test_the_key_is_never_shown() -> None:
    """Neither by what is ready to work nor in the mask's form."""
    assert KEY[:8].hex() not in repr(Pseudonym().ready(Kind.TEXT, KEY))
    assert repr(KEY)[2:20] not in repr(Pseudonym().ready(Kind.TEXT, KEY))
    assert to_json(Pseudonym()) == {"mask": "pseudonym"}


def test_only_a_pseudonym_keeps_keys_apart() -> None:
    """The others make different keys alike."""
    assert [mask.keeps_keys for mask in (Keep(1, 1), Hide(), Year(), Pseudonym())] == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_mask_says_which_kinds_it_is_for(kind: Kind) -> None:
    """And what becomes of them."""
    assert Pseudonym().kind_after(kind) is Kind.TEXT
    assert Hide().kind_after(kind) is kind
    for mask, fitting in (
        (
            Keep(1, 1),
            {Kind.TEXT: Kind.TEXT, **dict.fromkeys((Kind.INT16, Kind.INT32, Kind.INT64), Kind.TEXT)},
        ),
        (Year(), {kind: kind for kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)}),
    ):
        if kind in fitting:
            assert mask.kind_after(kind) is fitting[kind]
        else:
            with pytest.raises(Refused):
                mask.kind_after(kind)


@pytest.mark.parametrize(
    ("mask", "kind", "field"),
    [
        (Keep(1, 1), Kind.TEXT, b"\xff\xfe\xfd"),
        (Keep(1, 1), Kind.INT32, b"\0"),
        (Year(), Kind.DATE, b"\0\0\0"),
        (Year(), Kind.TIMESTAMP, b"\x7f" + b"\xff" * 6 + b"\0"),
    ],
)
def test_bytes_that_are_no_value_are_refused(mask: Mask, kind: Kind, field: bytes) -> None:
    """Instead of being passed on."""
    with pytest.raises(Refused):
        mask.ready(kind, KEY)(field)


@pytest.mark.parametrize("mask", [Keep(3, 4), Keep(0, 1), Hide(), Year(), Pseudonym()])
def test_a_mask_comes_back_from_its_form(mask: Mask) -> None:
    """Equal to what it was."""
    assert from_json(to_json(mask)) == mask


@pytest.mark.parametrize(
    "form",
    [
        None,
        "hide",
        {},
        {"mask": "drop"},
        {"mask": ["hide"]},
        {"mask": "hide", "first": 1},
        {"mask": "keep", "first": 1},
        {"mask": "keep", "first": 1, "last": 1, "key": "x"},
        {"mask": "keep", "first": "1", "last": 1},
        {"mask": "keep", "first": True, "last": 1},
        {"mask": "keep", "first": 1.0, "last": 1},
        {"mask": "keep", "first": -1, "last": 1},
        {"mask": "keep", "first": 65, "last": 1},
        {"mask": "keep", "first": 0, "last": 0},
        {"mask": "pseudonym", "key": "00"},
    ],
)
def test_a_form_is_strict(form: Any) -> None:
    """Nothing missing, nothing unknown, no key."""
    with pytest.raises(Refused) as error:
        from_json(form, "masks.证件号")
    assert error.value.where == "masks.证件号"


def test_a_short_key_is_refused() -> None:
    """Pseudonyms of guessable values need an unguessable key."""
    with pytest.raises(Refused):
        Pseudonym().ready(Kind.TEXT, b"short")
