"""The digest two sides compare by: what it covers, and that it is computed as the documentation says."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import struct

import pytest

from proto.comparison import comparison_key, item_digest, text_digest
from proto.errors import Refused
from proto.values import Kind

KEY = bytes(range(32))


def test_it_is_what_the_documentation_says():
    """Another department may compute it with another program."""
    column, kind = "出生日期".encode(), b"date"
    said = b"exchange.v1/comparison\x00" + b"".join(struct.pack(">I", len(w)) + w for w in (column, kind))
    wanted = hmac.new(KEY, said + b"\x01" + b"1990-01-01", hashlib.sha256).hexdigest()
    assert text_digest(KEY, "出生日期", Kind.DATE, "1990-01-01") == wanted
    none = hmac.new(KEY, said + b"\x00", hashlib.sha256).hexdigest()
    assert text_digest(KEY, "出生日期", Kind.DATE, None) == none


def test_key_column_kind_value_and_absence_are_covered():
    """None of them can be exchanged for another."""
    digests = [
        text_digest(KEY, "a", Kind.TEXT, "1"),
        text_digest(bytes(32), "a", Kind.TEXT, "1"),
        text_digest(KEY, "b", Kind.TEXT, "1"),
        text_digest(KEY, "a", Kind.INT64, "1"),
        text_digest(KEY, "a", Kind.TEXT, "2"),
        text_digest(KEY, "a", Kind.TEXT, ""),
        text_digest(KEY, "a", Kind.TEXT, None),
    ]
    assert all(one != two for one, two in itertools.combinations(digests, 2))


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [(Kind.BOOL, "true", "t"), (Kind.INT64, "0042", "42"), (Kind.TEXT, "李娜", "李娜")],
)
def test_texts_are_brought_into_their_canonical_form(kind, one, two):
    """Two ways to write the same value have one digest."""
    assert text_digest(KEY, "a", kind, one) == text_digest(KEY, "a", kind, two)


def test_a_text_of_another_kind_is_refused():
    """Instead of comparing as different."""
    with pytest.raises(Refused):
        text_digest(KEY, "a", Kind.DATE, "昨天")


def test_each_comparison_has_its_own_key():
    """From the grant's secret and its name; neither alone makes it."""
    keys = {comparison_key(secret, name) for secret in (b"s" * 32, b"t" * 32) for name in ("1-a", "2-b")}
    assert len(keys) == 4
    assert item_digest(min(keys), "a", Kind.TEXT, b"x") != item_digest(max(keys), "a", Kind.TEXT, b"x")
