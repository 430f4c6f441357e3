"""What becomes of a taken file: accepted into ``done/`` with a receipt, refused into ``rejected/``, or ``held/``.

An accepted file moves only after its batch is committed for good. A note beside it says what its receipt will say, so
that a crash between the commit and the move is made up for at the next opening.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import structlog

from agent.sources.dropfolder.folder import DONE, HELD, REJECTED, TAKEN, Folder
from agent.sources.dropfolder.inbox import RECEIPT, Taken, in_room
from agent.sources.dropfolder.intake import Findings
from agent.sources.dropfolder.ledger import Ledger, Seen
from agent.sources.dropfolder.reports import Report
from agent.sources.dropfolder.settings import FolderTable
from proto.errors import BadRow, SchemaHold, TableHold

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is kept beside an accepted file."""

    file: str
    number: int
    table: str
    mode: str
    sha256: str
    bytes: int
    rows: int
    rejected_rows: int
    taken_at: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    position: str = ""
    duplicate_of: int | None = None
    """The earlier file with the same content: this one changed nothing."""
    confirmed_at: str = ""


def receipt_of(taken: Taken, table: FolderTable, found: Findings, rejected_rows: int) -> Receipt:
    """The receipt of a file before it is known what it changes."""
    size, taken_at = found.size, _time(found.at_us / 1e6)
    names = (taken.name, taken.number, table.catalogued, table.mode, found.digest)
    return Receipt(*names, size, found.rows, rejected_rows, taken_at)


class Filing:
    """Moves files between the rooms of one folder."""

    def __init__(self, folder: Folder, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    def note(self, taken: Taken, receipt: Receipt) -> None:
        """Remember what the receipt will say, before anything of the file is handed out to its end."""
        self._folder.write(taken.stored + RECEIPT, TAKEN, _json(receipt))

    def confirm(self, number: int) -> None:
        """Everything up to *number* is committed: file it away."""
        for taken in in_room(self._folder, TAKEN):
            if taken.number <= number:
                self._accept(taken)
        self._ledger.confirm(number)

    def recover(self, number: int) -> None:
        """Finish what a crash left open: files up to *number* are committed."""
        self.confirm(number)
        there = {taken.stored for taken in in_room(self._folder, TAKEN)}
        for name in self._folder.names(TAKEN):
            if name.endswith(RECEIPT) and name.removesuffix(RECEIPT) not in there:
                self._folder.remove(name, TAKEN)

    def reject(self, taken: Taken, table: FolderTable, found: Findings, report: Report) -> TableHold:
        """Refuse the whole file: hold its table, and say why."""
        bad = found.refused
        told = bad.reason if bad else ""
        where = f" (第{bad.row}行 / row {bad.row})" if bad and bad.row else ""
        column = f" [{bad.column}]" if bad and bad.column else ""
        fix = (
            f"see rejected/{taken.number:09d}~{taken.shown}.reasons.csv, mend the file and put it into the folder again, "
            f"then: exchange-agent snapshot {table.catalogued}"
        )
        hold = self._held(table, f"{taken.shown}: {told}{column}{where}", fix, bool(bad and bad.structure))
        report.publish(self._folder, taken.stored)
        self._folder.move(taken.stored, TAKEN, taken.stored, REJECTED)
        log.warning("file_rejected", source=self._folder.where, table=table.catalogued, file=taken.shown)
        return hold

    def hold(self, taken: Taken, table: FolderTable, deletes: int, before: int) -> TableHold:
        """A snapshot that deletes too much waits for a person."""
        fix = (
            f"if the file is whole and this is meant: exchange-agent snapshot {table.catalogued}; "
            f"if not: remove held/{taken.number:09d}~{taken.shown}, put the whole file into the folder, and then the same command"
        )
        hold = self._held(table, f"{taken.shown} would delete {deletes} of {before} rows", fix, False)
        self._folder.move(taken.stored, TAKEN, taken.stored, HELD)
        log.warning(
            "file_held", source=self._folder.where, table=table.catalogued, deletes=deletes, rows=before
        )
        return hold

    def reject_rows(self, taken: Taken, table: FolderTable, report: Report) -> None:
        """Some rows are refused, the others go on: say which."""
        report.publish(self._folder, taken.stored)
        log.warning("rows_rejected", source=self._folder.where, table=table.catalogued, rows=report.count)

    def turn_away(self, taken: Taken, report: Report) -> None:
        """A file that is no table's any more."""
        report.publish(self._folder, taken.stored)
        self._folder.move(taken.stored, TAKEN, taken.stored, REJECTED)

    def holds(self) -> list[TableHold]:
        """The holds that no fresh copy has ended yet."""
        return [_hold(table, **told) for table, told in self._ledger.holds.items()]

    def accept_held(self, taken: Taken, receipt: Receipt) -> None:
        """A person says that a held snapshot is meant."""
        self._folder.write(taken.stored + RECEIPT, TAKEN, _json(receipt))
        self._folder.move(taken.stored, HELD, taken.stored, TAKEN)
        self._accept(taken)

    def supersede(self, taken: Taken) -> None:
        """A held snapshot that a newer file has replaced."""
        self._folder.move(taken.stored, HELD, taken.stored, REJECTED)

    def receipt(self, taken: Taken) -> Receipt | None:
        """What was noted of a file under way."""
        found = self._folder.content(taken.stored + RECEIPT, TAKEN)
        return Receipt(**json.loads(found)) if found else None

    def told(self, taken: Taken) -> Receipt | None:
        """The receipt of a file that is accepted, or about to be; None when it is not there any more."""
        found = self._folder.content(taken.stored + RECEIPT, DONE)
        return Receipt(**json.loads(found)) if found else self.receipt(taken)

    def _accept(self, taken: Taken) -> None:
        receipt = self.receipt(taken)
        if receipt is not None:
            if receipt.duplicate_of is None:
                self._ledger.accept(Seen(taken.number, receipt.table, receipt.sha256))
            told = replace(receipt, confirmed_at=datetime.now(UTC).isoformat(timespec="seconds"))
            self._folder.write(taken.stored + RECEIPT, DONE, _json(told))
        self._folder.move(taken.stored, TAKEN, taken.stored, DONE)
        self._folder.remove(taken.stored + RECEIPT, TAKEN)

    def _held(self, table: FolderTable, what: str, fix: str, structure: bool) -> TableHold:
        told = {"what": what, "fix": fix, "kind": "structure" if structure else "content"}
        self._ledger.hold(table.catalogued, told)
        return _hold(table.catalogued, **told)


def _hold(table: str, what: str, fix: str, kind: str) -> TableHold:
    return (SchemaHold if kind == "structure" else BadRow)(table, what, fix=fix)


def _json(receipt: Receipt) -> bytes:
    return json.dumps(asdict(receipt), ensure_ascii=False, indent=1).encode(errors="backslashreplace") + b"\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
