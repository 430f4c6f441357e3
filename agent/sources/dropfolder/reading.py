"""A file becomes rows in canonical form, and faults: one reader for CSV, workbooks and JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import BinaryIO, Final, NamedTuple

from agent.sources.dropfolder import reasons
from agent.sources.dropfolder.package import Package
from agent.sources.dropfolder.places import Placing
from agent.sources.dropfolder.reasons import BadFile, Fault, Reason, Unfit
from agent.sources.dropfolder.rules import Cell, Faulty, Numeric, convert
from agent.sources.dropfolder.settings import FileLimits, FolderTable
from agent.sources.dropfolder.texts import Row, csv_rows, encoding_of, json_rows, lines
from agent.sources.dropfolder.workbook import workbook_rows
from proto import frames

_LINES: Final = (".jsonl", ".ndjson")
_BOOKS: Final = (".xlsx", ".xlsm")
_OLD_BOOKS: Final = (".xls", ".et", ".ods", ".xlsb")
_SAVE_AS: Final = Reason(
    "不支持这种工作簿,请另存为.xlsx或CSV", "this kind of workbook is not read: save it as .xlsx or CSV"
)
_DISGUISED: Final = Reason("文件内容是工作簿,扩展名却不是", "it is a workbook under another extension")
_MISSING: Final = Reason("标题行缺少该列", "the heading is missing")
_TWICE: Final = Reason("标题行有两个同名列", "the heading occurs twice")
_CELLS_IN_A_LINE: Final = 16
"""A line of text may be as long as so many cells of the largest size."""
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0"


class Record(NamedTuple):
    """One good row."""

    row: int
    operation: str
    """``i``, ``u`` or ``d``; of a snapshot always ``i``."""
    place: bytes
    frame: bytes
    """The whole row; of a delete the key only."""


def records(file: BinaryIO, name: str, table: FolderTable, limits: FileLimits) -> Iterator[Record | Fault]:
    """Every row of the file in order. Raises BadFile when it must be refused whole."""
    asked = _Asked(table)
    rows = _rows(file, name, table, limits)
    ragged = PurePath(name).suffix.lower() in _BOOKS
    number = 0
    layout: _Layout | None = None
    for number, row in enumerate(rows):
        if layout is None:
            if row[0] < table.header_row and row[0]:
                continue
            layout = _Layout(asked, [_heading(cell) for cell in row[1]], ragged)
        elif number > limits.rows + table.header_row:
            raise BadFile(Reason(f"超过{limits.rows}行", f"more than {limits.rows} rows"), row[0])
        else:
            yield layout.record(row)
    if layout is None:
        raise BadFile(Reason("没有标题行", "there is no row of headings"), structure=True)


def _rows(file: BinaryIO, name: str, table: FolderTable, limits: FileLimits) -> Iterator[Row]:
    suffix = PurePath(name).suffix.lower()
    if suffix in _OLD_BOOKS:
        raise BadFile(_SAVE_AS)
    if suffix in _BOOKS:
        return workbook_rows(Package(file, limits), table.sheet, limits)
    file.seek(0)
    if file.read(4) in (_ZIP, _OLE):
        raise BadFile(_DISGUISED)
    text = lines(file, encoding_of(file, table.encoding), limits.cell_bytes * _CELLS_IN_A_LINE)
    headings = _Asked(table).headings
    if suffix in _LINES:
        return json_rows(text, headings)
    return csv_rows(text, table.delimiter, headings, limits, table.header_row)


def _heading(cell: Cell) -> str:
    return cell.strip().lstrip("\ufeff") if isinstance(cell, str) else ""


class _Asked:
    """What a table wants of every file."""

    def __init__(self, table: FolderTable) -> None:
        self.table = table
        self.is_delta = table.mode == "delta"
        self.converts = [convert(rule, rule.name in table.key) for rule in table.rules]
        self.placing = Placing(table.shape)
        self.headings = [rule.heading for rule in table.rules]
        if self.is_delta:
            self.headings.append(table.operation.header)


class _Layout:
    """Where each wanted column stands in one file."""

    def __init__(self, asked: _Asked, found: Sequence[str], ragged: bool) -> None:
        """*ragged*: rows may end before the last heading, as a workbook leaves empty cells out."""
        for heading in asked.headings:
            if found.count(heading) != 1:
                raise BadFile(_MISSING if heading not in found else _TWICE, column=heading, structure=True)
        self.asked = asked
        self.ragged = ragged
        self.at = [found.index(heading) for heading in asked.headings]
        self.width = len(found)

    def record(self, row: Row) -> Record | Fault:
        """The row in canonical form, or what is wrong with it."""
        number, cells = row
        if len(cells) != self.width and (fault := self._misfit(number, cells)):
            return fault
        if len(cells) < self.width:
            cells = [*cells, *[None] * (self.width - len(cells))]
        operation = self._operation(cells[self.at[-1]]) if self.asked.is_delta else "i"
        if not operation:
            return Fault(number, self.asked.headings[-1], reasons.NO_OPERATION, shown(cells[self.at[-1]]))
        return self._deleted(number, cells) if operation == "d" else self._whole(number, operation, cells)

    def _misfit(self, number: int, cells: Sequence[Cell]) -> Fault | None:
        if self.ragged:
            return None
        if len(cells) < self.width:
            return Fault(number, "", reasons.TOO_FEW)
        return Fault(number, "", reasons.TOO_MANY) if any(cells[self.width :]) else None

    def _operation(self, cell: Cell) -> str:
        word = cell.strip().casefold() if isinstance(cell, str) else ""
        return self.asked.table.operation.meaning.get(word, "")

    def _whole(self, number: int, operation: str, cells: Sequence[Cell]) -> Record | Fault:
        fields: list[bytes | None] = []
        for to, convert_cell in enumerate(self.asked.converts):
            try:
                fields.append(convert_cell(cells[self.at[to]]))
            except Unfit as fault:
                return self._fault(number, to, fault, cells)
        return Record(number, operation, self.asked.placing.of_row(fields), frames.pack(fields))

    def _deleted(self, number: int, cells: Sequence[Cell]) -> Record | Fault:
        """Only the key of a deleted row counts; the rest of it may be empty."""
        key: list[bytes | None] = []
        for to in self.asked.placing.indexes:
            try:
                key.append(self.asked.converts[to](cells[self.at[to]]))
            except Unfit as fault:
                return self._fault(number, to, fault, cells)
        return Record(number, "d", self.asked.placing.of_key(key), frames.pack(key))

    def _fault(self, number: int, to: int, fault: Unfit, cells: Sequence[Cell]) -> Fault:
        return Fault(number, self.asked.headings[to], fault.reason, shown(cells[self.at[to]]))


def shown(cell: Cell) -> str:
    """A cell as a person finds it in the file."""
    if isinstance(cell, Numeric):
        return cell.text
    return "" if cell is None or isinstance(cell, Faulty) else cell
