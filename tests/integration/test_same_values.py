"""The same value is the same bytes, whether a first copy or the stream brought it, and reads as the server prints it.

Every built-in type takes part, and users' types of each sort, at a server whose own settings would print most of them
differently.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
import pytest
from pydantic import SecretStr

from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.settings import TableSettings
from agent.sources.source import Limits, Page
from proto import frames
from proto.schema import TableSchema
from proto.values import Kind, to_text

USERS_TYPES: Final = """
CREATE TYPE mood AS ENUM ('sad', '高兴', 'it''s');
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN moods AS mood[];
CREATE DOMAIN host AS inet;
CREATE TYPE address AS (street text, "no" int, since timestamptz);
CREATE TYPE household AS (home address, members text[], m mood);
CREATE TYPE floatrange AS RANGE (subtype = float8);
"""
TIMESTAMPS: Final = "infinity|-infinity|4713-01-01 00:00:00 BC|294276-12-31 23:59:59.999999|2024-02-29 12:34:56.7|0044-03-15 00:00:00 BC"
VALUES: Final[dict[str, str]] = {
    "bool": "t|f",
    "int2": "-32768|32767|0",
    "int4": "-2147483648|2147483647",
    "int8": "-9223372036854775808|9223372036854775807",
    "float4": "NaN|Infinity|-Infinity|-0|1e-45|3.4028235e38|0.1",
    "float8": "NaN|Infinity|-Infinity|-0|5e-324|1.7976931348623157e308|0.1|1e15|1e-5",
    "numeric": f"NaN|Infinity|-Infinity|0|-0.000|1.10|1e-200|{'9' * 500}.{'1' * 300}|12345678901234567890.5|10000|0.0001",
    "numeric(12,2)": "-1.5|9999999999.99",
    "percent": "99.5|0",
    "money": "-92233720368547758.08|12.34",
    "text": "|a'b\"c\\d\t\n|中文🙂|%s{}",
    "varchar(10)": "abc  |中文",
    "bpchar": "ab  |x",
    "character(7)": "ab|中文",
    "name": "a name|名",
    '"char"': "a|\\377",
    "bytea": "\\x|\\x00ff27|\\xdeadbeef",
    "date": "infinity|-infinity|4713-01-01 BC|5874897-12-31|2024-02-29|0044-03-15 BC",
    "time": "00:00:00|24:00:00|23:59:59.999999",
    "timetz": "00:00:00+15:59:59|24:00:00-15:59:59|12:34:56.789+08",
    "timestamp": TIMESTAMPS,
    "timestamp(0)": "2024-02-29 12:34:56.7",
    "timestamptz": TIMESTAMPS,
    "interval": "0|-1 year 2 mons -3 days 04:05:06.789|178000000 years|-00:00:00.000001|1 mon -1 day",
    "json": '{"b": 1, "a" : [1,  2]}|null|"中"',
    "jsonb": '{"b": 1, "a" : [1,  2], "n": 1.10}|null|"中"',
    "jsonpath": '$."a"[*] ? (@ > 1)',
    "uuid": "00000000-0000-0000-0000-000000000000|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "xml": '<a>中&amp;</a>|<?xml version="1.0" encoding="UTF-8"?><a/>|text',
    "bit(5)": "10101|00000",
    "bit varying": "|1|101010101",
    "inet": "192.168.1.5|10.0.0.0/8|::1|2001:db8::/32",
    "cidr": "10.0.0.0/8|2001:db8::/32",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "point": "(1,-0.30000000000000004)|(NaN,Infinity)",
    "line": "{1,-1,0}",
    "lseg": "[(0,0),(1,1.5)]",
    "box": "(3,4),(1,2)",
    "path": "((0,0),(1,1))|[(0,0),(1,1)]",
    "polygon": "((0,0),(1,1),(2,0))",
    "circle": "<(1,2),3.5>",
    "tsvector": "'a':1A 'fat':2B,4C|'中':1",
    "tsquery": "'fat' & ( 'rat' | !'cat':AB ) <-> 'x'",
    "oid": "0|4294967295",
    "xid": "0|4294967295",
    "xid8": "0|18446744073709551615",
    "cid": "1",
    "tid": "(4294967295,65535)",
    "pg_lsn": "FFFFFFFF/FFFFFFFF|0/0",
    "txid_snapshot": "10:20:10,14,15",
    "pg_snapshot": "10:20:10,14,15",
    "int2vector": "1 2 3",
    "oidvector": "1 2 3",
    "regclass": "pg_type|public.everything",
    "regcollation": '"C"',
    "regconfig": "simple",
    "regdictionary": "simple",
    "regnamespace": "public",
    "regoper": "pg_catalog.||/",
    "regoperator": "+(integer,integer)",
    "regproc": "now",
    "regprocedure": "sum(integer)",
    "regrole": "postgres",
    "regtype": "integer|public.mood",
    "refcursor": "cursor 1",
    "aclitem": "postgres=arw/postgres",
    "int4range": "empty|[1,5)|(,)|[3,)",
    "int8range": "[1,9223372036854775807)",
    "numrange": "[1.10,2.200)|(,NaN]",
    "daterange": "[2024-01-01,infinity)",
    "tsrange": '["2024-01-01 00:00:00","infinity"]',
    "tstzrange": '["2024-01-01 00:00:00+00",)',
    "floatrange": "[0.1,Infinity)",
    "int4multirange": "{}|{[1,3),[5,9)}",
    "int8multirange": "{[1,3)}",
    "nummultirange": "{[1.0,3.5)}",
    "datemultirange": "{[2024-01-01,2024-02-01)}",
    "tsmultirange": '{["2024-01-01 00:00:00","2024-02-01 00:00:00")}',
    "tstzmultirange": '{["2024-01-01 00:00:00+00","2024-02-01 00:00:00+00")}',
    "mood": "sad|高兴|it's",
    "moods": "{sad,高兴,NULL}",
    "host": "10.1.2.3/8",
    "address": '("a,""b",1,"2024-01-01 00:00:00+00")|(,,)',
    "household": '("(s,1,)","{a,""b c"",NULL}",sad)',
    "text[]": '{}|{a,"b c",NULL,"NULL","\\\\"}|[2:3][0:1]={{a,b},{c,d}}',
    "bool[]": "{t,f,NULL}",
    "float8[]": "{NaN,-0,0.1,0.30000000000000004}",
    "numeric[]": "{NaN,1.10}",
    "bytea[]": '{"\\\\x00ff"}',
    "timestamptz[]": '{infinity,"2024-01-01 00:00:00+00"}',
    "interval[]": '{"1 mon -1 days"}',
    "money[]": "{$1.00}",
    "jsonb[]": '{"{\\"a\\": 1}"}',
    "address[]": '{"(a,1,)"}',
    "int4range[]": '{"[1,2)",empty}',
}
"""For each type, literals with | between them ("" is a value); the lists also end in a NULL for every type."""
BUILT_IN: Final = """
SELECT oid, typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')
AND typcategory <> 'A'
"""
LONE_BARS: Final = {"regoper", "tsquery"}
NOT_STORED: Final = {
    # They exist for the catalogues alone; the server refuses to read or to make a value of them.
    "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list",
    "pg_ndistinct", "pg_node_tree",
}  # fmt: skip
STRANGE: Final = (
    "SET DateStyle = 'German, DMY'", "SET IntervalStyle = 'iso_8601'", "SET extra_float_digits = -5",
    "SET bytea_output = 'escape'",
)  # fmt: skip
PRINTING: Final = (
    "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1; "
    "SET bytea_output = 'hex'; SET search_path = pg_catalog"
)


def types_here(connection: psycopg.Connection[Any]) -> list[str]:
    """The types of this server: it may have been built without XML."""
    try:
        connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return [name for name in VALUES if name != "xml"]
    return list(VALUES)


def literals(type_name: str) -> list[str]:
    """The literals of a type."""
    text = VALUES[type_name]
    return [text] if type_name in LONE_BARS else text.split("|")


@pytest.fixture
def database(postgres, business, request):
    """A database that prints values in an unusual way, with a table that has a column of every type."""
    with postgres.connect(business) as connection:
        connection.execute(USERS_TYPES)
        columns = ", ".join(f'"{name.replace(chr(34), "_")}" {name}' for name in types_here(connection))
        connection.execute(f"CREATE TABLE everything (id int PRIMARY KEY, {columns})".encode())
        for setting in STRANGE:
            connection.execute(f'ALTER DATABASE "{business}" {setting}'.encode())
    return business


def fill(connection: psycopg.Connection[Any], names: list[str], start: int) -> None:
    """One row for the first literal of every type, one for the second, and so on to a row of NULLs."""
    most = max(len(literals(name)) for name in names)
    for number in range(most + 1):
        row = [found[number] if number < len(found := literals(name)) else None for name in names]
        places = ", ".join(f"%s::{name}" for name in names)
        query = f"INSERT INTO everything VALUES ({start + number}, {places})"
        connection.execute(query.encode(), row)


def printed(schema: TableSchema, frame: bytes) -> list[str | None]:
    """What we hold, as the server would print it."""
    pairs = zip(schema.columns, frames.fields(frame), strict=True)
    return [
        None
        if value is None
        else value.decode()
        if column.kind is Kind.OTHER
        else to_text(column.kind, value)
        for column, value in pairs
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/St_Johns"])
def test_every_type_is_the_same_on_every_way(postgres, database, zone):
    """Snapshot, stream and scan give the same frame, and its text is the server's own."""
    with postgres.connect(database) as connection:
        connection.execute(f"ALTER DATABASE \"{database}\" SET TimeZone = '{zone}'".encode())
    table = TableSettings(table="everything")
    dsn = SecretStr(postgres.dsn(database))
    source = PostgresqlSource(PostgresqlSettings(kind="postgresql", name="types", dsn=dsn, tables=(table,)))
    source.open("")
    with postgres.connect(database) as connection:
        connection.execute("SET DateStyle = 'ISO'; SET TimeZone = 'UTC'")
        names = types_here(connection)
        with connection.transaction():
            fill(connection, names, start=1)
    batch = source.read(Limits(wait_s=10))
    (delta,) = batch.deltas
    source.start_copy("everything", b"")
    pages: list[Page] = []
    while not pages or not pages[-1].is_last:
        assert source.read(Limits(wait_s=1)) is None
        pages += source.pages()
    scanned = b"".join(found.data for found in source.scan("everything"))
    source.close()

    assert source.holds() == []
    assert pages[0].frames.data == delta.inserts.data == scanned
    names = [column.name for column in delta.schema.columns]
    told = [printed(delta.schema, frame) for frame in frames.split(scanned)]
    pairs = zip(told, expected(postgres, database, delta.schema), strict=True)
    wrong = [
        (name, ours, theirs)
        for row, truth in pairs
        for name, ours, theirs in zip(names, row, truth, strict=True)
        if ours != theirs
    ]
    assert wrong == []


def expected(postgres, database: str, schema: TableSchema) -> list[list[str | None]]:
    """The table as the server prints it: by output function, and kinds without a form of their own by cast."""
    names = [
        f'"{column.name}"::text'
        if column.kind is Kind.OTHER and column.name != "xml"
        else f'CASE WHEN "{column.name}" IS NOT NULL THEN format(\'%s\', "{column.name}") END'
        for column in schema.columns
    ]
    with postgres.connect(database) as connection:
        connection.execute(PRINTING)
        query = f"SELECT {', '.join(names)} FROM public.everything ORDER BY id"
        return [list(row) for row in connection.execute(query.encode()).fetchall()]


def test_no_built_in_type_is_forgotten(postgres, business):
    """A type that a new server brings must be looked at."""
    with postgres.connect(business) as connection:
        connection.execute(USERS_TYPES)
        there = connection.execute(BUILT_IN).fetchall()
        known = connection.execute("SELECT %s::regtype[]::oid[]", (list(VALUES),)).fetchone()

    assert known is not None
    assert {name for oid, name in there if oid not in known[0]} == NOT_STORED
