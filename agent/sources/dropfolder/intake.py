"""One taken file, read from end to end: its content's digest, its good rows in a spool, its faults in a report.

Reading goes in steps, so that whoever waits for it can be told to stop, and memory stays the same whatever the size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final

from agent.sources.dropfolder import reasons
from agent.sources.dropfolder.folder import Folder
from agent.sources.dropfolder.inbox import NOT_PLAIN, Taken
from agent.sources.dropfolder.reading import Record, records
from agent.sources.dropfolder.reasons import BadFile, Fault, Reason
from agent.sources.dropfolder.reports import Report
from agent.sources.dropfolder.settings import FileLimits, FolderTable
from agent.sources.dropfolder.spool import Spool
from proto.errors import Transient

STEP_ROWS: Final = 2000
_BLOCK: Final = 1024 * 1024
MOST_FAULTS: Final = 1000
"""A file that is refused whole is not read on beyond so many."""
_CHANGED: Final = Reason(
    "读取时文件仍在变化,请写完后再放入", "the file changed while it was read: put it in when it is whole"
)
_LARGE: Final = Reason("文件过大", "the file is too large")


@dataclass(slots=True)
class Findings:
    """What was found in a file."""

    digest: str = ""
    size: int = 0
    rows: int = 0
    at_us: int = 0
    """When we took it."""
    refused: BadFile | None = None
    """Why the whole file is refused."""


Steps = Generator[None, None, Findings]


class Intake:
    """Reads files of one folder."""

    def __init__(self, folder: Folder, limits: FileLimits) -> None:
        self._folder = folder
        self._limits = limits

    def digest(self, taken: Taken, room: str) -> Steps:
        """Who the file is, by its content."""
        if not self._is_plain(taken, room):
            return Findings(refused=BadFile(NOT_PLAIN))
        with self._opened(taken, room) as file:
            facts = os.fstat(file.fileno())
            found = Findings(size=facts.st_size, at_us=facts.st_ctime_ns // 1000)
            if facts.st_size > self._limits.file_bytes:
                found.refused = BadFile(_LARGE)
                return found
            digest = hashlib.sha256()
            while block := file.read(_BLOCK):
                digest.update(block)
                yield
            found.digest = digest.hexdigest()
        return found

    def read(self, taken: Taken, room: str, table: FolderTable, into: Spool, report: Report) -> Steps:
        """Put the good rows *into* the spool and the faults into the report."""
        found = yield from self.digest(taken, room)
        if found.refused is None:
            try:
                with self._opened(taken, room) as file:
                    found.rows = yield from self._rows(file, taken, table, into, report)
                    _refuse_changed(file, found)
            except BadFile as bad:
                found.refused = bad
        if found.refused is not None:
            report.add(Fault(found.refused.row, found.refused.column, found.refused.reason))
        elif report.count and table.refuses_whole:
            found.refused = BadFile(Reason(f"有{report.count}处错误", f"{report.count} faults"))
        return found

    def _rows(
        self, file: BinaryIO, taken: Taken, table: FolderTable, into: Spool, report: Report
    ) -> Generator[None, None, int]:
        rows = 0
        found = records(file, taken.name, table, self._limits)
        while some := list(islice(found, STEP_ROWS)):
            good = [each for each in some if isinstance(each, Record)]
            into.put(good)
            rows += len(good)
            for each in some:
                if isinstance(each, Fault):
                    report.add(each)
            if table.refuses_whole and report.count >= MOST_FAULTS:
                raise BadFile(Reason("错误过多,其余未检查", "too many faults; the rest was not looked at"))
            yield
        if table.mode == "snapshot":
            for row, other in into.repeated(MOST_FAULTS):
                report.add(Fault(row, ", ".join(table.key), reasons.NO_KEY_TWICE.format(other)))
        return rows

    def _is_plain(self, taken: Taken, room: str) -> bool:
        """Whether it is still what it was when its name was looked at: it may have been changed for another."""
        look = self._folder.look(taken.stored, room)
        return look is None or look.plain

    def _opened(self, taken: Taken, room: str) -> BinaryIO:
        try:
            return self._folder.reading(taken.stored, room)
        except OSError as error:
            what = f"file {taken.number} cannot be read: {error.strerror}"
            raise Transient(what, where=self._folder.where) from error


def _refuse_changed(file: BinaryIO, found: Findings) -> None:
    """Who still had it open may have written to it after it was taken."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK):
        digest.update(block)
    if digest.hexdigest() != found.digest:
        raise BadFile(_CHANGED)
