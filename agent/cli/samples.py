"""What lies in a folder that files will be dropped into: which tables they are, and their headings. Reads first rows only."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.dropfolder.folder import ROOMS
from agent.sources.dropfolder.package import Package
from agent.sources.dropfolder.reasons import BadFile
from agent.sources.dropfolder.settings import FileLimits
from agent.sources.dropfolder.texts import encoding_of, lines
from agent.sources.dropfolder.workbook import workbook_rows
from proto.errors import Refused

_TEXTS: Final = (".csv", ".txt")
_BOOKS: Final = (".xlsx", ".xlsm")
_LINES: Final = (".jsonl",)
_DELIMITERS: Final = ",;\t|"
_NUMBERING: Final = "0123456789-_ .年月日"


@dataclass(frozen=True, slots=True)
class Sample:
    """One table, as the first file of it shows."""

    table: str
    files: str
    """The pattern of its files' names."""
    headings: tuple[str, ...]


def samples(folder: Path) -> list[Sample]:
    """A table for each name, without the dates and numbers at its end. Raises Refused when nothing can be read."""
    found: dict[str, Sample] = {}
    for path in sorted(folder.iterdir()):
        if path.name in ROOMS or not path.is_file() or path.suffix.lower() not in (*_TEXTS, *_BOOKS, *_LINES):
            continue
        table = path.stem.rstrip(_NUMBERING) or path.stem
        if table not in found:
            found[table] = Sample(table, f"{table}*{path.suffix}", headings_of(path))
    if not found:
        what = "no file there shows which tables it will bring"
        raise Refused(
            what, where=str(folder), fix="put one .csv or .xlsx of each table into it, then init again"
        )
    return list(found.values())


def headings_of(path: Path) -> tuple[str, ...]:
    """The first row of a file. Raises Refused when there is none."""
    try:
        cells = _first_row(path)
    except (OSError, BadFile, ValueError) as error:
        raise Refused(f"it cannot be read: {error}", where=str(path), fix="put a whole file there") from None
    headings = tuple(dict.fromkeys(cell for cell in cells if cell))
    if not headings:
        raise Refused(
            "its first row has no headings", where=str(path), fix="name the columns in the first row"
        )
    return headings


def _first_row(path: Path) -> Sequence[str]:
    limits = FileLimits()
    with path.open("rb") as file:
        if path.suffix.lower() in _BOOKS:
            _, cells = next(workbook_rows(Package(file, limits), "", limits), (0, []))
            return [cell.strip() for cell in cells if isinstance(cell, str)]
        line = next(lines(file, encoding_of(file, "auto"), limits.cell_bytes), "").lstrip("\ufeff")
    if path.suffix.lower() in _LINES:
        return [str(name) for name in json.loads(line)]
    delimiter = max(_DELIMITERS, key=line.count)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
