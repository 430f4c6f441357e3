"""A table as its accepted files make it, for first copies and comparison.

The last snapshot is the table; of deltas it is all of them in order, from the first. So ``done/`` is the log that
copies are read from, and a table whose files were removed from there says that it needs a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.sources.dropfolder.filing import Filing, receipt_of
from agent.sources.dropfolder.folder import DONE, HELD, TAKEN, Folder
from agent.sources.dropfolder.inbox import Taken, in_room, table_of
from agent.sources.dropfolder.intake import Findings, Intake, Steps
from agent.sources.dropfolder.ledger import Ledger
from agent.sources.dropfolder.reports import report_of
from agent.sources.dropfolder.settings import DropfolderSettings, FolderTable
from agent.sources.dropfolder.spool import Spool
from agent.sources.source import Page
from proto import frames
from proto.batch import Delta, Frames
from proto.errors import BadRow


@dataclass(slots=True)
class Copy:
    """One table under way."""

    spool: Spool
    last_key: bytes = b""
    finished_at: int = -1
    """The number of the last file when its last page was handed out; kept until a later one is committed."""


class Tables:
    """Builds tables from files."""

    def __init__(self, settings: DropfolderSettings, folder: Folder, ledger: Ledger) -> None:
        self._settings = settings
        self._folder = folder
        self._ledger = ledger
        self._intake = Intake(folder, settings.file_limits)

    def build(self, table: FolderTable, number: int) -> Spool:
        """The table after the file with this number. Raises BadRow when its files are not there any more."""
        spool = Spool(table.shape)
        try:
            for taken, room in self._log(table, number):
                self._add(taken, room, table, spool)
        except BaseException:
            spool.close()
            raise
        spool.settle()
        return spool

    def take_held(self, table: FolderTable, filing: Filing) -> None:
        """A fresh copy was ordered: the newest held snapshot is meant, unless a newer file was accepted since."""
        held = [each for each in in_room(self._folder, HELD) if self._is_of(each, table)]
        newest = max(self._ledger.accepted(table.catalogued), default=0)
        for taken in held:
            if taken != held[-1] or taken.number < newest:
                filing.supersede(taken)
                continue
            found = finished(self._intake.digest(taken, HELD))
            filing.accept_held(taken, receipt_of(taken, table, found, 0))

    def _log(self, table: FolderTable, number: int) -> list[tuple[Taken, str]]:
        rooms = {each.number: (each, room) for room in (TAKEN, DONE) for each in in_room(self._folder, room)}
        numbers = {each for each in self._ledger.accepted(table.catalogued) if each <= number}
        filing = Filing(self._folder, self._ledger)
        for each, room in rooms.values():
            if room == TAKEN and each.number <= number and self._is_of(each, table):
                noted = filing.receipt(each)
                if noted is not None and noted.duplicate_of is None:
                    numbers.add(each.number)
        wanted = sorted(numbers)[-1:] if table.mode == "snapshot" else sorted(numbers)
        if missing := [each for each in wanted if each not in rooms]:
            fix = (
                "put a whole file into the folder and order the copy again"
                if table.mode == "snapshot"
                else "put the files back into done/"
            )
            raise BadRow(table.catalogued, f"file {missing[0]} is not in done/ any more", fix=fix)
        return [rooms[each] for each in wanted]

    def _add(self, taken: Taken, room: str, table: FolderTable, spool: Spool) -> None:
        with report_of(taken.name, table.sheet) as report:
            found = finished(self._intake.read(taken, room, table, spool, report))
        if found.refused is not None:
            fix = (
                "put a file that fits the settings into the folder, or undo what was changed in the settings"
            )
            what = f"{taken.shown}, which was accepted, is refused now: {found.refused.reason}"
            raise BadRow(table.catalogued, what, fix=fix)

    def _is_of(self, taken: Taken, table: FolderTable) -> bool:
        found = table_of(taken.name, self._settings.tables)
        return found is not None and found.catalogued == table.catalogued


class Copies:
    """The tables being copied in one session; each is kept at the very place the stream is at."""

    def __init__(self, page_rows: int) -> None:
        self._page_rows = page_rows
        self._under_way: dict[str, Copy] = {}

    def start(self, table: str, spool: Spool, after_key: bytes) -> None:
        """Begin or go on; one that is under way is forgotten."""
        self.abandon(table)
        self._under_way[table] = Copy(spool, after_key)

    def abandon(self, table: str) -> None:
        """Stop copying a table."""
        if copy := self._under_way.pop(table, None):
            copy.spool.close()

    @property
    def has_pages(self) -> bool:
        """Whether a page can be had."""
        return any(copy.finished_at < 0 for copy in self._under_way.values())

    def pages(self, number: int) -> Iterator[Page]:
        """The next page of each table, as it is after the file with this number."""
        for copy in list(self._under_way.values()):
            if copy.finished_at < 0:
                yield self._page(copy, number)

    def handed_out(self, delta: Delta) -> None:
        """A change of a table that is being copied: later pages show it."""
        if copy := self._under_way.get(delta.schema.name):
            copy.spool.fold(delta)

    def before(self, table: str) -> Iterator[Frames] | None:
        """The rows of a table whose pages the mirror may not have yet; None when the mirror has them all."""
        copy = self._under_way.get(table)
        return None if copy is None else everything(copy.spool, self._page_rows)

    def confirmed(self, number: int) -> None:
        """What was handed out before the file with this number is committed, pages included."""
        for table, copy in list(self._under_way.items()):
            if 0 <= copy.finished_at < number:
                self.abandon(table)

    def close(self) -> None:
        """Forget all."""
        for table in list(self._under_way):
            self.abandon(table)

    def _page(self, copy: Copy, number: int) -> Page:
        spool = copy.spool
        rows = spool.page(copy.last_key, self._page_rows)
        if rows:
            copy.last_key = frames.keys(rows[-1], spool.schema.key_indexes)[0]
        is_last = len(rows) < self._page_rows or not spool.page(copy.last_key, 1)
        if is_last:
            copy.finished_at = number
        return Page(spool.schema, Frames(b"".join(rows), len(rows)), copy.last_key, is_last)


def everything(spool: Spool, page_rows: int) -> Iterator[Frames]:
    """All rows of a table in key order."""
    after = b""
    while rows := spool.page(after, page_rows):
        after = frames.keys(rows[-1], spool.schema.key_indexes)[0]
        yield Frames(b"".join(rows), len(rows))


def finished(steps: Steps) -> Findings:
    """What the steps come to, without a pause between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Findings = end.value
            return found
