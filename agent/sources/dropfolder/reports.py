"""What is told about a refused file or row: a table that opens in a spreadsheet, beside the file.

It is the one place where a refused cell is repeated, for the person who can mend it, and never so that a spreadsheet
would run it.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from agent.sources.dropfolder.folder import REJECTED, Folder
from agent.sources.dropfolder.reasons import Fault

REASONS: Final = ".reasons.csv"
_HEADINGS: Final = ("文件 file", "工作表 sheet", "行 row", "列 column", "原因 reason", "内容 value")
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Report:
    """The faults of one file."""

    def __init__(self, file: str, sheet: str, kept: IO[bytes], out: io.TextIOWrapper) -> None:
        self.count = 0
        self._file, self._sheet, self._kept, self._out = file, sheet, kept, out
        self._rows = csv.writer(out)
        self._rows.writerow(_HEADINGS)

    def add(self, fault: Fault) -> None:
        """One more fault."""
        self.count += 1
        row = (self._file, self._sheet, str(fault.row or ""), fault.column, fault.reason, fault.value)
        self._rows.writerow([harmless(cell) for cell in row])

    def publish(self, folder: Folder, stored: str) -> None:
        """Put it beside the file that is, or will be, in ``rejected/`` under the name *stored*."""
        self._out.flush()
        self._kept.seek(0)
        with folder.writing(stored + REASONS, REJECTED) as file:
            shutil.copyfileobj(self._kept, file)
        self._kept.seek(0, io.SEEK_END)


@contextmanager
def report_of(file: str, sheet: str) -> Iterator[Report]:
    """An empty report, kept outside of memory."""
    # The mark at the beginning is how spreadsheets know that it is UTF-8.
    with (
        tempfile.TemporaryFile() as kept,
        io.TextIOWrapper(kept, "utf-8-sig", "backslashreplace", newline="") as out,
    ):
        yield Report(file, sheet, kept, out)


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_RUNS) else text
