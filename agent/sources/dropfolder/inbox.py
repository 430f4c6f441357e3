"""What people put in becomes numbered files of ours: settled, plain, and taken by one rename.

A name that is not a plain file (a link, a pipe, a device, a file with a second name elsewhere) is never opened: it is
moved to ``rejected/`` as it is, with the reason beside it. Folders, and names that no table asks for, stay where they
are and are named by ``check``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.sources.dropfolder.folder import REJECTED, TAKEN, Folder, Look
from agent.sources.dropfolder.ledger import Ledger
from agent.sources.dropfolder.patterns import MAX_NAME_BYTES, is_unfinished, matches
from agent.sources.dropfolder.reasons import Fault, Reason
from agent.sources.dropfolder.reports import REASONS, report_of
from agent.sources.dropfolder.settings import DropfolderSettings, FolderTable
from agent.sources.dropfolder.watch import Settling

_STORED: Final = re.compile(r"(\d{9,})~(.+)", re.DOTALL)
NOT_PLAIN: Final = Reason(
    "不是普通文件(链接、管道、设备或硬链接)",
    "not a plain file: a link, a pipe, a device or a file with a second name",
)


@dataclass(frozen=True, slots=True, order=True)
class Taken:
    """A file with its number and the name a person gave it."""

    number: int
    name: str

    @property
    def stored(self) -> str:
        """Its name in our rooms."""
        return f"{self.number:09d}~{self.name}"

    @property
    def shown(self) -> str:
        """Its name for logs and databases: no line breaks, no terminal commands, no bytes that are no text."""
        return "".join(letter if letter.isprintable() else "?" for letter in self.name)


def taken_of(stored: str) -> Taken | None:
    """The file that lies under a name of ours; None for what lies beside it."""
    found = _STORED.fullmatch(stored)
    return None if found is None or stored.endswith((REASONS, RECEIPT)) else Taken(int(found[1]), found[2])


RECEIPT: Final = ".receipt.json"


def in_room(folder: Folder, room: str) -> list[Taken]:
    """The numbered files of a room, in order."""
    return sorted(taken for name in folder.names(room) if (taken := taken_of(name)))


def table_of(name: str, tables: Sequence[FolderTable]) -> FolderTable | None:
    """The table whose file this is."""
    return next((table for table in tables if matches(name, table.files)), None)


class Inbox:
    """The folder as people see it."""

    def __init__(self, folder: Folder, ledger: Ledger, settings: DropfolderSettings) -> None:
        self._folder = folder
        self._ledger = ledger
        self._tables = settings.tables
        self._settling = Settling(settings.settle_s)
        self._scan_every_s = settings.scan_every_s
        self.is_empty = False
        """Whether nothing waited to settle when we looked last."""

    def take(self) -> list[Taken]:
        """Take every file that counts now."""
        looks = self._looks()
        taken: list[Taken] = []
        for name in self._settling.ripe(looks, time.monotonic()):
            if self._folder.is_being_written(name):
                self._settling.again(name)
            elif found := self._claimed(name):
                taken.append(found)
                looks.pop(name)
        self.is_empty = not looks
        return taken

    def wait_s(self) -> float:
        """How long until it is worth looking again by itself."""
        wait = self._settling.wait_s(time.monotonic())
        # A file that could not be taken yet is ripe all the time.
        return self._scan_every_s if not wait else min(wait, self._scan_every_s)

    def _looks(self) -> dict[str, Look]:
        looks: dict[str, Look] = {}
        for name in self._folder.names():
            if not is_wanted(name, self._tables):
                continue
            look = self._folder.look(name)
            if look is None or look.is_folder:
                continue
            if look.plain:
                looks[name] = look
            else:
                self._turn_away(name)
        return looks

    def _claimed(self, name: str) -> Taken | None:
        taken = Taken(self._ledger.give_number(), name)
        return taken if self._folder.move(name, "", taken.stored, TAKEN) else None

    def _turn_away(self, name: str) -> None:
        away = Taken(self._ledger.give_number(), name)
        table = table_of(name, self._tables)
        with report_of(name, table.sheet if table else "") as report:
            report.add(Fault(0, "", NOT_PLAIN))
            report.publish(self._folder, away.stored)
        self._folder.move(name, "", away.stored, REJECTED)


def is_wanted(name: str, tables: Sequence[FolderTable]) -> bool:
    """Whether a name is a table's file."""
    fits = len(name.encode(errors="surrogateescape")) <= MAX_NAME_BYTES
    return fits and not is_unfinished(name) and table_of(name, tables) is not None
