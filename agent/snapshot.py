"""Which table is copied now, and what its copy hands on. Used by the thread that reads the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.exchange import Exchange, TableStatus
from agent.sources.source import Page, Remembering, Source
from proto.errors import SchemaHold, TableHold
from proto.schema import TableSchema


@dataclass(frozen=True, slots=True)
class Begin:
    """The copy of a table begins: empty it on every side before anything that is read from now on."""

    schema: TableSchema
    expected_rows: int
    mark: str = ""


@dataclass(frozen=True, slots=True)
class CopyPage:
    """A page, and the order for a copy that it belongs to."""

    page: Page
    generation: int


@dataclass(slots=True)
class _Current:
    table: str
    generation: int
    started_s: float
    rows: int = 0


class Copies:
    """Copies one table after another: new ones, ordered ones, and those a restart interrupted."""

    def __init__(self, source: Source, exchange: Exchange, resume_table: Callable[[str], None]) -> None:
        self._source = source
        self._exchange = exchange
        self._resume_table = resume_table
        self._current: _Current | None = None
        self._finished: set[tuple[str, int]] = set()

    def turn(self) -> Iterator[Begin | CopyPage | TableHold]:
        """What is to be committed before the next batch of the stream. Call at commit boundaries."""
        wanted = self._wanted()
        current = self._current
        if current and not self._is_current(wanted.get(current.table), current):
            # Held or ordered anew: what the source still brings of it belongs to the past.
            self._current = None
        more = True
        while more:
            if self._current is None and (wanted := self._wanted()):
                yield from self._begin(next(iter(wanted.values())))
            yield from self._pages()
            # The next table at once: at a quiet source the next turn is a whole wait away.
            more = self._current is None and bool(self._wanted())

    def starts_over(self, table: str) -> bool:
        """Whether a copy of *table* is ordered and not begun: it brings whatever passed by unseen."""
        status = self._exchange.tables().get(table)
        return status is not None and self._is_due(status) and not status.copy.begun

    def progress(self) -> str:
        """One sentence about the copy under way; empty if there is none."""
        current = self._current
        status = self._exchange.tables().get(current.table) if current else None
        if current is None or status is None:
            return ""
        copied, expected = status.copy.rows_copied, status.copy.rows_expected
        sentence = f"copying {current.table}: {copied} rows"
        left = expected - copied
        elapsed = time.monotonic() - current.started_s
        if left > 0 and current.rows:
            return f"{sentence} of about {expected}, about {left * elapsed / current.rows:.0f} s left"
        return sentence

    def _begin(self, status: TableStatus) -> Iterator[Begin | TableHold]:
        copy = status.copy
        if copy.begun and self._starts_anew(status):
            self._exchange.order_copy(status.name, "capture")
            return
        try:
            if not copy.begun:
                self._resume_table(status.name)
                mark = (
                    self._source.marks().get(status.name, "") if isinstance(self._source, Remembering) else ""
                )
                yield Begin(self._schema(status.name), self._source.expected_rows(status.name), mark)
            self._source.start_copy(status.name, copy.last_key)
        except TableHold as hold:
            # Not again in this session, or every turn would ask the catalogue; a new order is a new generation.
            self._finished.add((status.name, copy.generation))
            yield hold
        else:
            self._current = _Current(status.name, copy.generation, time.monotonic())

    def _pages(self) -> Iterator[CopyPage]:
        for page in self._source.pages():
            current = self._current
            if current is None or page.schema.name != current.table:
                continue
            current.rows += page.frames.count
            yield CopyPage(page, current.generation)
            if page.is_last:
                self._finished.add((current.table, current.generation))
                self._current = None

    def _schema(self, table: str) -> TableSchema:
        for schema in self._source.schemas():
            if schema.name == table:
                return schema
        raise SchemaHold(
            table, "it is not captured any more", fix="add it to the source's tables, then copy it afresh"
        )

    def _starts_anew(self, status: TableStatus) -> bool:
        """Whether an interrupted copy has to begin again: without a key nobody knows which rows it brought."""
        has_key = status.schema is None or bool(status.schema.key)
        return self._source.traits.copies_without_key and not has_key

    def _wanted(self) -> dict[str, TableStatus]:
        return {name: status for name, status in self._exchange.tables().items() if self._is_due(status)}

    def _is_due(self, status: TableStatus) -> bool:
        # A last page that waits to be committed is finished for us, though the database does not say so yet.
        return status.wants_copy and (status.name, status.copy.generation) not in self._finished

    @staticmethod
    def _is_current(status: TableStatus | None, current: _Current) -> bool:
        return status is not None and status.copy.generation == current.generation
