"""The drop folder as a source: every accepted file is one transaction, exactly once.

What it has is the folder: files that wait, files taken under a number, and the accepted ones in ``done/``, which is the
log that first copies are read from. A position is the number of the last file that is committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from threading import Event
from typing import Final

from agent.sources.dropfolder.checks import check
from agent.sources.dropfolder.copies import everything
from agent.sources.dropfolder.folder import Folder
from agent.sources.dropfolder.lane import Lane, Turn
from agent.sources.dropfolder.settings import DropfolderSettings, FolderTable
from agent.sources.dropfolder.spool import Spool
from agent.sources.dropfolder.watch import Watch
from agent.sources.source import Finding, Limits, Mirror, Page, Proof, Remark, Retained, Traits
from proto.batch import Batch, Frames, Position
from proto.errors import BadRow, Refused
from proto.schema import TableSchema

COMMIT_S: Final = 0.02
"""How long to let a commit go on that a snapshot waits for."""


class DropfolderSource:
    """One folder that people or programs put files into."""

    traits = Traits(sees_deletes=True, keeps_commits_whole=True, can_reread=True, looking_proves=False)

    def __init__(self, settings: DropfolderSettings, mirror: Mirror) -> None:
        self._settings = settings
        self._mirror = mirror
        self._rung = Event()
        self._told_to_stop = Event()
        self._lane: Lane | None = None
        self._watch: Watch | None = None
        self._prepared: dict[str, Spool] = {}
        self._remarks: Mapping[str, Remark] = {}
        self._read_at: Mapping[str, int] = {}

    def check(self) -> list[Finding]:
        """Look at every prerequisite; changes nothing."""
        return check(self._settings)

    def schemas(self) -> list[TableSchema]:
        """The tables as the settings describe them."""
        return [table.shape for table in self._settings.tables]

    def open(self, position: Position) -> Position:
        """Start strictly after *position*; with ``""`` what lies there now is left to first copies."""
        self.close()
        folder = Folder(self._settings.folder, self._settings.name)
        folder.open()
        lane = Lane(self._settings, folder, self._mirror)
        try:
            opened = lane.open(position)
        except BaseException:
            lane.close()
            raise
        self._lane, self._watch = lane, Watch(self._settings.folder, self._rung.set)
        return opened

    def read(self, limits: Limits) -> Batch | None:
        """The next file, or the next part of a large one."""
        lane = self._open_lane
        until_s = time.monotonic() + (0.0 if lane.copies.has_pages else limits.wait_s)
        lane.look_again()
        while True:
            turn = lane.turn(limits)
            if isinstance(turn, Batch):
                return turn
            if self._told_to_stop.is_set():
                self._told_to_stop.clear()
                return None
            left_s = until_s - time.monotonic()
            if turn is Turn.BLOCKED:
                self._rung.wait(COMMIT_S)
                return None
            # A file once begun is read to its end: only a copy's pages and a stop do not wait for that.
            if left_s <= 0 and (turn is Turn.IDLE or lane.copies.has_pages):
                return None
            if turn is Turn.IDLE:
                self._idle(lane, left_s)

    def holds(self) -> list[Exception]:
        """TableHold errors met since the last call."""
        lane = self._open_lane
        told, lane.told = lane.told, []
        return told

    def resume_table(self, name: str) -> None:
        """Take a held table's files again. A held snapshot is meant now, unless a newer file came."""
        self._keep(name, self._open_lane.resume(self._table(name)))

    def keepalive(self) -> None:
        """Nobody gives us up here."""

    def confirm(self, position: Position) -> None:
        """File away what is committed."""
        self._open_lane.confirm(int(position.rsplit("/", 1)[1]))

    def proof(self) -> Proof | None:
        """The last time we looked and nothing waited, not even a file that has yet to settle."""
        return self._open_lane.proof if self._lane else None

    def start_copy(self, table: str, after_key: bytes) -> None:
        """Begin or go on with a first copy, from the accepted files."""
        lane = self._open_lane
        if table in lane.held:
            if after_key:
                raise BadRow(table, "its files are left out, so its copy cannot go on", fix=_afresh(table))
            self.resume_table(table)
        spool = self._prepared.pop(table, None) or lane.tables.build(self._table(table), lane.at)
        lane.copies.start(table, spool, after_key)

    def pages(self) -> Iterator[Page]:
        """The next page of each table being copied."""
        lane = self._open_lane
        if not lane.between:
            yield from lane.copies.pages(lane.at)

    def expected_rows(self, table: str) -> int:
        """How many rows the copy that is about to begin has; 0 if none is."""
        spool = self._prepared.get(table)
        return spool.count() if spool else 0

    def scan(self, table: str) -> Iterator[Frames]:
        """The table as its accepted files make it, in key order."""
        lane = self._open_lane
        with closing(lane.tables.build(self._table(table), lane.at)) as spool:
            yield from everything(spool, self._settings.page_rows)

    def retained(self) -> Retained | None:
        """No server keeps anything for us."""
        return None

    def give_up_place(self) -> None:
        """There is no place to give up: what waits in the folder is its owner's."""

    def remarks(self) -> Mapping[str, Remark]:
        """Which tables had rows refused, until their reports are removed; of the last look when it is closed."""
        if (lane := self._lane) is not None:
            self._remarks = lane.remarks
        return self._remarks

    def read_at(self) -> Mapping[str, int]:
        """When the newest committed file of each table came; of the time before it was closed when it is closed."""
        if (lane := self._lane) is not None:
            self._read_at = lane.read_at
        return self._read_at

    def stop_waiting(self) -> None:
        """Make a waiting read return soon."""
        self._told_to_stop.set()
        self._rung.set()

    def close(self) -> None:
        """Let go of the folder; what was taken and not confirmed is read again."""
        for spool in self._prepared.values():
            spool.close()
        self._prepared.clear()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._lane is not None:
            self._lane.close()
            self._lane = None

    @property
    def _open_lane(self) -> Lane:
        if self._lane is None:
            raise Refused("the source is not open", where=self._settings.name)
        return self._lane

    def _idle(self, lane: Lane, left_s: float) -> None:
        """Wait until it is time to look, or something happens."""
        if self._rung.wait(min(left_s, lane.wait_s())):
            self._rung.clear()
            lane.look_again()

    def _table(self, name: str) -> FolderTable:
        for table in self._settings.tables:
            if table.catalogued == name:
                return table
        raise Refused(f"there is no table {name}", where=self._settings.name)

    def _keep(self, name: str, spool: Spool) -> None:
        if old := self._prepared.pop(name, None):
            old.close()
        self._prepared[name] = spool


def _afresh(table: str) -> str:
    return f"copy it afresh: exchange-agent snapshot {table}"
