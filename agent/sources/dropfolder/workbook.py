"""The rows of one worksheet, as stored: digits as they are, dates by their format, errors and merged cells named.

Read as a stream; shared texts lie in a temporary file. A formula counts by the result stored with it, and one without
a stored result is a fault, not an empty cell.
"""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from agent.sources.dropfolder import reasons
from agent.sources.dropfolder.package import Attributes, Package, Part
from agent.sources.dropfolder.reasons import BadFile, Reason
from agent.sources.dropfolder.rules import Cell, Faulty, Numeric
from agent.sources.dropfolder.settings import FileLimits
from agent.sources.dropfolder.texts import Row

_MERGED: Final = Reason("工作表含有合并单元格", "the worksheet holds merged cells")
_TOO_LARGE: Final = Reason("单元格内容过大", "a cell is too large")
_LITERAL: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
_DATE_FORMATS: Final = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
MOST_COLUMNS: Final = 16_384
_REFERENCE: Final = re.compile(r"([A-Z]{1,3})(\d{1,7})", re.ASCII)


def workbook_rows(package: Package, sheet: str, limits: FileLimits) -> Iterator[Row]:
    """The rows of the sheet, with their numbers."""
    book = _Book()
    _all(package, "xl/workbook.xml", book)
    relations = _Relations()
    _all(package, "xl/_rels/workbook.xml.rels", relations)
    target = relations.targets.get(book.chosen(sheet), "")
    part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    styles = _Styles()
    if package.has("xl/styles.xml"):
        _all(package, "xl/styles.xml", styles)
    with _Texts(package, limits.cell_bytes) as texts:
        reader = _Sheet(texts, styles, book.first_day, limits.cell_bytes)
        for _ in package.parse(part, reader):
            done, reader.rows = reader.rows, []
            yield from done


def _all(package: Package, part: str, reader: Part) -> None:
    for _ in package.parse(part, reader):
        pass


class _Book(Part):
    """Sheets by name, and the day that dates are counted from."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.first_day = datetime(1899, 12, 30)  # noqa: DTZ001 — a workbook knows no zones

    def start(self, name: str, found: Attributes) -> None:
        """A sheet, or the calendar."""
        if name == "sheet":
            relation = next((value for key, value in found.items() if key.endswith("}id")), "")
            self.sheets.append((found.get("name", ""), relation, found.get("state", "visible") == "visible"))
        if name == "workbookPr" and found.get("date1904") in ("1", "true"):
            self.first_day = datetime(1904, 1, 1)  # noqa: DTZ001

    def chosen(self, sheet: str) -> str:
        """The relation of the sheet that was asked for, or of the first that people see."""
        for name, relation, visible in self.sheets:
            if name == sheet or (not sheet and visible):
                return relation
        raise BadFile(
            Reason("没有约定的工作表", "the agreed worksheet is not there"), column=sheet, structure=True
        )


class _Relations(Part):
    """Where each sheet lies."""

    def __init__(self) -> None:
        self.targets: dict[str, str] = {}

    def start(self, name: str, found: Attributes) -> None:
        """One relation; those that lead out of the workbook are none."""
        if name == "Relationship" and found.get("TargetMode") != "External":
            self.targets[found.get("Id", "")] = found.get("Target", "")


class _Styles(Part):
    """Which cell styles show a date."""

    def __init__(self) -> None:
        self.dates: list[bool] = []
        self._own: dict[str, bool] = {}
        self._inside = False

    def start(self, name: str, found: Attributes) -> None:
        """A number format, or a style that uses one."""
        if name == "numFmt":
            code = _LITERAL.sub("", found.get("formatCode", ""))
            self._own[found.get("numFmtId", "")] = bool(re.search("[dmyhsDMYHS]", code))
        elif name == "cellXfs":
            self._inside = True
        elif name == "xf" and self._inside:
            number = found.get("numFmtId", "0")
            self.dates.append(self._own.get(number, number.isdigit() and int(number) in _DATE_FORMATS))

    def end(self, name: str) -> None:
        """No more styles."""
        if name == "cellXfs":
            self._inside = False


class _Texts(Part):
    """Shared texts, in a temporary file; the newest few thousand in memory."""

    def __init__(self, package: Package, most_bytes: int) -> None:
        self._package = package
        self._most = most_bytes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 — closed with the reader
        self._ends = array("Q", [0])
        self._parts: list[str] = []
        self._inside = False
        self._spoken = self._length = 0
        self.at = lru_cache(maxsize=4096)(self._read)

    def __enter__(self) -> _Texts:
        if self._package.has("xl/sharedStrings.xml"):
            _all(self._package, "xl/sharedStrings.xml", self)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def start(self, name: str, found: Attributes) -> None:
        """A piece of text; how it is spoken (rPh) is not part of it."""
        self._inside = name == "t" and not self._spoken
        self._spoken += name == "rPh"

    def end(self, name: str) -> None:
        """A whole text."""
        self._inside = False
        self._spoken -= name == "rPh"
        if name == "si":
            data = unescaped("".join(self._parts)).encode(errors="surrogatepass")
            self._file.write(data)
            self._ends.append(self._ends[-1] + len(data))
            self._parts.clear()
            self._length = 0

    def text(self, text: str) -> None:
        """Characters."""
        if self._inside:
            self._parts.append(text)
            self._length += len(text)
            if self._length > self._most:
                raise BadFile(_TOO_LARGE)

    def _read(self, index: int) -> str:
        if not 0 <= index < len(self._ends) - 1:
            raise BadFile(Reason("工作簿内部引用有误", "the workbook refers to a text that it does not hold"))
        self._file.seek(self._ends[index])
        return self._file.read(self._ends[index + 1] - self._ends[index]).decode(errors="surrogatepass")


class _Sheet(Part):
    """Cells gather to rows."""

    def __init__(self, texts: _Texts, styles: _Styles, first_day: datetime, most_bytes: int) -> None:
        self.rows: list[Row] = []
        self._texts, self._styles, self._first_day, self._most = texts, styles, first_day, most_bytes
        self._number = 0
        self._cells: list[Cell] = []
        self._cell: Attributes = {}
        self._value: list[str] = []
        self._inside = self._has_value = self._has_formula = False
        self._spoken = self._length = 0

    def start(self, name: str, found: Attributes) -> None:
        """A row, a cell, or what it holds."""
        if name == "c":
            self._cell, self._has_value, self._has_formula = found, False, False
            self._value.clear()
            self._length = 0
        elif name in ("v", "t"):
            self._inside = not self._spoken
            self._has_value = True
        elif name == "f":
            self._has_formula = True
        elif name == "rPh":
            self._spoken += 1
        elif name == "row":
            told = found.get("r", "")
            self._number = int(told) if told.isdigit() else self._number + 1
            self._cells = []
        elif name == "mergeCell":
            raise BadFile(_MERGED, column=found.get("ref", ""))

    def end(self, name: str) -> None:
        """A cell or a row is whole."""
        if name == "c":
            self._place(self._read())
        elif name in ("v", "t"):
            self._inside = False
        elif name == "rPh":
            self._spoken -= 1
        elif name == "row" and any(cell is not None and cell != "" for cell in self._cells):
            self.rows.append((self._number, self._cells))

    def text(self, text: str) -> None:
        """Characters of a value."""
        if self._inside:
            self._value.append(text)
            self._length += len(text)
            if self._length > self._most:
                raise BadFile(_TOO_LARGE, self._number)

    def _place(self, cell: Cell) -> None:
        found = _REFERENCE.fullmatch(self._cell.get("r", ""))
        at = _column(found[1]) if found else len(self._cells)
        if at < len(self._cells) or at >= MOST_COLUMNS:
            raise BadFile(
                Reason("工作表单元格次序有误", "the cells of the worksheet are out of order"), self._number
            )
        self._cells += [None] * (at - len(self._cells))
        self._cells.append(cell)

    def _read(self) -> Cell:
        kind, value = self._cell.get("t", "n"), "".join(self._value)
        if not self._has_value:
            return Faulty(reasons.NO_RESULT) if self._has_formula else None
        if kind == "s":
            return self._texts.at(int(value) if value.isdigit() else -1)
        if kind == "e":
            return Faulty(reasons.ERROR_CELL)
        if kind == "n":
            return self._numeric(value)
        if kind == "b":
            return "true" if value == "1" else "false"
        return unescaped(value)

    def _numeric(self, value: str) -> Cell:
        if not value:
            return Faulty(reasons.NO_RESULT) if self._has_formula else None
        style = self._cell.get("s", "0")
        dates = self._styles.dates
        is_date = style.isdigit() and int(style) < len(dates) and dates[int(style)]
        return Numeric(value, _day(value, self._first_day), is_date)


def unescaped(text: str) -> str:
    """Characters that XML cannot hold are written _x000D_ and the like."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")


def _column(letters: str) -> int:
    at = 0
    for letter in letters:
        at = at * 26 + ord(letter) - 64
    return at - 1


def _day(value: str, first_day: datetime) -> datetime | None:
    try:
        serial = float(value)
        # The calendar that starts in 1900 counts a day that never was: before March 1900 it is off by one.
        if serial < 0 or (first_day.year == 1899 and 1 <= serial < 61):
            return None
        return first_day + timedelta(milliseconds=round(serial * 86_400_000))
    except (ValueError, OverflowError):
        return None
