"""Values of the binlog: every type against the text it stands for, Python against compiled, and what cannot be held."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.mysql import binlog
from agent.sources.mysql.binlog import UnreadableValue
from agent.sources.mysql.charsets import charset_of, decoder
from proto import frames
from proto.batch import Delta
from proto.errors import BadRow, Refused, SchemaHold
from proto.values import Kind, from_text, to_text
from tests.support import binlog_model as model
from tests.support.binlog_model import FULL, ID, SAMPLES, Books, Sample, Text

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
INSERT, _, _ = FULL

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", "户籍登记表", "é𠮷"]
)
NARROW = {
    "CHAR(200) gbk": st.text("中华人民共和国abc 。·—", max_size=30),
    "VARCHAR(400) latin1": st.text("abcé€ÿ \x00", max_size=200),
}
BYTES = st.binary(max_size=200).map(lambda data: "\\x" + data.hex())
CLOCK = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))


@st.composite
def moments(draw: st.DrawFn, digits: int) -> str:
    """A DATETIME as PostgreSQL prints it."""
    part = draw(st.integers(0, 10**digits - 1))
    shown = f".{part:0{digits}}".rstrip("0") if part else ""
    hour, minute, second = draw(CLOCK)
    return f"{draw(st.dates())} {hour:02}:{minute:02}:{second:02}{shown}"


@st.composite
def spans(draw: st.DrawFn, digits: int) -> str:
    """A TIME as PostgreSQL prints an interval."""
    part = draw(st.integers(0, 10**digits - 1))
    hour, minute, second = draw(st.integers(0, 838)), *draw(CLOCK)[1:]
    shown = f"{hour:02}:{minute:02}:{second:02}" + (f".{part:0{digits}}".rstrip("0") if part else "")
    negative = draw(st.booleans()) and any((hour, minute, second, part))
    return "-" + shown if negative else shown


def numerals(precision: int, scale: int) -> st.SearchStrategy[str]:
    """A DECIMAL with its whole scale."""
    most = 10**precision - 1
    edge = st.sampled_from([0, 1, -1, most, -most, 10**scale % most, -(10**scale % most)])
    return (st.integers(-most, most) | edge).map(lambda n: f"{'-' if n < 0 else ''}{_shown(abs(n), scale)}")


def _shown(number: int, scale: int) -> str:
    digits = f"{number:0{scale + 1}}"
    return f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits


def integers(sample: Sample) -> st.SearchStrategy[str]:
    """Every number the type holds, its ends more often."""
    bits = 8 * {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}[sample.code]
    low, high = (
        (0, 2**bits - 1) if sample.options.get("unsigned") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    return st.one_of(st.integers(low, high), st.sampled_from([low, high, 0])).map(str)


def values(sample: Sample) -> st.SearchStrategy[str]:
    """Text of values of a type."""
    digits = sample.metadata[0] if sample.metadata else 0
    if sample.code in (1, 2, 3, 8, 9):
        return integers(sample)
    if sample.code == 246:
        return numerals(*sample.metadata)
    if sample.code == 13:
        return (st.integers(1901, 2155) | st.just(0)).map(str)
    by_code = {10: st.dates().map(str), 18: moments(digits), 19: spans(digits)}
    if sample.code in by_code:
        return by_code[sample.code]
    if sample.kind is Kind.BYTES:
        return BYTES
    return NARROW.get(sample.name, WORDS)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Sample], list[list[Text]]]:
    """Some columns after a key, and rows of them."""
    chosen = [ID, *draw(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=20))]
    several = st.tuples(*(st.none() | values(sample) for sample in chosen[1:]))
    found = draw(st.lists(several, min_size=1, max_size=4))
    return chosen, [[str(number), *each] for number, each in enumerate(found)]


def inserted(samples: list[Sample], rows: list[list[Text]], compiled: bool) -> tuple[Books, list[Delta]]:
    """What an insert of these rows becomes."""
    books = Books(samples, compiled)
    data = b"".join(model.row(samples, each) for each in rows)
    books.add(model.table_map(samples), model.rows(INSERT, len(samples), data))
    return books, books.collector.drain()


def one(sample: Sample, raw: bytes, compiled: bool = True) -> Books:
    """A table of a key and one column, with one row that has these bytes."""
    books = Books([ID, sample], compiled)
    data = b"\0" + struct.pack("<i", 1) + raw
    return books.add(model.table_map([ID, sample]), model.rows(INSERT, 2, data))


def read(sample: Sample, raw: bytes, compiled: bool = True) -> bytes | None:
    """What these bytes become."""
    books = one(sample, raw, compiled)
    assert not books.holds, str(books.holds[0])
    (delta,) = books.collector.drain()
    return frames.fields(delta.inserts.data)[1]


def test_the_compiled_version_is_here() -> None:
    """Without it the comparisons below would compare Python with itself."""
    assert binlog.HotLane is not None


@settings(max_examples=300, deadline=None)
@given(table=tables())
def test_values_are_the_ones_their_text_says(table: tuple[list[Sample], list[list[Text]]]) -> None:
    """Random tables and rows: the canonical form of the text, in both versions."""
    samples, rows = table
    expected = b"".join(
        frames.pack(
            [None if text is None else from_text(s.kind, text) for s, text in zip(samples, row, strict=True)]
        )
        for row in rows
    )
    for compiled in (False, True):
        books, deltas = inserted(samples, rows, compiled)
        assert not books.holds, str(books.holds[0])
        assert [delta.inserts.data for delta in deltas] == [expected]


@settings(max_examples=400, deadline=None)
@given(sample=st.sampled_from(SAMPLES), data=st.binary(max_size=40))
def test_any_bytes_are_taken_alike(sample: Sample, data: bytes) -> None:
    """A value or an error, the same in both versions; never a crash."""
    seen = []
    for compiled in (False, True):
        try:
            books = one(sample, data, compiled)
            seen.append((str(books.holds), books.collector.drain()))
        except Refused as error:
            seen.append((str(error), []))
    assert seen[0] == seen[1]


ZERO_DATES = [
    (Sample("DATE", 10, b"", Kind.DATE, model.date), "0000-00-00"),
    (Sample("DATE", 10, b"", Kind.DATE, model.date), "2024-00-00"),
    (Sample("DATETIME", 18, b"\0", Kind.TIMESTAMP, model.datetime(0)), "0000-00-00 00:00:00"),
    (Sample("DATETIME", 18, b"\2", Kind.TIMESTAMP, model.datetime(2)), "2024-06-00 10:00:00"),
    (Sample("TIMESTAMP", 17, b"\6", Kind.TIMESTAMPTZ, model.timestamp(6)), "0"),
]


@BOTH
@pytest.mark.parametrize(("sample", "text"), ZERO_DATES, ids=lambda each: getattr(each, "name", each))
def test_zero_dates_are_kept_for_a_person_or_null(sample: Sample, text: str, compiled: bool) -> None:
    """As the department chose; the bytes are kept as they came, and no error shows them."""
    books = one(sample, sample.encode(text), compiled)
    (hold,) = books.holds
    assert isinstance(hold, UnreadableValue) and hold.raw == sample.encode(text)
    assert text not in str(hold) and hold.where == "t.c1"
    chosen = Sample(
        sample.name, sample.code, sample.metadata, sample.kind, sample.encode, {"zero_dates_are_null": True}
    )
    assert read(chosen, sample.encode(text), compiled) is None


@BOTH
@pytest.mark.parametrize(
    ("sample", "raw"),
    [
        (Sample("DATE", 10, b"", Kind.DATE, model.date), model.date("2023-02-29")),
        (Sample("TEXT", 252, b"\1", Kind.TEXT, model.words(1), {"charset": "utf8mb4"}), b"\2\xed\xa0"),
        (Sample("TEXT", 252, b"\1", Kind.TEXT, model.words(1), {"charset": "utf8"}), b"\4\xf0\xa0\xae\xb7"),
        (Sample("TEXT", 252, b"\1", Kind.TEXT, model.words(1), {"charset": "gbk"}), b"\2\xd6\x20"),
        (Sample("TEXT", 252, b"\1", Kind.TEXT, model.words(1), {"charset": "gbk"}), b"\1\xd6"),
        (Sample("TEXT", 252, b"\1", Kind.TEXT, model.words(1), {"charset": "ucs2"}), b"\4\xd8\x40\xdc\x0b"),
        (Sample("ENUM", 254, b"\xf7\1", Kind.TEXT, model.integer(1), {"members": ("甲",)}), b"\2"),
        (Sample("SET", 254, b"\xf8\1", Kind.TEXT, model.integer(1), {"members": ("甲",)}), b"\2"),
        (Sample("BOOL", 1, b"", Kind.BOOL, model.integer(1)), b"\2"),
        (Sample("INT", 3, b"", Kind.INT16, model.integer(4)), b"\0\0\1\0"),
        (Sample("BIGINT UNSIGNED", 8, b"", Kind.INT64, model.integer(8), {"unsigned": True}), b"\xff" * 8),
        (Sample("DECIMAL(9,0)", 246, b"\x09\0", Kind.DECIMAL, model.decimal(9, 0)), b"\xff" * 4),
        (Sample("DATETIME", 18, b"\0", Kind.TIMESTAMP, model.datetime(0)), b"\xff" * 5),
    ],
)
def test_what_no_kind_can_hold_is_kept_for_a_person(sample: Sample, raw: bytes, compiled: bool) -> None:
    """Never replaced; the row before it is not lost, and the table stays out until it is planned again."""
    books = Books([ID, sample], compiled)
    good, bad = (struct.pack("<i", n) for n in (1, 2))
    event = model.rows(INSERT, 2, b"\2" + good + b"\0" + bad + raw + b"\2" + bad)
    books.add(model.table_map([ID, sample]), event, event)
    assert [type(hold) for hold in books.holds] == [UnreadableValue]
    assert isinstance(books.holds[0], BadRow)
    (delta,) = books.collector.drain()
    assert delta.inserts.data == frames.pack([from_text(Kind.INT32, "1"), None])


@pytest.mark.parametrize(
    ("sample", "raw", "text"),
    [
        (Sample("ENUM", 254, b"\xf7\1", Kind.TEXT, bytes.fromhex, {"members": ("甲", "乙")}), b"\2", "乙"),
        (Sample("ENUM", 254, b"\xf7\2", Kind.OTHER, bytes.fromhex, {"members": ("甲", "乙")}), b"\0\0", ""),
        (
            Sample("SET", 254, b"\xf8\1", Kind.TEXT, bytes.fromhex, {"members": ("甲", "乙", "丙")}),
            b"\5",
            "甲,丙",
        ),
        (Sample("SET", 254, b"\xf8\1", Kind.TEXT, bytes.fromhex, {"members": ("甲", "乙")}), b"\0", ""),
        (Sample("BIT(10)", 16, b"\2\1", Kind.OTHER, bytes.fromhex), b"\2\5", "1000000101"),
        (Sample("BIT(10)", 16, b"\2\1", Kind.BYTES, bytes.fromhex), b"\2\5", "\\x0205"),
        (Sample("BIT(1)", 16, b"\1\0", Kind.BOOL, bytes.fromhex), b"\1", "t"),
        (Sample("BIT(64)", 16, b"\0\x08", Kind.INT64, bytes.fromhex), b"\0" * 7 + b"\7", "7"),
        (Sample("TINYINT(1)", 1, b"", Kind.BOOL, bytes.fromhex), b"\0", "f"),
        (Sample("FLOAT", 4, b"\4", Kind.FLOAT32, bytes.fromhex), struct.pack("<f", -0.5), "-0.5"),
        (Sample("DOUBLE", 5, b"\x08", Kind.FLOAT64, bytes.fromhex), struct.pack("<d", 1e300), "1e+300"),
        (Sample("BINARY(5)", 254, b"\xfe\5", Kind.BYTES, bytes.fromhex), b"\1a", "\\x6100000000"),
        (
            Sample("uuid", 254, b"\xfe\x10", Kind.UUID, bytes.fromhex, {"native": "uuid"}),
            b"\1\x12",
            "12" + "0" * 30,
        ),
        (
            Sample("inet4", 254, b"\xfe\4", Kind.OTHER, bytes.fromhex, {"native": "inet4"}),
            b"\1\x0a",
            "10.0.0.0",
        ),
        (
            Sample("inet6", 254, b"\xfe\x10", Kind.OTHER, bytes.fromhex, {"native": "inet6"}),
            b"\4 \1\r\xb8",
            "2001:db8::",
        ),
        (Sample("GEOMETRY", 255, b"\4", Kind.OTHER, bytes.fromhex), b"\2\0\0\0\xab\1", "AB01"),
        (
            Sample("TIME as a time", 19, b"\0", Kind.TIME, bytes.fromhex),
            model.time(0)("12:34:56"),
            "12:34:56",
        ),
        (
            Sample("TIMESTAMP", 17, b"\3", Kind.TIMESTAMPTZ, bytes.fromhex),
            b"\0\0\0\1\0\x0a",
            "1970-01-01 00:00:01.001+00",
        ),
        (
            Sample("TIMESTAMP", 17, b"\3", Kind.TIMESTAMPTZ, bytes.fromhex),
            bytes(5) + b"\x0a",
            "1970-01-01 00:00:00.001+00",
        ),
        (
            Sample("TIMESTAMP", 17, b"\0", Kind.TIMESTAMPTZ, bytes.fromhex),
            b"\x7f\xff\xff\xff",
            "2038-01-19 03:14:07+00",
        ),
        (
            Sample("old DATETIME", 12, b"", Kind.TIMESTAMP, bytes.fromhex),
            (20240229235959).to_bytes(8, "little"),
            "2024-02-29 23:59:59",
        ),
        (
            Sample("old TIMESTAMP", 7, b"", Kind.TIMESTAMPTZ, bytes.fromhex),
            b"\1\0\0\0",
            "1970-01-01 00:00:01+00",
        ),
        (
            Sample("old TIME", 11, b"", Kind.INTERVAL, bytes.fromhex),
            (-8385959).to_bytes(3, "little", signed=True),
            "-838:59:59",
        ),
        (
            Sample("COMPRESSED", 141, b"\x33\0", Kind.TEXT, bytes.fromhex, {"charset": "gbk"}),
            b"\3\0\xd6\xd0",
            "中",
        ),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
@BOTH
def test_rarer_types(sample: Sample, raw: bytes, text: str, compiled: bool) -> None:
    """Each as the server shows it."""
    found = read(sample, raw, compiled)
    assert found is not None
    assert to_text(sample.kind, found) == to_text(sample.kind, from_text(sample.kind, text))


@pytest.mark.parametrize(
    "sample",
    [
        Sample("INT", 3, b"", Kind.TEXT, bytes.fromhex),
        Sample("DOUBLE", 5, b"\x08", Kind.FLOAT32, bytes.fromhex),
        Sample("DECIMAL", 246, b"\5\2", Kind.FLOAT64, bytes.fromhex),
        Sample("DATE", 10, b"", Kind.TIMESTAMP, bytes.fromhex),
        Sample("TEXT", 252, b"\2", Kind.INT32, bytes.fromhex, {"charset": "utf8mb4"}),
        Sample("TEXT", 252, b"\2", Kind.TEXT, bytes.fromhex, {"charset": "swe7"}),
        Sample("TEXT", 252, b"\2", Kind.TEXT, bytes.fromhex),
        Sample("uuid", 254, b"\xfe\4", Kind.UUID, bytes.fromhex, {"native": "uuid"}),
    ],
    ids=lambda sample: f"{sample.name} as {sample.kind}",
)
def test_what_cannot_be_read_as_planned_holds_the_table(sample: Sample) -> None:
    """Before a row of it came."""
    books = Books([ID, sample], compiled=True).add(model.table_map([ID, sample]))
    assert [type(hold) for hold in books.holds] == [SchemaHold]
    assert books.holds[0].where in ("t.c1", "t")


@pytest.mark.parametrize("charset", ["gbk", "gb2312", "latin1", "big5", "euckr"])
def test_a_table_of_characters_is_its_decoder(charset: str) -> None:
    """Every code of one and two bytes, in both versions."""
    sample = Sample("TEXT", 252, b"\1", Kind.TEXT, bytes.fromhex, {"charset": charset})
    leads = range(0x80, 0x100) if charset != "latin1" else range(256)
    for lead in leads:
        codes = [bytes([lead]), *(bytes([lead, trail]) for trail in range(0x20, 0x100, 3))]
        data = b"".join(
            b"\0" + struct.pack("<i", at) + model.counted(1, c)
            for at, c in enumerate(codes)
            if valid(charset, c)
        )
        books = [Books([ID, sample], compiled) for compiled in (False, True)]
        for each in books:
            each.add(model.table_map([ID, sample]))
            if data:
                each.add(model.rows(INSERT, 2, data))
        assert not books[1].holds
        assert books[0].collector.drain() == books[1].collector.drain()


def valid(charset: str, code: bytes) -> bool:
    """Whether these bytes are characters of the set."""
    try:
        decoder(charset)(code)
    except UnicodeDecodeError:
        return False
    return True


def test_character_sets_are_found_by_the_number_of_their_collation() -> None:
    """Those of MySQL 8, MariaDB's without padding and its blocks of newer ones."""
    numbers = {
        255: "utf8mb4",
        28: "gbk",
        1052: "gbk",
        249: "gb18030",
        2304: "utf8mb4",
        2048: "utf8mb3",
        63: "binary",
    }
    assert {number: charset_of(number) for number in numbers} == numbers
    assert charset_of(9999) == ""


def test_a_decimal_of_the_largest_size_keeps_its_scale() -> None:
    """65 digits, 30 of them after the point, and zeros at the end."""
    text = "-" + "9" * 35 + "." + "1" * 29 + "0"
    sample = next(each for each in SAMPLES if each.name == "DECIMAL(65,30)")
    found = read(sample, sample.encode(text))
    assert found is not None and to_text(Kind.DECIMAL, found) == text
