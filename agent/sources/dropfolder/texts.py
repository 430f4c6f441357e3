"""Text files: which characters they are written in, CSV as RFC 4180 has it, and JSON lines.

The characters are found out from the whole file and then read strictly: a byte that is none is a fault that names its
line and its place, never a replacement.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO, Final

from agent.sources.dropfolder.reasons import BadFile, Reason
from agent.sources.dropfolder.rules import Cell, Faulty
from agent.sources.dropfolder.settings import FileLimits

Row = tuple[int, Sequence[Cell]]
"""The row as people count it, and its cells."""

_BLOCK: Final = 1024 * 1024
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS: Final = (",", "\t", ";", "|")
_LARGE_CELL: Final = Reason("单元格内容过大", "a cell is too large")
_NESTED: Final = Reason("值为嵌套结构", "a nested value")


def encoding_of(file: BinaryIO, told: str) -> str:
    """The encoding to read *file* in: its mark, what was told, or UTF-8 if it is that throughout, or GB18030."""
    file.seek(0)
    head = file.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if told != "auto":
        return told
    return "utf-8" if _undecodable(file, "utf-8") is None else "gb18030"


def lines(file: BinaryIO, encoding: str, most: int) -> Iterator[str]:
    """The lines with their ends, decoded strictly; none is longer than *most*."""
    # A descriptor of its own: who stops reading half way closes the file before this ends.
    fd = os.dup(file.fileno())
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, encoding=encoding, errors="strict", newline="") as text:
        try:
            for number, line in enumerate(iter(lambda: text.readline(most), ""), 1):
                if "\0" in line:
                    raise BadFile(Reason("含有空字符(0x00)", "holds a zero byte"), number)
                if len(line) >= most:
                    raise BadFile(Reason("行过长", "the line is too long"), number)
                yield line
        except UnicodeError:
            raise _bad_bytes(file, encoding) from None


def _bad_bytes(file: BinaryIO, encoding: str) -> BadFile:
    at = _undecodable(file, encoding) or 0
    file.seek(0)
    line, left = 1, at
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        line += block.count(b"\n")
        left -= len(block)
    what = Reason(
        f"第{line}行第{at}字节不是{encoding}编码", f"line {line}: byte {at} of the file is not {encoding}"
    )
    return BadFile(what, line)


def _undecodable(file: BinaryIO, encoding: str) -> int | None:
    """Where the first byte stands that is no character."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    done = 0
    while True:
        block = file.read(_BLOCK)
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return done - waiting + error.start
        if not block:
            return None
        done += len(block)


def csv_rows(
    text: Iterator[str], delimiter: str, headings: Sequence[str], limits: FileLimits, header_row: int
) -> Iterator[Row]:
    """The rows of a CSV text with the line each begins in."""
    # The limit is the process's, so it only ever grows; each row is measured again.
    csv.field_size_limit(max(csv.field_size_limit(), limits.cell_bytes))
    before: list[str] = []
    if delimiter == "auto":
        before = [line for _, line in zip(range(header_row), text, strict=False)]
        delimiter = _delimiter(before[-1] if before else "", headings)
    measured = _Measured(chain(before, text))
    reader = csv.reader(measured, delimiter=delimiter, strict=True)
    begin = 1
    try:
        for row in reader:
            if measured.size > limits.cell_bytes and any(len(cell) > limits.cell_bytes for cell in row):
                raise BadFile(_LARGE_CELL, begin)
            if any(row):
                yield begin, row
            begin, measured.size = reader.line_num + 1, 0
    except csv.Error as error:
        at = reader.line_num
        raise BadFile(Reason(f"第{at}行引号或分隔符有误", f"line {at}: {error}"), begin) from None


class _Measured:
    """Lines, and how long those of the row under way are."""

    def __init__(self, text: Iterator[str]) -> None:
        self.size = 0
        self._text = text

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._text)
        self.size += len(line)
        return line


def _delimiter(line: str, headings: Sequence[str]) -> str:
    """The one that tells most of the agreed headings apart."""

    def found(delimiter: str) -> int:
        row = next(csv.reader([line], delimiter=delimiter), [])
        return len({cell.strip().lstrip("\ufeff") for cell in row} & set(headings))

    return max(_DELIMITERS, key=found)


def json_rows(text: Iterator[str], headings: Sequence[str]) -> Iterator[Row]:
    """The rows of JSON lines: one object per line, its members in the order of *headings*; the headings first."""
    yield 0, headings
    for number, line in enumerate(text, 1):
        if line.strip():
            yield number, _members(number, line, headings)


def _members(number: int, line: str, headings: Sequence[str]) -> list[Cell]:
    try:
        # Numbers stay the digits they are written with.
        found = json.loads(
            line, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_told_once
        )
    except (ValueError, RecursionError):
        raise BadFile(
            Reason(f"第{number}行不是JSON对象", f"line {number} is not a JSON object"), number
        ) from None
    if not isinstance(found, dict):
        raise BadFile(Reason(f"第{number}行不是JSON对象", f"line {number} is not a JSON object"), number)
    if missing := [name for name in headings if name not in found]:
        raise BadFile(Reason("缺少成员", "a member is missing"), number, missing[0])
    return [_cell(found[name]) for name in headings]


def _told_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member occurs twice")
    return found


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return Faulty(_NESTED)
