"""Reading rows in key order as the frames the stream gives.

Each page is its own short read-only transaction. What it may have seen of the log is bounded on both sides: it has
seen everything the stream had delivered when it was asked for, or says that it has not, and nothing after ``high``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pymysql.cursors import SSCursor

from agent.sources.mysql.catalog import Catalog
from agent.sources.mysql.connection import Connection, translated
from agent.sources.mysql.pagevalues import Read, literal, ordered, reader, selected
from agent.sources.mysql.place import Spot
from agent.sources.mysql.reader import Unreadable
from agent.sources.mysql.server import log_end
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.shapes import AFRESH, Part, Shape
from proto import frames
from proto.batch import NO_FRAMES, Frames
from proto.errors import BadRow, Credential, ExchangeError, Refused, SchemaHold, Transient
from proto.schema import TableSchema

_FETCH_ROWS: Final = 500
_GRANT: Final = frozenset({1142, 1143})
_GONE: Final = frozenset({1146, 1054, 1356})


@dataclass(frozen=True, slots=True)
class RawPage:
    """Rows as they were read, before the stream has a say."""

    schema: TableSchema
    rows: Frames
    last_key: bytes
    is_last: bool
    saw_all: bool
    """Whether everything the stream had delivered before was visible, and the table was what is streamed."""
    high: Spot


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page follows, and how far the stream was when it was asked for."""

    after_key: bytes
    limit_rows: int
    limit_bytes: int
    passed: Spot
    gtids: str


class PageReader:
    """Reads pages on two connections of its own: one brings values as they are stored, one asks the catalogue."""

    def __init__(self, settings: MysqlSettings, stopped: Callable[[], bool]) -> None:
        self._settings = settings
        self._nulls = settings.zero_dates == "null"
        self._stopped = stopped
        self._connection = Connection(settings, raw=True)
        self._asking: Connection | None = None

    def after(self, shape: Shape, asked: Asked) -> RawPage:
        """The page that follows a key."""
        where = f"WHERE {_after(shape, asked.after_key)} " if asked.after_key else ""
        order = f"{where}ORDER BY {_order(shape)} LIMIT {asked.limit_rows}"
        saw_all = self._begin(asked)
        try:
            self._touch(shape)
            matches = self._matches(shape)
            found, is_whole = (
                self._rows(shape, order, asked.limit_bytes) if matches and saw_all else ([], False)
            )
        finally:
            # If this fails, the connection is gone, and the next statement says so.
            with suppress(ExchangeError):
                self._connection.run("ROLLBACK")
        high = log_end(self._connection)
        last_key = frames.keys(found[-1], shape.schema.key_indexes)[0] if found else b""
        is_last = is_whole and len(found) < asked.limit_rows
        rows = Frames(b"".join(found), len(found)) if found else NO_FRAMES
        return RawPage(shape.schema, rows, last_key, is_last, saw_all and matches, high)

    def everything(self, shape: Shape, page_rows: int, page_bytes: int) -> Iterator[Frames]:
        """The whole table in one consistent read, in key order if it has a key."""
        order = f"ORDER BY {_order(shape)}" if shape.schema.key else ""
        self._connection.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        held: list[bytes] = []
        size = 0
        for frame in self._frames(shape, order):
            held.append(frame)
            size += len(frame)
            if len(held) >= page_rows or size >= page_bytes:
                yield Frames(b"".join(held), len(held))
                held, size = [], 0
        if held:
            yield Frames(b"".join(held), len(held))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        if self._asking is not None:
            self._asking.close()

    def _begin(self, asked: Asked) -> bool:
        """Start a snapshot; says whether it holds everything up to the asked place."""
        if not self._connection.is_mariadb:
            query = "SELECT GTID_SUBSET(%s, @@global.gtid_executed)"
            saw_all = bool(int(self._connection.row(query, (asked.gtids,))[0]))
            self._connection.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            return saw_all
        self._connection.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return log_end(self._connection).reaches(asked.passed)

    def _matches(self, shape: Shape) -> bool:
        """Whether the table is what is streamed, now that it can no longer change."""
        if self._asking is None:
            self._asking = Connection(self._settings)
        now = Catalog(self._asking).table((shape.facts.schema, shape.facts.name))
        return now is not None and shape.matches(now)

    def _touch(self, shape: Shape) -> None:
        """Hold off changes of the table's structure until the transaction ends."""
        names = ", ".join(selected(part) for part in shape.parts)
        for _ in self._select(shape, f"SELECT {names} FROM {shape.facts.quoted} LIMIT 0"):  # noqa: S608 - quoted
            pass

    def _rows(self, shape: Shape, order: str, limit_bytes: int) -> tuple[list[bytes], bool]:
        """Frames up to the limit, and whether these are all."""
        found: list[bytes] = []
        size = 0
        for frame in self._frames(shape, order):
            found.append(frame)
            size += len(frame)
            if size >= limit_bytes:
                break
        else:
            return found, True
        # The server would send all the rest before it listens again.
        self._connection.close()
        self._connection = Connection(self._settings, raw=True)
        return found, False

    def _frames(self, shape: Shape, order: str) -> Iterator[bytes]:
        names = ", ".join(selected(part) for part in shape.parts)
        readers = [reader(part, zero_dates_are_null=self._nulls) for part in shape.parts]
        pack = frames.pack
        for row in self._select(shape, f"SELECT {names} FROM {shape.facts.quoted} {order}"):  # noqa: S608 - quoted
            try:
                yield pack(
                    [None if raw is None else read(raw) for read, raw in zip(readers, row, strict=True)]
                )
            except (Unreadable, Refused, ValueError):
                raise _unreadable(shape, readers, row) from None

    def _select(self, shape: Shape, query: str) -> Iterator[tuple[Any, ...]]:
        try:
            cursor = self._connection.each(query)
        except ExchangeError as error:
            raise _refusal(error, shape) from error
        try:
            yield from self._fetched(cursor)
        finally:
            if self._connection.is_open and self._connection.driver is cursor.connection:
                with translated(self._connection.name):
                    cursor.close()

    def _fetched(self, cursor: SSCursor) -> Iterator[tuple[Any, ...]]:
        with translated(self._connection.name):
            while rows := cursor.fetchmany(_FETCH_ROWS):
                if self._stopped():
                    raise Transient("reading was stopped", where=self._connection.name)
                yield from rows


def _key_parts(shape: Shape) -> list[Part]:
    return [shape.parts[at] for at in shape.schema.key_indexes]


def _order(shape: Shape) -> str:
    return ", ".join(ordered(part) for part in _key_parts(shape))


def _after(shape: Shape, key: bytes) -> str:
    """Rows after a key; written so that the servers look for them in the key's index."""
    values = zip(_key_parts(shape), frames.fields(key), strict=True)
    terms = [(ordered(part), literal(part, value or b"")) for part, value in values]
    last_name, last_value = terms[-1]
    condition = f"{last_name} > {last_value}"
    for name, value in reversed(terms[:-1]):
        condition = f"{name} >= {value} AND ({name} > {value} OR ({condition}))"
    return condition


def _unreadable(shape: Shape, readers: Sequence[Read], row: Sequence[bytes | None]) -> BadRow:
    """Which column it was; never what it held."""
    name = shape.schema.name
    for part, read, raw in zip(shape.parts, readers, row, strict=True):
        try:
            if raw is not None:
                read(raw)
        except (Unreadable, Refused, ValueError) as error:
            why = str(error) if isinstance(error, Unreadable) else "is not understood"
            fix = f"mend the row at the source, or leave the column out, then {AFRESH}"
            return BadRow(name, f'column "{part.name}": a value {why}', where=f"{name}.{part.name}", fix=fix)
    return BadRow(name, "a row is not understood", fix=AFRESH)


def _refusal(error: ExchangeError, shape: Shape) -> ExchangeError:
    """A table that cannot be read stops itself only."""
    number = getattr(error.__cause__, "args", (0,))[0]
    if isinstance(error, Credential) and number in _GRANT:
        fix = f"GRANT SELECT ON {shape.facts.quoted} TO the account"
        return SchemaHold(shape.schema.name, "the account may not read the table", fix=fix)
    if number in _GONE:
        return SchemaHold(shape.schema.name, "the table or one of its columns is gone", fix=AFRESH)
    return error
