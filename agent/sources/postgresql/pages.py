"""Reading rows in key order as the frames the server makes: binary COPY, untouched.

Each page is its own short transaction. What it may have seen of the stream is bounded on both sides: ``snapshot``
was taken before it (what that shows as finished, the page has seen) and ``high`` after it (what it has seen lies
before that place in the log).
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import pq

from agent.sources.postgresql.catalog import literal, quoted
from agent.sources.postgresql.connection import Connection, error_of, log_end, translated
from agent.sources.postgresql.shapes import AFRESH, Shape
from agent.sources.postgresql.tap import Rows, new_rows
from proto import frames
from proto.batch import Frames
from proto.errors import Credential, SchemaHold, Transient
from proto.schema import TableSchema
from proto.values import Kind, to_text

_XIDS: Final = 1 << 32
_POLL_MS: Final = 200
# Read at a person's pace, the whole table may take longer than any statement should.
_FREEZE: Final = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = 0
"""
# The function says where the rows are, the catalogue's row where they were when the snapshot was taken.
_AS_SEEN: Final = """
SELECT pg_current_snapshot()::text, coalesce(bool_and(c.relfilenode IS NOT DISTINCT FROM pg_relation_filenode(c.oid)), true)
FROM pg_class c WHERE c.relkind = 'r' AND (c.oid = %s OR c.oid IN (SELECT relid FROM pg_partition_tree(%s)))
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended when it was taken."""

    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read ``xmin:xmax:xip,xip``."""
        _, xmax, running = text.split(":")
        return cls(int(xmax) % _XIDS, frozenset(int(xid) % _XIDS for xid in running.split(",") if xid))

    def shows_running(self, xid: int) -> bool:
        """Whether a transaction that the stream has delivered is not visible yet."""
        return xid in self.running or (xid - self.xmax) % _XIDS < _XIDS // 2


@dataclass(frozen=True, slots=True)
class RawPage:
    """Rows as they were read, before the stream has a say."""

    schema: TableSchema
    rows: Frames
    last_key: bytes
    is_last: bool
    snapshot: Snapshot
    high: int


class Locked(Transient):
    """Somebody else holds a lock that keeps readers out."""


class PageReader:
    """Reads pages on a connection of its own."""

    def __init__(self, connection: Connection, name: str, stopped: Callable[[], bool]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._name = name
        self._stopped = stopped

    def after(self, shape: Shape, key: bytes, limit_rows: int, limit_bytes: int) -> RawPage:
        """The page that follows *key*, ending at either limit."""
        where = f"WHERE {_key_sql(shape)} > {_key_literal(shape, key)} " if key else ""
        ordered = f"{where}ORDER BY {_key_sql(shape, bare=True)} LIMIT {limit_rows}"
        return self._page(shape, ordered, limit_rows, limit_bytes)

    def by_key(self, shape: Shape, keys: Sequence[bytes]) -> RawPage:
        """The rows of these keys that exist now."""
        wanted = ", ".join(_key_literal(shape, key) for key in keys)
        return self._page(shape, f"WHERE {_key_sql(shape)} IN ({wanted})", len(keys) + 1, 1 << 40)

    def everything(self, shape: Shape, page_rows: int, page_bytes: int) -> Iterator[Frames]:
        """The whole table in one consistent read, in key order if it has a key."""
        order = f"ORDER BY {_key_sql(shape, bare=True)}" if shape.schema.key else ""
        for rows in self._copy_out(shape, order):
            if rows.count >= page_rows or rows.size >= page_bytes:
                yield Frames(*rows.take()[:2])
        if rows.count:
            yield Frames(*rows.take()[:2])

    @property
    def pid(self) -> int:
        """The server's process that reads."""
        return self._connection.info.backend_pid

    def freeze(self, shape: Shape) -> tuple[Snapshot, int] | None:
        """Begin a transaction that sees the table as it is now, and say how far the log reaches that it has seen.

        None when the table is locked or was just emptied or rewritten, which an older snapshot would see as empty.
        """
        with translated(self._name):
            self._connection.execute(_FREEZE)
        try:
            self._lock_and_compare(shape)
            with translated(self._name):
                row = self._connection.execute(_AS_SEEN, (shape.facts.relid, shape.facts.relid)).fetchone()
            if row is not None and row[1]:
                return Snapshot.parse(row[0]), log_end(self._connection, self._name)
        except Locked:
            self.thaw()
            return None
        except BaseException:
            self.thaw()
            raise
        self.thaw()
        return None

    def thaw(self) -> None:
        """End that transaction."""
        # If this fails, the connection is gone, and the next statement says so.
        with suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _page(self, shape: Shape, clauses: str, limit_rows: int, limit_bytes: int) -> RawPage:
        with translated(self._name):
            self._connection.execute("BEGIN READ ONLY")
        try:
            self._lock_and_compare(shape)
            snapshot = Snapshot.parse(self._value("SELECT pg_current_snapshot()::text"))
            (data, count, last_at), is_whole = self._rows(shape, clauses, limit_bytes)
        finally:
            self.thaw()
        high = log_end(self._connection, self._name)
        last_key = frames.keys(data[last_at:], shape.schema.key_indexes)[0] if count else b""
        is_last = is_whole and count < limit_rows
        return RawPage(shape.schema, Frames(data, count), last_key, is_last, snapshot, high)

    def _rows(self, shape: Shape, clauses: str, limit_bytes: int) -> tuple[tuple[bytes, int, int], bool]:
        """Rows up to the limit, how many, where the last one begins; and whether these are all."""
        for rows in self._copy_out(shape, clauses):
            if rows.size >= limit_bytes:
                self._cancel()
                return rows.take(), False
        return rows.take(), True

    def _lock_and_compare(self, shape: Shape) -> None:
        """Hold off changes of the table's structure, and refuse one that the stream has not told us yet.

        In this isolation level each statement has its own snapshot, so the page's is taken under the lock: after
        a rewrite of the table an older one would see it empty. LIMIT 0 locks every partition, a false WHERE would not.
        """
        names = ", ".join(quoted(part.name) for part in shape.parts)
        query = f"SELECT {names} FROM {shape.facts.from_clause} LIMIT 0"  # noqa: S608 - quoted
        result = self._pgconn.exec_(query.encode())
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise self._refusal(result, shape)
        found = [result.ftype(at) for at in range(result.nfields)]
        if found != [part.type.base for part in shape.parts]:
            raise SchemaHold(shape.schema.name, "a column changed its type", fix=AFRESH)

    def _copy_out(self, shape: Shape, clauses: str) -> Iterator[Rows]:
        """Where the rows gather, each time there are more, and at the end."""
        names = ", ".join(part.selected for part in shape.parts)
        rows_of = f"SELECT {names} FROM {shape.facts.from_clause} {clauses}"  # noqa: S608 - quoted
        query = f"COPY ({rows_of}) TO STDOUT (FORMAT binary)"
        result = self._pgconn.exec_(query.encode())
        if result.status != pq.ExecStatus.COPY_OUT:
            raise self._refusal(result, shape)
        poll = select.poll()
        poll.register(self._pgconn.socket, select.POLLIN)
        rows = new_rows()
        with translated(self._name):
            while rows.gather(self._pgconn) == 0:
                yield rows
                self._wait(poll)
        ended = self._pgconn.get_result()
        if ended is not None and ended.status != pq.ExecStatus.COMMAND_OK:
            raise self._refusal(ended, shape)
        while self._pgconn.get_result() is not None:
            pass
        yield rows

    def _wait(self, poll: select.poll) -> None:
        while not poll.poll(_POLL_MS):
            if self._stopped():
                self._cancel()
                raise Transient("reading was stopped", where=self._name)
        with translated(self._name):
            self._pgconn.consume_input()

    def _cancel(self) -> None:
        """End a COPY before its end, and take in what is still on the way."""
        self._connection.cancel_safe(timeout=10)
        while self._pgconn.get_copy_data(0)[0] > 0:
            pass
        while self._pgconn.get_result() is not None:
            pass

    def _value(self, query: str) -> str:
        with translated(self._name):
            row = self._connection.execute(query.encode()).fetchone()
        return str(row[0]) if row else ""

    def _refusal(self, result: pq.abc.PGresult, shape: Shape) -> Exception:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if sqlstate == "55P03":
            return Locked(f"{said} ({sqlstate})", where=self._name)
        error = error_of(sqlstate, said, self._name)
        if isinstance(error, Credential):
            names = ", ".join(quoted(part.name) for part in shape.parts)
            fix = f"GRANT SELECT ({names}) ON {shape.facts.quoted} TO {quoted(self._connection.info.user)}"
            return SchemaHold(shape.schema.name, "the account may not read the table", fix=fix)
        if sqlstate in ("42P01", "42703"):
            return SchemaHold(shape.schema.name, f"{said} ({sqlstate})", fix=AFRESH)
        return error


def _key_sql(shape: Shape, *, bare: bool = False) -> str:
    names = ", ".join(quoted(name) for name in shape.schema.key)
    return names if bare else f"({names})"


def _key_literal(shape: Shape, key: bytes) -> str:
    """A key as typed literals: COPY takes no parameters, and the text of every kind is exact."""
    values = zip(shape.schema.key_indexes, frames.fields(key), strict=True)
    return "(" + ", ".join(_literal(shape, at, value or b"") for at, value in values) + ")"


def _literal(shape: Shape, at: int, value: bytes) -> str:
    part = shape.parts[at]
    text = value.decode() if part.type.kind is Kind.OTHER else to_text(part.type.kind, value)
    return f"{literal(text)}::{part.type.name}"
