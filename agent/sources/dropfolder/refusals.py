"""Files whose good rows went on and whose bad ones did not, for as long as their reports lie in ``rejected/``.

Nothing is remembered for it: the report in ``rejected/`` says that nobody has dealt with it yet, and the receipt says of
which table it is and how many rows are meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.sources.dropfolder.filing import Filing
from agent.sources.dropfolder.folder import REJECTED, Folder
from agent.sources.dropfolder.inbox import Taken, taken_of
from agent.sources.dropfolder.reports import REASONS
from agent.sources.source import Remark


@dataclass(frozen=True, slots=True)
class Refusal:
    """Rows of one accepted file."""

    taken: Taken
    table: str
    rows: int


class Refusals:
    """What is told of them, by table."""

    def __init__(self, folder: Folder, filing: Filing) -> None:
        self._folder = folder
        self._filing = filing
        self._known: dict[str, Refusal] = {}

    def look(self) -> dict[str, Remark]:
        """What each table has to say now. Reads a receipt once."""
        names = set(self._folder.names(REJECTED))
        # A report beside its file is of a file that was refused whole: its table is held, and says why.
        reported = {name.removesuffix(REASONS) for name in names if name.endswith(REASONS)} - names
        self._known = {
            stored: found
            for stored in reported
            if (found := self._known.get(stored) or self._refusal(stored)) is not None
        }
        by_table: dict[str, list[Refusal]] = {}
        for found in sorted(self._known.values(), key=lambda each: each.taken):
            by_table.setdefault(found.table, []).append(found)
        return {table: _remark(found) for table, found in by_table.items()}

    def _refusal(self, stored: str) -> Refusal | None:
        taken = taken_of(stored)
        receipt = self._filing.told(taken) if taken else None
        if taken is None or receipt is None or not receipt.rejected_rows:
            return None
        return Refusal(taken, receipt.table, receipt.rejected_rows)


def _remark(found: list[Refusal]) -> Remark:
    newest = found[-1].taken
    rows, others = sum(each.rows for each in found), len(found) - 1
    files = newest.shown + (f" and {others} earlier file{'s' * (others > 1)}" if others else "")
    report = f"rejected/{newest.number:09d}~{newest.shown}{REASONS}"
    return Remark(
        f"{rows} row{'s' * (rows > 1)} of {files} {'were' if rows > 1 else 'was'} refused",
        f"see {report}, put what is mended into the folder as a new file, then remove the report",
    )
