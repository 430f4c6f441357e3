"""Values: the text of every kind, with real servers as judges, and bytes and text that are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames
from proto.errors import Refused
from proto.values import Kind, check_value, from_plain, from_text, to_plain, to_text
from tests.support.postgres import Cluster

COPY_HEADER_BYTES, COPY_TRAILER_BYTES = 19, 2
TYPES = {
    Kind.BOOL: "bool",
    Kind.INT16: "int2",
    Kind.INT32: "int4",
    Kind.INT64: "int8",
    Kind.FLOAT32: "float4",
    Kind.FLOAT64: "float8",
    Kind.DECIMAL: "numeric",
    Kind.TEXT: "text",
    Kind.BYTES: "bytea",
    Kind.DATE: "date",
    Kind.TIME: "time",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIMESTAMPTZ: "timestamptz",
    Kind.INTERVAL: "interval",
    Kind.JSON: "json",
    Kind.JSONB: "jsonb",
    Kind.UUID: "uuid",
}
STAMPS = [
    *(
        "infinity",
        "-infinity",
        "epoch",
        "4714-11-24 00:00:00 BC",
        "0044-03-15 12:34:56.7 BC",
        "0001-01-01",
        "0001-12-31 23:59:59 BC",
    ),
    *(
        "294276-12-31 23:59:59.999999",
        "1999-12-31 23:59:59.999999",
        "2000-01-01 00:00:00.000001",
        "2024-02-29 01:02:03.45",
    ),
    *(
        "9999-12-31",
        "10000-01-01",
        "1900-02-28 24:00:00",
        "2000-02-29",
        "0005-02-29 BC",
        "0004-02-28 BC",
        "0001-02-28 BC",
    ),
]
CORPUS = {
    Kind.BOOL: ["true", "false"],
    Kind.INT16: ["0", "-1", "32767", "-32768"],
    Kind.INT32: ["0", "-1", "2147483647", "-2147483648"],
    Kind.INT64: ["0", "-1", "9223372036854775807", "-9223372036854775808"],
    Kind.FLOAT32: [
        *("0", "-0", "NaN", "Infinity", "-Infinity", "1", "0.1", "-1.5", "3.4028235e38", "1e-45", "1.1754944e-38"),
        *("999999", "1e6", "1234567", "123456", "0.0001", "0.00001", "16777216", "16777217", "3.3333333", "8388608.5"),
        *("1.00000005960464477539062500001", "33554432", "1e10", "5e-45", "67108864"),
    ],
    Kind.FLOAT64: [
        *("0", "-0", "NaN", "Infinity", "-Infinity", "1", "0.1", "-1.5", "1.7976931348623157e308", "5e-324", "1e23"),
        *("9007199254740993", "9007199254740992", "999999999999999", "1e15", "123456789012345", "0.0001", "0.00001"),
        *("2.2250738585072014e-308", "1e22", "8.41e21", "2e-44", "9.5367431640625e-07", "0.3333333333333333", "4e-323"),
    ],
    Kind.DECIMAL: [
        *("0", "0.00", "-0", "1.10", "NaN", "Infinity", "-Infinity", "10000", "-10000.0001", "0.0001", "0.00001", "9999"),
        *("1e-16383", "1e131071", "9" * 131_072, "-" + "8" * 4000 + "." + "7" * 16_000, "12345678.90", "100", "1e5", "1.5e-3"),
        *("0." + "0" * 40 + "1", "5000000000000000000000000000.000", "99999999.99990000"),
    ],
    Kind.TEXT: ["", "plain", "省市区 😀", "\\x00", "a\tb\nc", "'quoted'"],
    Kind.BYTES: ["\\x", "\\x00ff", "\\x" + "de" * 300],
    Kind.DATE: [stamp.split(" ")[0] + (" BC" if stamp.endswith("BC") else "") for stamp in STAMPS] + ["5874897-12-31"],
    Kind.TIME: ["00:00", "24:00:00", "23:59:59.999999", "12:34:56.7", "00:00:00.000001", "01:02:03.1"],
    Kind.TIMESTAMP: STAMPS,
    Kind.TIMESTAMPTZ: [*STAMPS[:3], *(f"{s[:-3]}+00 BC" if s.endswith("BC") else f"{s}+00" for s in STAMPS[3:]), "2024-01-01 08:00:00+08"],
    Kind.INTERVAL: [
        *("0", "1 year", "-1 year", "1 mon", "-1 mon", "11 mons", "-13 mons", "1 day", "-1 day", "1 year 2 mons 3 days 04:05:06.789"),
        *("-1 years -2 mons +3 days -04:05:06", "1 mon -1 day 00:00:01", "-1 mon 1 day -00:00:00.000001", "-1 day +00:00:01"),
        *("1000000:00:00", "-2562047788:00:54.775", "2147483647 days", "178956970 years 7 mons", "-178956970 years -8 mons"),
    ],
    Kind.JSON: ['{"a":  1, "a": 2}', "null", '"省"', "[1.10]"],
    Kind.JSONB: ['{"a":  1, "b": [1.10, null]}', "null", '"省"', "{}"],
    Kind.UUID: ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11"],
}  # fmt: skip


def judged(cluster: Cluster, kind: Kind, rows: str) -> list[tuple[bytes, str]]:
    """Binary form and text of each value of a query with one column, as the server sends them."""
    settings = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=1"
    with cluster.connect() as connection:
        for setting in settings.split("-c ")[1:]:
            name, value = setting.strip().split("=")
            connection.execute(f"SET {name} = {value}")
        query = f"COPY (SELECT v, v::text FROM ({rows}) AS q(v)) TO STDOUT (FORMAT binary)"
        with connection.cursor().copy(query) as copy:
            data = b"".join(bytes(part) for part in copy)
    pairs = frames.split(data[COPY_HEADER_BYTES:-COPY_TRAILER_BYTES])
    found = [frames.fields(pair) for pair in pairs]
    return [(value, text.decode()) for value, text in found if value is not None and text is not None]


def literals(kind: Kind) -> str:
    """The corpus of a kind as a query."""
    values = ", ".join("('" + text.replace("'", "''") + "')" for text in CORPUS[kind])
    return f"SELECT v::{TYPES[kind]} FROM (VALUES {values}) AS t(v)"


@pytest.mark.parametrize("kind", sorted(CORPUS))
def test_the_server_prints_and_sends_the_same(postgres: Cluster, kind: Kind) -> None:
    """Text and binary form of every extreme are the server's, both ways."""
    found = judged(postgres, kind, literals(kind))
    assert len(found) == len(CORPUS[kind])
    for data, text in found:
        shown = ("t" if text == "true" else "f") if kind is Kind.BOOL else text
        check_value(kind, data)
        assert to_text(kind, data) == shown
        assert from_text(kind, shown) == data
        assert from_plain(kind, to_plain(kind, data)) == data


@pytest.mark.parametrize("kind", [Kind.FLOAT32, Kind.FLOAT64, Kind.DECIMAL])
def test_numbers_are_read_as_the_server_reads_them(postgres: Cluster, kind: Kind) -> None:
    """However they are written."""
    found = judged(postgres, kind, literals(kind))
    assert [from_text(kind, text) for text in CORPUS[kind]] == [data for data, _ in found]


@pytest.mark.parametrize("kind", [Kind.FLOAT32, Kind.FLOAT64, Kind.DATE])
def test_random_values_print_as_the_server_prints_them(postgres: Cluster, kind: Kind) -> None:
    """Shortest floats and the calendar, far beyond a hand-made corpus."""
    random = {
        Kind.FLOAT32: "((random() - 0.5) * 10 ^ (random() * 70 - 36))::float4",
        Kind.FLOAT64: "((random() - 0.5) * 10 ^ (random() * 600 - 300))::float8",
        Kind.DATE: "'2000-01-01'::date + ((random() - 0.4) * 5000000)::int",
    }[kind]
    for data, text in judged(postgres, kind, f"SELECT {random} FROM generate_series(1, 4000)"):
        assert to_text(kind, data) == text
        assert from_text(kind, text) == data


@pytest.mark.parametrize(("kind", "first", "step"), [(Kind.FLOAT64, 53, 3), (Kind.FLOAT32, 24, 1)])
def test_powers_of_two_and_their_neighbours_print_as_the_server_prints_them(
    postgres: Cluster, kind: Kind, first: int, step: int
) -> None:
    """Where a short decimal may lie exactly halfway between two floats."""
    width, form, bits = (">d", ">Q", 8) if kind is Kind.FLOAT64 else (">f", ">I", 4)
    values = []
    for power in range(first - 60, 120, step):
        (middle,) = struct.unpack(form, struct.pack(width, 2.0**power))
        values += [struct.unpack(width, struct.pack(form, middle + off))[0] for off in (-1, 0, 1)]
    rows = ", ".join(f"('{value!r}'::float8::{TYPES[kind]})" for value in values)
    found = judged(postgres, kind, f"SELECT v FROM (VALUES {rows}) AS t(v)")
    assert len(found) == len(values)
    assert all(len(data) == bits and to_text(kind, data) == text for data, text in found)


def test_infinite_intervals_print_as_new_servers_print_them(postgres18: Cluster) -> None:
    """PostgreSQL 17 brought them."""
    for data, text in judged(postgres18, Kind.INTERVAL, "VALUES ('infinity'::interval), ('-infinity')"):
        assert to_text(Kind.INTERVAL, data) == text
        assert from_text(Kind.INTERVAL, text) == data


@settings(deadline=None)
@given(
    micros=st.integers(-(2**63), 2**63 - 1),
    days=st.integers(-(2**31), 2**31 - 1),
    months=st.integers(-(2**31), 2**31 - 1),
)
def test_every_interval_comes_back(micros: int, days: int, months: int) -> None:
    """Any mixture of signs."""
    data = struct.pack(">qii", micros, days, months)
    assert from_text(Kind.INTERVAL, to_text(Kind.INTERVAL, data)) == data


@settings(deadline=None)
@given(st.integers(-211813488000000000, 9223371331200000000 - 1))
def test_every_timestamp_comes_back(micros: int) -> None:
    """From 4714 BC to 294276."""
    data = struct.pack(">q", micros)
    for kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        assert from_text(kind, to_text(kind, data)) == data


@settings(deadline=None)
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", fullmatch=True))
def test_every_digit_of_a_decimal_comes_back(text: str) -> None:
    """Scale included; only the sign of zero is lost, as on the server."""
    data = from_text(Kind.DECIMAL, text)
    check_value(Kind.DECIMAL, data)
    assert to_text(Kind.DECIMAL, data) == (text.removeprefix("-") if not text.strip("-0.") else text)


@pytest.mark.parametrize("kind", list(Kind))
@settings(deadline=None)
@given(data=st.binary(max_size=30))
def test_any_bytes_are_a_value_or_refused(kind: Kind, data: bytes) -> None:
    """Never another error; what is accepted has a text that leads back to the same bytes."""
    try:
        check_value(kind, data)
    except Refused:
        return
    text = to_text(kind, data)
    again = from_text(kind, text)
    assert again == data or text == "NaN"


@pytest.mark.parametrize("kind", list(Kind))
@settings(deadline=None)
@given(text=st.text(max_size=20) | st.from_regex(r"-?[0-9:. +eEBCinfty-]{1,25}", fullmatch=True))
def test_any_text_is_a_value_or_refused(kind: Kind, text: str) -> None:
    """Never another error."""
    try:
        data = from_text(kind, text)
    except Refused:
        return
    check_value(kind, data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Kind.BOOL, "02"),
        (Kind.INT32, "000000"),
        (Kind.FLOAT64, "00000000"),
        (Kind.TEXT, "ff"),
        (Kind.JSONB, "027b7d"),
        (Kind.JSONB, ""),
        (Kind.DATE, "7ffffffe"),
        (Kind.TIME, "000000141dd76001"),
        (Kind.TIMESTAMP, "7ffffffffffffffe"),
        (Kind.UUID, "00" * 15),
        (Kind.DECIMAL, "0001 0000 0000 0000 2710"),
        (Kind.DECIMAL, "0001 0000 0000 0000 0000"),
        (Kind.DECIMAL, "0001 ffff 0000 0000 0001"),
        (Kind.DECIMAL, "0002 0000 0000 0000 0001"),
        (Kind.DECIMAL, "0000 0000 8000 0000"),
        (Kind.DECIMAL, "0000 0000 4000 0000"),
        (Kind.DECIMAL, "ffff 0000 0000 0000"),
    ],
)
def test_damaged_values_are_refused(kind: Kind, data: str) -> None:
    """What no server would send never reaches a table, and the error never shows the value."""
    with pytest.raises(Refused):
        check_value(kind, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.INT16, "32768"),
        (Kind.INT32, "١"),
        (Kind.FLOAT32, "1e39"),
        (Kind.FLOAT64, "1e309"),
        (Kind.FLOAT64, "0x10"),
        (Kind.DECIMAL, "."),
        (Kind.DECIMAL, "1e131073"),
        (Kind.DATE, "2023-02-29"),
        (Kind.DATE, "0000-01-01"),
        (Kind.TIME, "24:00:00.000001"),
        (Kind.TIMESTAMP, "2020-01-01 00:00:00+00"),
        (Kind.TIMESTAMPTZ, "2020-01-01 00:00:00"),
        (Kind.INTERVAL, ""),
        (Kind.INTERVAL, "2147483648 days"),
        (Kind.BYTES, "abc"),
        (Kind.TEXT, "\ud800"),
        (Kind.UUID, "0"),
    ],
)
def test_wrong_text_is_refused(kind: Kind, text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(Refused):
        from_text(kind, text)


def test_plain_values_must_fit_their_kind() -> None:
    """A driver that gives another type than agreed is an error, not another value."""
    for kind, value in (
        (Kind.INT32, b"1"),
        (Kind.INT32, 1.5),
        (Kind.TEXT, 1),
        (Kind.BOOL, 2),
        (Kind.INT32, None),
    ):
        with pytest.raises(Refused):
            from_plain(kind, value)
    assert from_plain(Kind.FLOAT32, 1e-50) == b"\0\0\0\0"
    with pytest.raises(Refused):
        from_plain(Kind.FLOAT32, 1e300)
