"""A business database in memory that can be told to fail, seen as a source: for tests of capture."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from agent.sources.source import Finding, Limits, Page, Proof, Retained, Traits
from proto import frames
from proto.batch import Batch, Delta, Frames, Position
from proto.errors import Gap
from proto.schema import TableSchema
from tests.support.rows import PERSON, VISIT, people, visits

PAGE_ROWS = 2


def position_of(number: int) -> Position:
    """The position after the commit *number*."""
    return f"{number:06}"


class Scripted:
    """Tables ``person`` and ``visit``, and a log of commits. Failures are queued per method, raised in turn."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True, copies_without_key=True)

    def __init__(self) -> None:
        self.log: list[list[Batch]] = []
        self.rows: dict[str, dict[int, Frames]] = {"person": {}, "visit": {}}
        self.failures: dict[str, deque[BaseException]] = defaultdict(deque)
        self.confirmed: list[Position] = []
        self.on_confirm: Callable[[Position], None] = lambda _: None
        self.resumed: list[str] = []
        self.opened: list[Position] = []
        self.keepalives = 0
        self.retained_bytes = 0
        self.is_lost = False
        self.pending_holds: list[Exception] = []
        self._next: deque[Batch] = deque()
        self._at = 0
        self._copy: tuple[TableSchema, int] | None = None
        self._changed = threading.Condition()
        self._woken = False
        self._proof: Proof | None = None
        self._fails_after: tuple[int, BaseException] | None = None

    # What the department does

    def write(self, *ids: int) -> None:
        """Commit new people and their visits."""
        self._commit([(Delta(PERSON, inserts=people(*ids)), Delta(VISIT, inserts=visits(*ids)))], ids)

    def write_large(self, *ids: int) -> None:
        """Commit one transaction that comes in a part per row."""
        self._commit([(Delta(PERSON, inserts=people(i)), Delta(VISIT, inserts=visits(i))) for i in ids], ids)

    def _commit(self, parts: list[tuple[Delta, ...]], ids: tuple[int, ...]) -> None:
        with self._changed:
            number = len(self.log) + 1
            batches = [Batch(position_of(number - 1), deltas, 1, 1, continues=True) for deltas in parts]
            batches[-1] = replace(batches[-1], position=position_of(number), continues=False, transactions=1)
            self.log.append(batches)
            for i in ids:
                self.rows["person"][i] = people(i)
                self.rows["visit"][i] = visits(i)
            self._changed.notify_all()

    def fail_after(self, batches: int, error: BaseException) -> None:
        """Fail once, when that many more batches have been read."""
        self._fails_after = (batches, error)

    # What capture sees

    def check(self) -> list[Finding]:
        return []

    def schemas(self) -> list[TableSchema]:
        self._fail("schemas")
        return [PERSON, VISIT]

    def open(self, position: Position) -> Position:
        self._fail("open")
        if position and self.is_lost:
            raise Gap("the log is gone")
        self.opened.append(position)
        self._at = int(position) if position else len(self.log)
        self._next.clear()
        self._copy = None
        return position or position_of(self._at)

    def read(self, limits: Limits) -> Batch | None:
        self._fail("read")
        with self._changed:
            self._changed.wait_for(self._has_more, min(limits.wait_s, 0.05))
            self._woken = False
            if not self._next and self._at < len(self.log):
                self._next.extend(self.log[self._at])
                self._at += 1
            if self._next:
                return self._part()
            self._proof = Proof(position_of(self._at), time.time_ns() // 1000)
            return None

    def _part(self) -> Batch:
        left = self._fails_after
        if left is not None:
            if not left[0]:
                self._fails_after = None
                raise left[1]
            self._fails_after = (left[0] - 1, left[1])
        return self._next.popleft()

    def _has_more(self) -> bool:
        return bool(self._next) or self._at < len(self.log) or self._woken

    def holds(self) -> list[Exception]:
        met, self.pending_holds = self.pending_holds, []
        return met

    def confirm(self, position: Position) -> None:
        self._fail("confirm")
        self.on_confirm(position)
        self.confirmed.append(position)

    def keepalive(self) -> None:
        self.keepalives += 1

    def resume_table(self, name: str) -> None:
        self.resumed.append(name)

    def proof(self) -> Proof | None:
        return self._proof

    def start_copy(self, table: str, after_key: bytes) -> None:
        self._fail("start_copy")
        schema = PERSON if table == "person" else VISIT
        field = frames.fields(after_key)[0] if after_key else None
        self._copy = (schema, int.from_bytes(field) if field else -1)

    def pages(self) -> Iterator[Page]:
        """One page: the rows as the stream has delivered them, so that page and changes agree."""
        if self._copy is None or self._next or self._at < len(self.log):
            return
        self._fail("pages")
        schema, after = self._copy
        with self._changed:
            left = sorted(i for i in self.rows[schema.name] if i > after)
            ids = left[:PAGE_ROWS]
            data = b"".join(self.rows[schema.name][i].data for i in ids)
            last = frames.pack([ids[-1].to_bytes(8)]) if ids else b""
            is_last = len(left) <= PAGE_ROWS
        self._copy = None if is_last else (schema, ids[-1])
        yield Page(schema, Frames(data, len(ids)), last, is_last)

    def expected_rows(self, table: str) -> int:
        return len(self.rows[table])

    def scan(self, table: str) -> Iterator[Frames]:
        yield from self.rows[table].values()

    def retained(self) -> Retained | None:
        return Retained(self.retained_bytes, None)

    def give_up_place(self) -> None:
        """Forget everything for the disk's sake."""
        self.is_lost = True
        self.retained_bytes = 0

    def stop_waiting(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        self._next.clear()

    def _fail(self, method: str) -> None:
        if self.failures[method]:
            raise self.failures[method].popleft()
