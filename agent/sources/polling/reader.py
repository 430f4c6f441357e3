"""The few questions that are asked of one table: a page by key, a page by watermark, and rows by their keys.

Pages go on after the last row's own values in the source's own order, so no collation needs to be known here. Which
row is which is decided by the exact bytes of its key, whatever the source's collation calls equal.
"""

# ruff: noqa: S608 - statements are put together from quoted identifiers and words of our own, never from values

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.sources.polling.connection import Database, utc_us
from agent.sources.polling.shapes import Field, Shape
from proto import frames
from proto.batch import Frames
from proto.errors import BadRow, Refused
from proto.values import Kind, Plain

VALUES_AT_ONCE: Final = 400
"""Parameters of one statement; every server takes this many."""
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page by watermark ended: as parameters of the next one."""

    values: tuple[Plain, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A page by watermark."""

    frames: Frames
    place: Place | None
    newest: bytes | None
    """The last row's watermark; None when the page is empty."""


class Reader:
    """Asks one connection about one table."""

    def __init__(self, database: Database, shape: Shape, place: tuple[str, str]) -> None:
        self._database = database
        self._place = place
        self.shape = shape
        self._columns = [field.expression for field in shape.fields]
        self._key = [self._quoted(field) for field in shape.key]

    def page(self, after_key: bytes, rows: int) -> Frames:
        """Up to *rows* rows after a key; fewer only at the end."""
        values = self.shape.key_values(after_key) if after_key else []
        rest, parameters = "", []
        if after_key:
            condition, places = _after([*zip(self._key, [f.parameter for f in self.shape.key], strict=True)])
            rest, parameters = f"WHERE {condition}", [values[place] for place in places]
        found = self._page(self._columns, rest, self._key, rows, parameters)
        return self.shape.frames(found)

    def changed(self, since: bytes | None, place: Place | None, rows: int) -> Changed:
        """Up to *rows* rows whose watermark is *since* or later, in its order; the next ones after *place*."""
        watermark = self._watermark
        column = self._quoted(watermark)
        condition, parameters = f"{column} IS NOT NULL", []
        if place is not None:
            marks = [(column, watermark.parameter)]
            marks += zip(self._key, [field.parameter for field in self.shape.key], strict=True)
            condition, places = _after(marks)
            parameters = [place.values[at] for at in places]
        elif since is not None:
            condition = f"{column} >= {watermark.parameter}"
            parameters = [self.shape.value(watermark.column.kind, since)]
        expressions = [*self._columns, watermark.expression]
        found = self._page(expressions, f"WHERE {condition}", [column, *self._key], rows, parameters)
        if not found:
            return Changed(Frames(), None, None)
        data = self.shape.frames(found)
        last_key = frames.keys(data.data, self.shape.schema.key_indexes)[-1]
        raw = found[-1][len(self._columns)]
        newest = self._word(raw)
        values = (self._again(raw, newest), *self.shape.key_values(last_key))
        return Changed(data, Place(values), newest)

    def newest(self) -> bytes | None:
        """The largest watermark; None when no row has one."""
        column = self._quoted(self._watermark)
        found = self._page([self._watermark.expression], f"WHERE {column} IS NOT NULL", [f"{column} DESC"], 1)
        return self._word(found[0][0]) if found else None

    def rows(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows of these keys now, by their exact key; also others that the source's collation calls equal."""
        found: dict[bytes, bytes] = {}
        for rows in self._by_keys(self._columns, keys):
            data = self.shape.frames(rows)
            names = frames.keys(data.data, self.shape.schema.key_indexes)
            found.update(zip(names, frames.split(data.data), strict=True))
        return found

    def present(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these keys exist now, to the byte; only key columns are read."""
        found: set[bytes] = set()
        for rows in self._by_keys([field.expression for field in self.shape.key], keys):
            found.update(self.shape.key_frames(rows))
        return found.intersection(keys)

    def latest(self) -> bytes | None:
        """No watermark is later than this: the server's clock as the column would say it; None for a counter.

        A row dated in the far future would otherwise hide every change made until then.
        """
        kind = self._watermark.column.kind
        if kind not in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
            return None
        now_us = utc_us(self._database)
        if kind is not Kind.TIMESTAMPTZ:
            now_us += max(0, self._database.clock.ahead_us)
        return (now_us // _DAY_US).to_bytes(4, signed=True) if kind is Kind.DATE else now_us.to_bytes(8)

    def everything(self, rows: int) -> Iterator[Frames]:
        """The whole table in key order as it was at one moment: by one statement, or by pages of one transaction."""
        if self._database.dialect.snapshot:
            yield from self._snapshot(rows)
            return
        statement = (
            f"SELECT {', '.join(self._columns)} FROM {self.shape.table} ORDER BY {', '.join(self._key)}"
        )
        for found in self._database.stream(statement, rows):
            yield self.shape.frames(found)

    def _snapshot(self, rows: int) -> Iterator[Frames]:
        self._database.query(self._database.dialect.snapshot)
        page = self.page(b"", rows)
        while page:
            yield page
            page = self.page(frames.keys(page.data, self.shape.schema.key_indexes)[-1], rows)
        self._database.query("COMMIT")

    def estimate(self) -> int:
        """About how many rows there are, from the catalogue; 0 when it does not say."""
        statement = self._database.dialect.estimate
        if not statement:
            return 0
        found = self._database.query(statement, self._place)
        return max(0, int(found[0][0] or 0)) if found else 0

    @property
    def _watermark(self) -> Field:
        if self.shape.watermark is None:
            raise Refused("it has no watermark", where=self.shape.schema.name)
        return self.shape.watermark

    def _quoted(self, field: Field) -> str:
        return self._database.dialect.quote(field.column.name)

    def _word(self, raw: Any) -> bytes:
        field = self._watermark
        try:
            return field.reads(raw)
        except Refused as error:
            fix = f"mend it, or say what it holds: kinds: {{{field.column.name}: …}}"
            raise BadRow(
                self.shape.schema.name, f"watermark {field.column.name}: {error.what}", fix=fix
            ) from None

    def _again(self, raw: Any, word: bytes) -> Plain:
        """The watermark as a parameter: where types are only advice, exactly as it is written there."""
        if not self._database.dialect.typeless:
            return self.shape.value(self._watermark.column.kind, word)
        return bytes(raw).decode() if isinstance(raw, (bytes, memoryview)) else raw

    def _page(
        self,
        columns: Sequence[str],
        rest: str,
        order: Sequence[str],
        rows: int,
        parameters: Sequence[Plain] = (),
    ) -> list[tuple[Any, ...]]:
        dialect, table = self._database.dialect, self.shape.table
        return self._database.query(dialect.page(columns, table, rest, ", ".join(order), rows), parameters)

    def _by_keys(self, columns: Sequence[str], keys: Sequence[bytes]) -> Iterator[list[tuple[Any, ...]]]:
        at_once = max(1, VALUES_AT_ONCE // len(self._key))
        chosen = f"SELECT {', '.join(columns)} FROM {self.shape.table} WHERE "
        for at in range(0, len(keys), at_once):
            some = [self.shape.key_values(key) for key in keys[at : at + at_once]]
            parameters = [value for values in some for value in values]
            yield self._database.query(chosen + self._are(len(some)), parameters)

    def _are(self, keys: int) -> str:
        marks = [field.parameter for field in self.shape.key]
        if len(marks) == 1:
            return f"{self._key[0]} IN ({', '.join(marks * keys)})"
        one = " AND ".join(f"{name} = {mark}" for name, mark in zip(self._key, marks, strict=True))
        return " OR ".join([f"({one})"] * keys)


def _after(columns: Sequence[tuple[str, str]]) -> tuple[str, list[int]]:
    """The condition for rows after given values of *columns*, and which value each parameter is.

    Row values are not for every server. The first comparison is said twice so that an index is used for it.
    """
    name, mark = columns[-1]
    condition, places = f"{name} > {mark}", [len(columns) - 1]
    for at in range(len(columns) - 2, -1, -1):
        name, mark = columns[at]
        condition = f"({name} > {mark} OR ({name} = {mark} AND {condition}))"
        places = [at, at, *places]
    if len(columns) > 1:
        name, mark = columns[0]
        condition, places = f"{name} >= {mark} AND {condition}", [0, *places]
    return condition, places
