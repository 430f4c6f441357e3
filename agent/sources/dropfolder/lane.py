"""Taken files become batches, one after the other in the order of their numbers.

A file is one transaction. What a snapshot changes is found by comparing it with what the exchange mirror has, so it
waits until everything handed out before is committed there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from enum import Enum
from typing import Final

from agent.sources.dropfolder.before import rows_before
from agent.sources.dropfolder.copies import Copies, Tables
from agent.sources.dropfolder.filing import Filing, Receipt, receipt_of
from agent.sources.dropfolder.folder import TAKEN, Folder
from agent.sources.dropfolder.inbox import Inbox, Taken, in_room, table_of
from agent.sources.dropfolder.intake import Findings, Intake
from agent.sources.dropfolder.ledger import Ledger, Seen
from agent.sources.dropfolder.reasons import Fault, Reason
from agent.sources.dropfolder.refusals import Refusals
from agent.sources.dropfolder.reports import Report, report_of
from agent.sources.dropfolder.settings import DropfolderSettings, FolderTable
from agent.sources.dropfolder.spool import WHOLE_GONE, Spool
from agent.sources.source import Limits, Mirror, Proof, Remark
from proto.batch import Batch, Delta, Frames
from proto.errors import SchemaHold, TableHold

LOOK_APART_S: Final = 0.1
_NO_TABLE: Final = Reason("设置中已没有对应的表", "no table in the settings has such files any more")


class Turn(Enum):
    """What a turn came to when it was not a batch."""

    ON = "there is more to do"
    BLOCKED = "what was handed out must be committed first"
    IDLE = "nothing is there"


Work = Generator[Batch | Turn | None, None, None]


class Lane:
    """The stream of one open folder."""

    def __init__(self, settings: DropfolderSettings, folder: Folder, mirror: Mirror) -> None:
        self.folder = folder
        self.ledger = Ledger(folder)
        self.filing = Filing(folder, self.ledger)
        self.tables = Tables(settings, folder, self.ledger)
        self.copies = Copies(settings.page_rows)
        self.inbox = Inbox(folder, self.ledger, settings)
        self.remarks: Mapping[str, Remark] = {}
        """What people should know of tables whose files were taken in part."""
        self.between = False
        """Whether a file was handed out in part."""
        self.proof: Proof | None = None
        self.held: set[str] = set()
        self.told: list[Exception] = []
        self.read_at: dict[str, int] = {}
        """When the newest file of each table came that is committed; an unchanged snapshot counts as well."""
        self.at = 0
        """The number of the last file that was handed out."""
        self._settings = settings
        self._mirror = mirror
        self._refusals = Refusals(folder, self.filing)
        self._intake = Intake(folder, settings.file_limits)
        self._limits = Limits()
        self._confirmed = 0
        self._waiting: deque[Taken] = deque()
        self._contents: dict[int, Seen] = {}
        self._came: dict[int, tuple[str, int]] = {}
        self._work: Work | None = None
        self._look_at_s = 0.0

    def open(self, position: str) -> str:
        """Go on strictly after *position*; ``""``: what lies there now is the business of first copies."""
        self.at = self._confirmed = self.ledger.load(position)
        for hold in self.filing.holds():
            self._hold(hold)
        if position:
            self.filing.recover(self.at)
        else:
            self._begin()
        self._waiting.extend(each for each in in_room(self.folder, TAKEN) if each.number > self.at)
        self.remarks = self._refusals.look()
        return self.ledger.position(self.at)

    def turn(self, limits: Limits) -> Batch | Turn:
        """The next piece of work."""
        self._limits = limits
        if self._work is None and not self._waiting:
            self._look()
        if self._work is None and self._waiting:
            self._work = self._file(self._waiting.popleft())
        if self._work is None:
            return Turn.IDLE
        done = next(self._work, Turn.IDLE)
        if done is Turn.IDLE:
            self._work = None
            return Turn.ON
        return done or Turn.ON

    def look_again(self) -> None:
        """Something happened in the folder, or a reader came back: look soon."""
        self._look_at_s = min(self._look_at_s, time.monotonic() + LOOK_APART_S)

    def wait_s(self) -> float:
        """How long nothing is to be done by itself."""
        return max(0.0, self._look_at_s - time.monotonic())

    def confirm(self, number: int) -> None:
        """Everything up to *number* is committed."""
        if number > self._confirmed:
            self.filing.confirm(number)
            self._confirmed = number
            came = {n: each for n, each in self._came.items() if n <= number}
            self.read_at = {**self.read_at, **dict(came.values())}
            self._came = {n: each for n, each in self._came.items() if n > number}
            self._contents = {n: seen for n, seen in self._contents.items() if n > number}
            self.copies.confirmed(number)

    def resume(self, table: FolderTable) -> Spool:
        """Take a held table's files again, and return the table as a fresh copy begins with it."""
        self.tables.take_held(table, self.filing)
        spool = self.tables.build(table, self.at)
        self.ledger.resume(table.catalogued)
        self.held.discard(table.catalogued)
        return spool

    def close(self) -> None:
        """Let go of what is under way."""
        if self._work is not None:
            self._work.close()
        self.copies.close()
        self.folder.close()

    def _look(self) -> None:
        if time.monotonic() < self._look_at_s:
            return
        asked_us = time.time_ns() // 1000
        self.remarks = self._refusals.look()
        self._waiting.extend(self.inbox.take())
        self._look_at_s = time.monotonic() + self.inbox.wait_s()
        if not self._waiting and self.inbox.is_empty:
            self.proof = Proof(self.ledger.position(self.at), asked_us)

    def _begin(self) -> None:
        """Accept what lies there: copies read it from ``done/``."""
        self.inbox.take()
        for taken in in_room(self.folder, TAKEN):
            for _ in self._file(taken, is_beginning=True):
                pass
            self.filing.confirm(taken.number)
        self.at = self._confirmed = self.ledger.memory.taken
        self.ledger.confirm(self.at)

    # One file

    def _file(self, taken: Taken, is_beginning: bool = False) -> Work:
        table = table_of(taken.name, self._settings.tables)
        with report_of(taken.name, table.sheet if table else "") as report:
            if table is None:
                yield from self._without_table(taken, report)
                return
            with closing(Spool(table.shape)) as spool:
                found = yield from self._intake.read(taken, TAKEN, table, spool, report)
                if found.refused is not None:
                    self._hold(self.filing.reject(taken, table, found, report))
                    yield self._passed(taken)
                    return
                if report.count:
                    self.filing.reject_rows(taken, table, report)
                receipt = receipt_of(taken, table, found, report.count)
                if is_beginning:
                    self.filing.note(taken, self._known(taken, table, receipt))
                    self.read_at = {**self.read_at, table.catalogued: found.at_us}
                else:
                    yield from self._changes(taken, table, spool, receipt, found)

    def _without_table(self, taken: Taken, report: Report) -> Work:
        report.add(Fault(0, "", _NO_TABLE))
        self.filing.turn_away(taken, report)
        yield self._passed(taken)

    def _changes(
        self, taken: Taken, table: FolderTable, spool: Spool, receipt: Receipt, found: Findings
    ) -> Work:
        receipt = self._known(taken, table, receipt)
        if receipt.duplicate_of is not None:
            self.filing.note(taken, receipt)
            yield self._passed(taken)
            return
        if table.mode == "snapshot":
            try:
                before = yield from self._compare(table, spool)
            except SchemaHold as hold:
                self._hold(hold)
                before = 0
            deletes = spool.counts().get(WHOLE_GONE, 0)
            if deletes > before * table.max_deletes_share:
                self._hold(self.filing.hold(taken, table, deletes, before))
                yield self._passed(taken)
                return
        if table.catalogued not in self.held:
            self._came[taken.number] = (table.catalogued, found.at_us)
        self._contents[taken.number] = Seen(taken.number, table.catalogued, receipt.sha256)
        deltas = iter(()) if table.catalogued in self.held else spool.deltas(self._limits)
        yield from self._batches(taken, deltas, _counted(receipt, spool), found.at_us)

    def _known(self, taken: Taken, table: FolderTable, receipt: Receipt) -> Receipt:
        """The receipt, which says so when the same changes were taken before. A snapshot repeated is the table again."""
        if table.mode == "snapshot":
            return receipt
        same = (table.catalogued, receipt.sha256)
        twin = self.ledger.twin(*same, taken.number)
        handed_out = [n for n, seen in self._contents.items() if (seen.table, seen.digest) == same]
        return replace(receipt, duplicate_of=twin if twin is not None else min(handed_out, default=None))

    def _compare(self, table: FolderTable, spool: Spool) -> Generator[Turn | None, None, int]:
        """Find out what the snapshot changes; how many rows there were."""
        pages: Iterable[Frames] | None = self.copies.before(table.catalogued)
        if pages is None:
            while self._confirmed < self.at:
                yield Turn.BLOCKED
            pages = rows_before(self._mirror, table.shape)
        before = 0
        for page in pages:
            spool.compare(page)
            before += page.count
            yield None
        spool.tell_changes()
        return before

    def _batches(
        self, taken: Taken, deltas: Iterator[Delta], receipt: Receipt, at_us: int
    ) -> Iterator[Batch]:
        start, last = self.ledger.position(self.at), next(deltas, None)
        for delta in deltas:
            self.between = True
            yield Batch(start, self._handed_out(last), at_us, at_us, continues=True)
            last = delta
        position = self.ledger.position(taken.number)
        self.filing.note(taken, replace(receipt, position=position))
        self.at, self.between = taken.number, False
        yield Batch(position, self._handed_out(last), at_us, at_us, 1)

    def _handed_out(self, delta: Delta | None) -> tuple[Delta, ...]:
        if delta is None:
            return ()
        self.copies.handed_out(delta)
        return (delta,)

    def _passed(self, taken: Taken) -> Batch:
        """A file that changes nothing is passed by."""
        self.at = taken.number
        return Batch(self.ledger.position(taken.number), ())

    def _hold(self, hold: TableHold) -> None:
        self.held.add(hold.table)
        self.copies.abandon(hold.table)
        self.told.append(hold)


def _counted(receipt: Receipt, spool: Spool) -> Receipt:
    counts = spool.counts()
    gone = counts.get("d", 0) + counts.get(WHOLE_GONE, 0)
    return replace(receipt, inserted=counts.get("i", 0), updated=counts.get("u", 0), deleted=gone)
