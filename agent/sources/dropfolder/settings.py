"""The settings of a drop folder: which files are which table, and what every cell must be."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from agent.sources.dropfolder.patterns import overlap
from agent.sources.settings import SourceSection, TableSettings
from proto.process import Section
from proto.schema import Column, TableSchema
from proto.values import Kind

MIB: Final = 1024**2
_NO_CELLS: Final = frozenset({Kind.BYTES, Kind.INTERVAL, Kind.OTHER})


class ColumnRule(Section):
    """One column: where it stands in the file, and what may stand in it."""

    name: str = Field(min_length=1)
    header: str = ""
    """Its heading in the file; the name when empty."""
    kind: Kind = Kind.TEXT
    required: bool = False
    """An empty cell is a fault. Key columns always are."""
    max_length: int | None = Field(default=None, ge=1)
    """Characters."""
    pattern: str = ""
    """A regular expression that the whole cell must match."""
    values: tuple[str, ...] = ()
    """The only texts allowed; any when empty."""
    formats: tuple[str, ...] = ()
    """How dates and times are written besides 2024-01-05, 2024/1/5, 2024.1.5, 20240105 and 2024年1月5日: ``%d/%m/%Y``."""
    thousands: bool = False
    """Numbers may be written 1,234,567.00."""
    null: tuple[str, ...] = ("",)
    """The cells that mean: no value."""
    scientific: bool = False
    """A text like 1.10101E+17 is meant so; otherwise it is an identifier that a spreadsheet has damaged."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kind in _NO_CELLS:
            raise ValueError(f"a file's cell cannot hold {self.kind}")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"the pattern is not a regular expression: {error}") from error
        return self

    @property
    def heading(self) -> str:
        """As it stands in the file."""
        return self.header or self.name


class OperationRule(Section):
    """The column that says what is to be done with a row of a delta, and its words."""

    header: str = "operation"
    insert: tuple[str, ...] = ("insert", "i", "新增", "增加")
    update: tuple[str, ...] = ("update", "u", "修改", "变更")
    delete: tuple[str, ...] = ("delete", "d", "删除")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        words = [word.casefold() for word in (*self.insert, *self.update, *self.delete)]
        if len(set(words)) != len(words):
            raise ValueError("a word of 'operation' means two things")
        return self

    @cached_property
    def meaning(self) -> dict[str, str]:
        """``i``, ``u`` or ``d`` for every word."""
        told = (("i", self.insert), ("u", self.update), ("d", self.delete))
        return {word.casefold(): letter for letter, words in told for word in words}


class FolderTable(TableSettings):
    """One table, and the files that bring it."""

    files: str = Field(min_length=1)
    """A pattern of file names with ``*`` and ``?``; a name belongs to one table only."""
    mode: Literal["snapshot", "delta"]
    """A file is the whole table, or what changed in it."""
    rules: tuple[ColumnRule, ...] = Field(min_length=1)
    """Its columns, in the order in which they are shared. What is not named here does not leave."""
    key: tuple[str, ...] = Field(min_length=1)
    sheet: str = ""
    """The worksheet of a workbook; the first visible one when empty."""
    header_row: int = Field(default=1, ge=1, le=1000)
    """The row with the headings; what stands above it is passed over."""
    operation: OperationRule = OperationRule()
    encoding: Literal["auto", "utf-8", "utf-16", "gbk", "gb18030"] = "auto"
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    reject: Literal["file", "rows"] | None = None
    """What one bad row costs: the whole file, or itself. A snapshot is refused whole: a missing row would be a delete."""
    max_deletes_share: float = Field(default=0.3, ge=0, le=1)
    """A snapshot that would delete a larger share of the table is held until a person says that it is meant."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.columns is not None or self.append_only:
            raise ValueError("a drop folder's table has 'rules' and a key, no 'columns' and no 'append_only'")
        if "/" in self.files or "\0" in self.files or "[" in self.files:
            raise ValueError("'files' is a pattern of names with * and ?, without / and [")
        if self.mode == "snapshot" and self.reject == "rows":
            raise ValueError("a snapshot cannot leave rows out: each of them would be a delete")
        names = [rule.name for rule in self.rules]
        headings = [rule.heading for rule in self.rules]
        headings += [self.operation.header] if self.mode == "delta" else []
        if len(set(names)) != len(names) or len(set(headings)) != len(headings):
            raise ValueError("a column or a heading occurs twice")
        if missing := set(self.key) - set(names):
            raise ValueError(f"the key columns {sorted(missing)} have no rule")
        return self

    @property
    def listed(self) -> tuple[str, ...]:
        """The columns that have a rule."""
        return tuple(rule.name for rule in self.rules)

    def narrowed(self, columns: tuple[str, ...]) -> Self:
        """The same table with these rules alone; what else stands in a file is passed over."""
        rules = tuple(rule for rule in self.rules if rule.name in columns)
        # Made anew: a copy would bring the shape along that was worked out from the other rules.
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, "rules": rules})

    @property
    def refuses_whole(self) -> bool:
        """Whether one bad row costs the whole file."""
        return (self.reject or ("file" if self.mode == "snapshot" else "rows")) == "file"

    @cached_property
    def shape(self) -> TableSchema:
        """As every other side sees it."""
        columns = [
            Column(rule.name, rule.kind, "cell", not rule.required and rule.name not in self.key)
            for rule in self.rules
        ]
        return TableSchema(self.catalogued, tuple(columns), self.key)


class FileLimits(Section):
    """What a file may be at most; one beyond it is refused whole."""

    file_bytes: int = Field(default=2048 * MIB, ge=1)
    rows: int = Field(default=5_000_000, ge=1)
    cell_bytes: int = Field(default=MIB, ge=1)
    unpacked_bytes: int = Field(default=8192 * MIB, ge=1)
    """A workbook is a zip: what it may become."""
    unpacked_ratio: int = Field(default=100, ge=2)
    """How many times its size a part of a workbook above 1 MiB may become."""


class DropfolderSettings(SourceSection):
    """A folder that a person or a program puts files into."""

    kind: Literal["dropfolder"]
    folder: Path
    tables: tuple[FolderTable, ...] = Field(min_length=1)
    settle_s: float = Field(default=10.0, ge=0)
    """A file counts once it has not changed for so long; 0 only where files are always renamed into place."""
    scan_every_s: float = Field(default=5.0, gt=0)
    """How often to look, whatever the system says about changes."""
    file_limits: FileLimits = FileLimits()
    page_rows: int = Field(default=20_000, gt=0)

    @model_validator(mode="after")
    def _files_told_apart(self) -> Self:
        if not self.folder.is_absolute() or ".." in self.folder.parts:
            raise ValueError("'folder' is an absolute path")
        for one, other in combinations(self.tables, 2):
            if overlap(one.files, other.files):
                raise ValueError(f"a file may match both {one.files!r} and {other.files!r}")
        return self
