"""What stands around the rows of the binlog: headers, checksums, compressed bodies and the descriptions of tables."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.mysql.binlog import EventType, Header, checksum_ok, header, inflated, read_table_map
from agent.sources.mysql.tablemap import ColumnType, MapColumn
from proto.errors import Refused
from proto.values import Kind
from tests.support import binlog_model as model
from tests.support.binlog_model import ID, NAME, TINY, Sample, packed

ENUM = Sample("ENUM", 254, b"\xf7\1", Kind.TEXT, model.integer(1))
SET = Sample("SET", 254, b"\xf8\1", Kind.TEXT, model.integer(1))
LONG_CHAR = Sample("CHAR(255) utf8mb4", 254, b"\xce\xfc", Kind.TEXT, model.words(2))
YEAR = Sample("YEAR", 13, b"", Kind.INT16, model.integer(1))
DECIMAL = Sample("DECIMAL(10,2)", 246, b"\x0a\2", Kind.DECIMAL, model.decimal(10, 2))


def part(kind: int, body: bytes) -> bytes:
    """One piece of the optional part."""
    return bytes([kind]) + packed(len(body)) + body


def strings(*texts: str, codec: str = "utf-8") -> bytes:
    """Counted strings."""
    return b"".join(packed(len(data)) + data for data in (text.encode(codec) for text in texts))


def test_a_header_says_what_follows() -> None:
    """Nineteen bytes; fewer are none."""
    event = model.event(EventType.XID, bytes(8), time_s=9)
    assert header(event) == header(memoryview(event)) == Header(9, EventType.XID, 7, 27, 4711, 0)
    with pytest.raises(Refused):
        header(event[:18])


def test_a_checksum_covers_the_whole_event() -> None:
    """A changed bit anywhere is found; something shorter than an event has none."""
    event = model.event(EventType.XID, bytes(8), checksum=True)
    assert checksum_ok(event) and checksum_ok(memoryview(event))
    for at in range(len(event)):
        assert not checksum_ok(event[:at] + bytes([event[at] ^ 1]) + event[at + 1 :])
    assert not checksum_ok(b"") and not checksum_ok(event[:20])


def test_a_file_in_use_has_the_checksum_of_one_that_is_not() -> None:
    """Only of the event that opens a file, and only that bit."""
    event = bytearray(model.event(EventType.FORMAT_DESCRIPTION, bytes(80), checksum=True))
    event[17] |= 1
    assert checksum_ok(bytes(event))
    event[17] |= 2
    assert not checksum_ok(bytes(event))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    """And what was cut, or says another size, does not."""
    whole = model.deflated(data)
    assert inflated(whole) == inflated(memoryview(whole)) == data
    for damaged in (
        whole[:-1],
        b"\x91" + whole[1:],
        b"\x03" + whole[1:],
        bytes([whole[0], len(data) + 1 & 0xFF]) + whole[2:],
    ):
        with pytest.raises(Refused):
            inflated(damaged)


def test_nothing_is_unpacked_to_more_than_it_says() -> None:
    """However much there would be."""
    bomb = b"\x81\x10" + zlib.compress(bytes(1 << 24))
    with pytest.raises(Refused, match="another size"):
        inflated(bomb)
    with pytest.raises(Refused, match="more than"):
        inflated(b"\x84\xff\xff\xff\xff" + zlib.compress(b""))


def test_a_bare_map_tells_types_and_sizes() -> None:
    """A MariaDB as installed says no more; strings, ENUM and SET are told apart."""
    found = read_table_map(model.table_map([ID, NAME, ENUM, SET, LONG_CHAR, DECIMAL], name="户籍"))
    assert (found.table_id, found.schema, found.table) == (model.TABLE_ID, "shop", "户籍")
    assert found.columns == (
        MapColumn(ColumnType.LONG),
        MapColumn(ColumnType.VARCHAR, 160),
        MapColumn(ColumnType.ENUM, 1),
        MapColumn(ColumnType.SET, 1),
        MapColumn(ColumnType.STRING, 1020),
        MapColumn(ColumnType.NEWDECIMAL, 10 << 8 | 2),
    )
    assert (found.nullable, found.primary_key) == ((True,) * 6, None)


def test_a_full_map_tells_everything() -> None:
    """Signs, character sets, names, members and the key; what is unknown is passed over."""
    told = [
        part(1, b"\x50"),
        part(3, packed(28) + packed(249)),
        part(4, strings("编号", "名称", "种类", "标记", "小", "年", "长")),
        part(6, packed(2) + strings("甲", "乙", codec="gbk")),
        part(5, packed(1) + strings("红")),
        part(8, b"\0\4"),
        part(11, packed(28) + packed(45)),
        part(99, b"whatever"),
    ]
    samples = [ID, NAME, ENUM, SET, TINY, YEAR, LONG_CHAR]
    found = read_table_map(model.table_map(samples, optional=b"".join(told)))
    assert [column.unsigned for column in found.columns] == [False, None, None, None, True, False, None]
    assert [column.charset for column in found.columns] == ["", "gbk", "gbk", "utf8mb4", "", "", "gb18030"]
    assert [column.name for column in found.columns] == ["编号", "名称", "种类", "标记", "小", "年", "长"]
    assert [column.members for column in found.columns[2:4]] == [("甲", "乙"), ("红",)]
    assert found.primary_key == (0, 4)


def test_most_columns_have_the_usual_character_set() -> None:
    """Those that differ are named by their place among the strings; a key may be of prefixes."""
    told = part(2, packed(255) + packed(1) + packed(63)) + part(9, b"\1\5\0\0") + part(10, packed(28))
    found = read_table_map(model.table_map([ID, NAME, NAME, ENUM], optional=told))
    assert [column.charset for column in found.columns] == ["", "utf8mb4", "binary", "gbk"]
    assert found.primary_key == (1, 0)


def test_members_in_an_unknown_character_set_are_left_to_the_catalogue() -> None:
    """Nothing is guessed."""
    told = part(6, packed(1) + b"\1\xff") + part(10, packed(28))
    assert read_table_map(model.table_map([ENUM], optional=told)).columns[0].members == ()


@pytest.mark.parametrize(
    "optional",
    [part(3, b""), part(3, b"\x1c\x1c\x1c"), part(8, b"\x09"), part(4, b"\1a"), part(1, b"")[:1], b"\4\xff"],
)
def test_a_map_that_contradicts_itself_is_refused(optional: bytes) -> None:
    """As damage, or as what we do not know."""
    with pytest.raises((Refused, ValueError)):
        read_table_map(model.table_map([ID, NAME], optional=optional))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_hostile_maps_are_read_or_refused(data: st.DataObject) -> None:
    """Never a crash, whatever was changed."""
    told = part(1, b"\x80") + part(3, packed(28)) + part(4, strings("a", "b")) + part(8, b"\0")
    event = bytearray(model.table_map([ID, NAME], optional=told))
    for _ in range(data.draw(st.integers(1, 4))):
        event[data.draw(st.integers(19, len(event) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Refused, ValueError, struct.error):
        read_table_map(bytes(event[: data.draw(st.integers(19, len(event)))]))
