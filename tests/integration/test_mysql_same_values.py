"""The same value is the same bytes, whether a first copy or the stream brought it, in whatever zone the server thinks."""

from __future__ import annotations

from typing import Final

import pytest

from proto import frames
from proto.values import Kind, to_text

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "tinyint": ("-128", "127"),
    "tinyint unsigned": ("0", "255"),
    "tinyint(1)": ("0", "2"),
    "smallint": ("-32768", "32767"),
    "smallint unsigned zerofill": ("0", "65535"),
    "mediumint": ("-8388608", "8388607"),
    "mediumint unsigned": ("16777215",),
    "int": ("-2147483648", "2147483647"),
    "int unsigned": ("0", "4294967295"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "bigint unsigned": ("0", "18446744073709551615"),
    "decimal(65,30)": ("0", "-99999999999999999999999999999999999.999999999999999999999999999999", "-0.00"),
    "decimal(10,2)": ("1.5", "-99999999.99"),
    "decimal(5,0)": ("-12345", "0"),
    "decimal(9,9)": ("0.000000001", "-0.999999999"),
    "float": ("0.1", "-3.4028234e38", "1.4e-45", "16777217", "-0e0 * 1", "1e15"),
    "double": ("0.1e0 + 0.2e0", "1.7976931348623157e308", "-5e-324", "-0e0 * 1", "1e15", "-1.2345678901234567e-300"),
    "double(10,3)": ("1.2345", "-0.001"),
    "bit(1)": ("b'0'", "b'1'"),
    "bit(10)": ("b'1000000001'", "b'0'"),
    "bit(64)": ("~0",),
    "year": ("2024", "0", "1901", "2155"),
    "date": ("'1000-01-01'", "'9999-12-31'", "'0001-01-01'", "'2024-02-29'"),
    "time": ("'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"),
    "time(6)": ("'-838:59:59.999999'", "'-00:00:00.000001'", "'12:34:56.7'"),
    "datetime": ("'1000-01-01'", "'9999-12-31 23:59:59'"),
    "datetime(3)": ("'2024-02-29 12:34:56.789'",),
    "datetime(6)": ("'0001-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"),
    "timestamp": ("FROM_UNIXTIME(1)", "FROM_UNIXTIME(2147483647)", "'2024-07-01 02:30:00'", "'2024-11-03 01:30:00'"),
    "timestamp(6)": ("FROM_UNIXTIME(1.000001)", "'2024-03-31 12:00:00.000001'"),
    "char(10)": ("''", "'王  '", "' x'"),
    "char(10) character set gbk": ("'王伟'", "'€'"),
    "char(5) character set latin1": ("'é€'",),
    "varchar(100)": ("'🙂中文'", "'a''b\\\\c'", "'x  '", "''"),
    "varchar(100) character set gbk": ("'中华人民共和国'", "'丂'"),
    "varchar(100) character set gb2312": ("'中国'",),
    "varchar(100) character set big5": ("'臺灣'",),
    "varchar(100) character set utf8mb3": ("'中'",),
    "varchar(100) character set ucs2": ("'中a'",),
    "varchar(100) character set utf16": ("'🙂'",),
    "varchar(100) character set utf32": ("'🙂'",),
    "varchar(100) compressed": ("'压缩'", "repeat('压', 100)", "''"),
    "tinytext": ("'t'",),
    "text": ("repeat('长', 3000)", "''"),
    "mediumtext character set gbk": ("repeat('长', 3000)",),
    "longtext": ("'\\n\\t'",),
    "binary(5)": ("'a'", "x'0000000000'", "x'ff00ff'"),
    "varbinary(50)": ("x'00ff00'", "''"),
    "tinyblob": ("x'00'",),
    "blob": ("x'deadbeef'", "''"),
    "longblob": ("repeat(x'ff00', 5000)",),
    "enum('a','王','it''s','x,y')": ("'a'", "'王'", "'it''s'", "'x,y'"),
    "enum('甲','乙') character set gbk": ("'乙'",),
    "set('a','王','c')": ("''", "'a,c'", "'王'", "'a,王,c'"),
    "json": ("'{\"b\": 1, \"a\": [\"中\", 1.10]}'", "'null'"),
    "uuid": ("'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    "inet4": ("'0.0.0.0'", "'255.1.2.3'"),
    "inet6": ("'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'1:0:0:2::3'"),
    "geometry": ("ST_GeomFromText('POINT(1 -2.5)')", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)"),
    "point": ("ST_GeomFromText('POINT(0 0)')",),
}  # fmt: skip
"""For each type, expressions; the lists also end in a NULL for every type."""
ZONES: Final = ("+00:00", "+08:00", "-03:30")


@pytest.fixture(params=ZONES)
def zone(request, shop):
    """What the server takes for its own time zone."""
    shop.say(f"SET GLOBAL time_zone = '{request.param}'", f"SET time_zone = '{request.param}'")
    yield request.param
    shop.say("SET GLOBAL time_zone = '+00:00'")


def test_a_page_and_the_stream_bring_the_same_bytes(hear, shop, zone):
    """Every type, its extremes and NULL."""
    columns = ", ".join(f"c{at} {kind} NULL" for at, kind in enumerate(VALUES))
    shop.say(
        "SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'", f"CREATE TABLE every (id int PRIMARY KEY, {columns})"
    )
    listener = hear("every")
    for number in range(max(map(len, VALUES.values())) + 1):
        row = [values[number] if number < len(values) else "NULL" for values in VALUES.values()]
        shop.say(f"INSERT INTO every VALUES ({number}, {', '.join(row)})")
    listener.listen()
    assert listener.held() == []
    streamed = dict(listener.mirror.tables["every"])
    copied = listener.copy("every").tables["every"]
    names = ["id", *VALUES]

    assert listener.held() == []
    assert len(streamed) == number + 1
    for key, frame in streamed.items():
        told = dict(
            zip(names, zip(frames.fields(frame), frames.fields(copied[key]), strict=True), strict=True)
        )
        assert {name: pair for name, pair in told.items() if pair[0] != pair[1]} == {}


def test_moments_are_what_the_server_says_in_utc(hear, shop, zone):
    """TIMESTAMP is a moment, DATETIME is what a clock showed."""
    shop.say("CREATE TABLE 时刻 (id int PRIMARY KEY, 瞬间 timestamp(6) NULL, 钟点 datetime(6))")
    listener = hear("时刻")
    shop.say("INSERT INTO 时刻 VALUES (1, '2024-07-01 08:00:00.5', '2024-07-01 08:00:00.5')")
    (frame,) = listener.listen().tables["时刻"].values()
    _, moment, clock = frames.fields(frame)
    shop.say("SET time_zone = '+00:00'")
    ((_, utc),) = shop.ask("SELECT id, CAST(瞬间 AS char) FROM 时刻")

    assert to_text(Kind.TIMESTAMPTZ, moment or b"") == f"{utc.rstrip('0')}+00"
    assert to_text(Kind.TIMESTAMP, clock or b"") == "2024-07-01 08:00:00.5"
