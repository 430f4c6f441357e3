"""Rows of texts out of a workbook or out of CSV files, with their numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from central.catalogue.sheets.headings import ENTRIES, ITEMS
from proto.errors import Refused

if TYPE_CHECKING:
    from openpyxl import Workbook

MOST_BYTES: Final = 512 * 1024 * 1024
INSTALL: Final = "pip install 'exchange-node[workbook]', or give CSV files: ENTRIES.csv --items ITEMS.csv"

Row = tuple[int, list[str]]


@dataclass(frozen=True, slots=True)
class Sheets:
    """Where the two sheets are."""

    path: Path
    items: Path | None = None
    """Of CSV files: the one with the items."""

    def rows(self, sheet: str) -> Iterator[Row]:
        """The rows of one sheet, headings first. Raises Refused when it cannot be read."""
        if self.items is None:
            yield from _workbook_rows(self.path, sheet)
        else:
            yield from _csv_rows(self.path if sheet == ENTRIES else self.items)


def open_sheets(path: Path, items: Path | None) -> Sheets:
    """The sheets in *path*; raises Refused when it is neither a workbook nor a pair of CSV files."""
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise Refused(f"is no file of at most {MOST_BYTES} bytes", where=str(path))
    if path.suffix.lower() == ".xlsx":
        return Sheets(path)
    if path.suffix.lower() != ".csv":
        raise Refused("is neither .xlsx nor .csv", where=str(path))
    if items is None or not items.is_file():
        raise Refused("of CSV files there are two", where=str(path), fix="name the other one with --items")
    return Sheets(path, items)


def open_workbook(path: Path | None = None) -> Workbook:
    """A workbook to read, or a new one to fill; raises Refused when the library is not there or cannot read it."""
    try:
        import openpyxl
    except ImportError as error:
        raise Refused("workbooks need the package openpyxl", fix=INSTALL) from error
    if path is None:
        return openpyxl.Workbook()
    try:
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # the library raises whatever a damaged file leads it to
        raise Refused(f"is no workbook: {type(error).__name__}", where=str(path)) from error


def _workbook_rows(path: Path, sheet: str) -> Iterator[Row]:
    book = open_workbook(path)
    try:
        if sheet not in book.sheetnames:
            what = f"has no sheet {sheet}"
            raise Refused(what, where=str(path), fix=f"sheets are {ENTRIES} and {ITEMS}: catalogue template")
        for number, cells in enumerate(book[sheet].iter_rows(values_only=True), 1):
            yield number, [_text(cell) for cell in cells]
    finally:
        book.close()


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        try:
            lines = path.read_text(encoding="gb18030").splitlines(keepends=True)
        except UnicodeDecodeError as error:
            raise Refused("is neither UTF-8 nor GB18030", where=str(path)) from error
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where=str(path)) from error
    for number, cells in enumerate(csv.reader(lines), 1):
        yield number, [cell.strip() for cell in cells]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "是" if cell else "否"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, date) else str(cell).strip()
