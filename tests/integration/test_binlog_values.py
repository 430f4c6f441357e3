"""The binlog of a real MariaDB: what its bytes become, against the text the same server shows for the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agent.sources.mysql.binlog import (
    Collector,
    EventType,
    Plan,
    PlanColumn,
    TableMap,
    UnreadableValue,
    checksum_ok,
    header,
)
from agent.sources.mysql.charsets import decoder
from proto import frames
from proto.errors import TableHold
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from tests.support.mariadb import MariadbServer
from tests.support.pgoutput_model import apply

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
LONG_TEXT = "户" * 20_000


@dataclass(frozen=True)
class Case:
    """A type of the server, what it becomes, some values in SQL, and the expression that shows it."""

    type: str
    kind: Kind
    values: tuple[str, ...]
    shown: str = "{}"
    native: str = ""


INTEGERS = [
    Case(f"{name}{' UNSIGNED' * (low == 0)}", kind, (str(low), str(high), "0", "1"))
    for name, kind, low, high in (
        ("TINYINT", Kind.INT16, -(2**7), 2**7 - 1),
        ("TINYINT", Kind.INT16, 0, 2**8 - 1),
        ("SMALLINT", Kind.INT16, -(2**15), 2**15 - 1),
        ("SMALLINT", Kind.INT32, 0, 2**16 - 1),
        ("MEDIUMINT", Kind.INT32, -(2**23), 2**23 - 1),
        ("MEDIUMINT", Kind.INT32, 0, 2**24 - 1),
        ("INT", Kind.INT32, -(2**31), 2**31 - 1),
        ("INT", Kind.INT64, 0, 2**32 - 1),
        ("BIGINT", Kind.INT64, -(2**63), 2**63 - 1),
        ("BIGINT", Kind.DECIMAL, 0, 2**64 - 1),
    )
]
NUMBERS = [
    Case("TINYINT(1)", Kind.BOOL, ("0", "1")),
    Case("FLOAT", Kind.FLOAT32, ("0", "-1.5", "3.402823e38", "1e-38"), "CAST({} AS DOUBLE)"),
    Case("DOUBLE", Kind.FLOAT64, ("0", "-1.5", "1.7976931348623157e308", "5e-324"), "{}"),
    Case("DECIMAL(65,30)", Kind.DECIMAL, ("0", "-" + "9" * 35 + "." + "9" * 30, "1.10", "-0.000000001")),
    Case("DECIMAL(65,0)", Kind.DECIMAL, ("0", "9" * 65, "-1", "10000")),
    Case("DECIMAL(10,2)", Kind.DECIMAL, ("0", "-99999999.99", "1.10", "12345678.9")),
    Case("BIT(1)", Kind.BOOL, ("0", "1"), "{}+0"),
    Case("BIT(10)", Kind.OTHER, ("b'1000000101'", "0", "1023"), "LPAD(BIN({}), 10, '0')"),
    Case("BIT(64)", Kind.BYTES, ("b'1'", "0", "18446744073709551615"), "HEX(CAST({} AS BINARY(8)))"),
    Case("YEAR", Kind.INT16, ("1901", "2155", "0", "2024")),
]
MOMENTS = [
    Case("DATE", Kind.DATE, ("'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'0001-01-01'")),
    *(
        Case(
            f"DATETIME({n})",
            Kind.TIMESTAMP,
            ("'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", f"'2024-02-29 12:34:56.{'7' * n}'"),
        )
        for n in range(7)
    ),
    *(
        Case(
            f"TIMESTAMP({n}) NULL",
            Kind.TIMESTAMPTZ,
            ("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", f"'2024-02-29 12:34:56.{'7' * n}'"),
        )
        for n in range(7)
    ),
    *(
        Case(
            f"TIME({n})",
            Kind.INTERVAL,
            ("'838:59:59'", "'-838:59:59'", "0", f"'-00:00:00.{'7' * n}'", f"'-12:00:01.{'3' * n}'"),
        )
        for n in range(7)
    ),
]
WORDS = [
    *(
        Case(f"{name} CHARACTER SET {charset}", Kind.TEXT, ("''", "'中华人民共和国 a'", "'户籍''登记\\\\表'"))
        for name in ("CHAR(90)", "VARCHAR(200)", "TEXT")
        for charset in ("utf8mb4", "utf8mb3", "gbk", "gb2312", "ucs2", "utf16", "utf16le", "utf32")
    ),
    Case("VARCHAR(20) CHARACTER SET big5", Kind.TEXT, ("'臺灣'", "''", "'碁銹裏墻恒粧嫺'")),
    Case("VARCHAR(20) CHARACTER SET latin1", Kind.TEXT, ("'é€ÿ'", "''", "_latin1 X'818D8F909D'")),
    Case("VARCHAR(20) CHARACTER SET ascii", Kind.TEXT, ("'abc'", "''")),
    Case("VARCHAR(20) CHARACTER SET utf8mb4", Kind.TEXT, ("'é𠮷😀'", "X'00'", "' a '")),
    Case("LONGTEXT CHARACTER SET utf8mb4", Kind.TEXT, (f"'{LONG_TEXT}'", "''")),
    Case("VARCHAR(90) COMPRESSED CHARACTER SET gbk", Kind.TEXT, ("REPEAT('中', 90)", "''", "'a'")),
    Case("BLOB COMPRESSED", Kind.BYTES, ("REPEAT('a', 3000)", "''", "X'00'"), "HEX({})"),
    Case("JSON", Kind.JSON, ('\'{"键": [1, 2.50, null, "值"]}\'', "'[]'", "'\"文\"'")),
    Case("ENUM('甲','乙','') CHARACTER SET gbk", Kind.TEXT, ("'甲'", "'乙'", "''")),
    Case("SET('红','绿','blue') CHARACTER SET utf8mb4", Kind.TEXT, ("'红,blue'", "''", "'红,绿,blue'")),
    Case("BINARY(5)", Kind.BYTES, ("X'0000'", "X'FF00FF0000'", "''"), "HEX({})"),
    Case("VARBINARY(300)", Kind.BYTES, ("X'0000'", "REPEAT(X'D6', 300)", "''"), "HEX({})"),
    *(
        Case(f"{size}BLOB", Kind.BYTES, ("X'00FF'", "''", "REPEAT(X'D6D0', 100)"), "HEX({})")
        for size in ("TINY", "", "MEDIUM", "LONG")
    ),
    Case("POINT", Kind.OTHER, ("POINT(1.5, -2)", "ST_GeomFromText('POINT(0 0)', 4326)"), "HEX({})"),
    Case(
        "UUID",
        Kind.UUID,
        ("'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'"),
        native="uuid",
    ),
    Case("INET4", Kind.OTHER, ("'255.255.255.255'", "'0.0.0.0'", "'10.0.0.0'"), native="inet4"),
    Case(
        "INET6",
        Kind.OTHER,
        ("'::ffff:1.2.3.4'", "'::1.2.3.4'", "'::1'", "'::'", "'2001:db8::'", "'1:0:0:2::3'", "'::0.1.0.0'"),
        native="inet6",
    ),
]
CASES = {"integers": INTEGERS, "numbers": NUMBERS, "moments": MOMENTS, "words": WORDS}


class Log:
    """What the server writes into its binlog from now on."""

    def __init__(self, server: MariadbServer, database: str) -> None:
        self._server, self.database = server, database
        self._connection = server.connect(database)
        self.run("SET time_zone = '+00:00'")
        server.execute("FLUSH BINARY LOGS")
        self._name, self._at = self.run("SHOW MASTER STATUS")[0][:2]

    def run(self, statement: str, raw: bool = False) -> Any:
        """The rows a statement gives; *raw* leaves them as the server's text."""
        with self._connection.cursor() as cursor:
            before = self._connection.decoders
            self._connection.decoders = {} if raw else before
            try:
                cursor.execute(statement)
                return cursor.fetchall()
            finally:
                self._connection.decoders = before

    def events(self) -> Iterator[bytes]:
        """The events since then, without their checksums."""
        data = (self._server.data / self._name).read_bytes()
        at = int(self._at)
        while at < len(data):
            event = data[at : at + header(data[at : at + 19]).size]
            assert checksum_ok(event)
            at += len(event)
            yield event[:-4]

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


@pytest.fixture
def log(mariadb: MariadbServer, mariadb_database: str) -> Iterator[Log]:
    """The binlog of a fresh database."""
    with contextlib.closing(Log(mariadb, mariadb_database)) as found:
        yield found


def collected(log: Log, cases: Sequence[Case], compiled: bool) -> tuple[Collector, list[TableHold]]:
    """What the log's events of the table ``t`` become."""
    schema = TableSchema(
        "t",
        (Column("id", Kind.INT32), *(Column(f"c{at}", case.kind) for at, case in enumerate(cases))),
        ("id",),
    )

    def plan(table: TableMap) -> Plan | None:
        if (table.schema, table.table) != (log.database, "t"):
            return None
        natives = ["", *(case.native for case in cases)]
        assert [column.name for column in table.columns] == [column.name for column in schema.columns]
        assert table.primary_key == (0,)
        columns = [
            PlanColumn(at, bool(column.unsigned), column.charset, column.members, native)
            for at, (column, native) in enumerate(zip(table.columns, natives, strict=True))
        ]
        return Plan(schema, tuple(columns))

    holds: list[TableHold] = []
    collector = Collector(plan, holds.append, compiled=compiled)
    for event in log.events():
        collector.add(event)
    return collector, holds


def create(log: Log, cases: Sequence[Case]) -> None:
    """The table, and a row for the first values of all columns, one for the second …, one of NULLs."""
    columns = ", ".join(f"c{at} {case.type}" for at, case in enumerate(cases))
    log.run(f"CREATE TABLE t (id INT PRIMARY KEY, {columns}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC")
    count = max(len(case.values) for case in cases)
    for number in range(count + 1):
        values = [case.values[number] if number < len(case.values) else "NULL" for case in cases]
        log.run(f"INSERT INTO t VALUES ({number}, {', '.join(values)})")


def shown(log: Log, cases: Sequence[Case]) -> dict[bytes, tuple[bytes | None, ...]]:
    """The table as the server shows it, in canonical form."""
    expressions = ", ".join(case.shown.format(f"c{at}") for at, case in enumerate(cases))
    found: dict[bytes, tuple[bytes | None, ...]] = {}
    for number, *texts in log.run(f"SELECT id, {expressions} FROM t", raw=True):
        key = from_text(Kind.INT32, number)
        fields = (
            None if text is None else canonical(case, text) for case, text in zip(cases, texts, strict=True)
        )
        found[frames.pack([key])] = (key, *fields)
    return found


def canonical(case: Case, text: str) -> bytes:
    """The canonical form of what the server shows."""
    if case.kind is Kind.BYTES:
        return bytes.fromhex(text)
    zone = "+00" if case.kind is Kind.TIMESTAMPTZ else ""
    return from_text(case.kind, text + zone)


@BOTH
@pytest.mark.parametrize("name", CASES)
def test_every_type_is_what_the_server_shows(log: Log, name: str, compiled: bool) -> None:
    """NULL, smallest, largest, zero, negative, Chinese; inserted, changed and deleted."""
    cases = CASES[name]
    create(log, cases)
    last = max(len(case.values) for case in cases)
    everything = ", ".join(f"c{at} = NULL" for at in range(len(cases)))
    log.run(f"UPDATE t SET {everything} WHERE id = 1")
    log.run(f"INSERT INTO t SELECT id + 100, {', '.join(f'c{at}' for at in range(len(cases)))} FROM t")
    log.run(f"DELETE FROM t WHERE id = {last}")
    log.run("UPDATE t SET id = id + 1000 WHERE id = 2")

    collector, holds = collected(log, cases, compiled)

    replica: dict[bytes, tuple[bytes | None, ...]] = {}
    apply(replica, collector.drain())
    assert not holds, str(holds[0])
    expected = shown(log, cases)
    for key, row in expected.items():
        for at, field in enumerate(row):
            assert replica[key][at] == field, (cases[at - 1].type, key)
    assert replica == expected


@BOTH
def test_compressed_and_minimal_events_bring_the_same(log: Log, compiled: bool) -> None:
    """What the server's settings leave out or pack changes nothing in the end."""
    cases = [WORDS[0], INTEGERS[8], WORDS[2]]
    create(log, cases)
    log.run("SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10")
    try:
        log.run("INSERT INTO t SELECT id + 10, c0, c1, REPEAT('压缩', 40) FROM t")
        for image in ("MINIMAL", "NOBLOB"):
            log.run(f"SET SESSION binlog_row_image = {image}")
            log.run("UPDATE t SET c0 = CONCAT(c0, '改') WHERE id < 12")
            log.run("DELETE FROM t WHERE id = (SELECT * FROM (SELECT MAX(id) FROM t) AS x)")
    finally:
        log.run("SET GLOBAL log_bin_compress = OFF, GLOBAL log_bin_compress_min_len = 256")
    kinds = {event[4] for event in log.events()}
    assert EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1 in kinds

    collector, holds = collected(log, cases, compiled)

    replica: dict[bytes, tuple[bytes | None, ...]] = {}
    apply(replica, collector.drain())
    assert not holds, str(holds[0])
    found = shown(log, cases)
    assert {key: row[:3] for key, row in replica.items()} == {key: row[:3] for key, row in found.items()}


@BOTH
@pytest.mark.parametrize(
    ("type_", "kind", "value"),
    [
        ("DATE", Kind.DATE, "'0000-00-00'"),
        ("DATE", Kind.DATE, "'2024-00-00'"),
        ("DATETIME(3)", Kind.TIMESTAMP, "'0000-00-00'"),
        ("TIMESTAMP NULL", Kind.TIMESTAMPTZ, "'0000-00-00'"),
        ("DATE", Kind.DATE, "'2023-02-31'"),
        ("VARCHAR(9) CHARACTER SET gbk", Kind.TEXT, "_gbk X'A6B9'"),
    ],
)
def test_what_no_kind_can_hold_holds_its_table(
    log: Log, type_: str, kind: Kind, value: str, compiled: bool
) -> None:
    """The server holds it all the same."""
    log.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
    cases = [Case(type_, kind, (value,))]
    create(log, cases)
    _, holds = collected(log, cases, compiled)
    assert [type(hold) for hold in holds] == [UnreadableValue]


ONE_BYTE = "latin1 latin2 latin5 latin7 ascii cp1250 cp1251 cp1257 cp850 cp852 koi8r tis620 macroman macce"
TWO_BYTES = "gbk gb2312 big5 euckr"
LOST_IN_BIG5 = {0xA15A, 0xA1C3, 0xA1C5, 0xA1FE, 0xA240, 0xA2CC, 0xA2CE}
"""Characters that other readers of big5 know and this server shows as a question mark."""


@pytest.mark.parametrize("charsets", [ONE_BYTE, *TWO_BYTES.split()])
def test_every_character_is_the_one_the_server_converts_it_to(log: Log, charsets: str) -> None:
    """And what it has no character for is refused; it would show a question mark."""
    found = {charset: differing(log, charset) for charset in charsets.split()}
    assert not any(found.values()), found


def differing(log: Log, charset: str) -> set[int]:
    """The codes that the server reads in another way than we do."""
    codes = "1 AS n, seq FROM seq_0_to_255"
    if charset in TWO_BYTES.split():
        codes += " UNION ALL SELECT 2, seq FROM seq_33088_to_65278 WHERE seq % 256 > 63"
    text = f"CAST(UNHEX(LPAD(HEX(seq), 2 * n, '0')) AS CHAR CHARACTER SET {charset})"
    asked = f"SELECT n, seq, CONVERT({text} USING utf8mb4) FROM (SELECT {codes}) AS codes"
    read = decoder(charset)
    return {
        seq
        for n, seq, found in log.run(asked)
        if seq not in LOST_IN_BIG5
        and (n == 1 or is_pair(read, seq))
        and server_says(found, seq) != ours(read, n, seq)
    }


def is_pair(read: Callable[[bytes], bytes], code: int) -> bool:
    """Whether two bytes are not two characters of one byte."""
    return ours(read, 1, code >> 8) is None


def server_says(found: str | None, code: int) -> str | None:
    """A question mark that was not asked for, and a replacement, are no characters."""
    return None if found is None or len(found) != 1 or (found in "?\ufffd" and code != ord("?")) else found


def ours(read: Callable[[bytes], bytes], size: int, code: int) -> str | None:
    """What the decoder gives."""
    try:
        return read(code.to_bytes(size)).decode()
    except UnicodeDecodeError:
        return None
