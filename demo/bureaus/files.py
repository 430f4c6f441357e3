"""A bureau without a database that may be asked: its clerks put spreadsheets into a folder."""

from __future__ import annotations

import csv
import io
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openpyxl import Workbook

from agent.sources.dropfolder.folder import REJECTED, ROOMS, TAKEN
from agent.sources.dropfolder.reports import REASONS
from agent.sources.dropfolder.settings import DropfolderSettings
from demo.books import Books
from demo.bureaus.bureau import BORN_FROM, Looking, Work, show_tables
from demo.bureaus.people import DISTRICTS, households, id_number, people
from demo.show import Show
from proto import frames
from proto.batch import Frames
from proto.schema import TableSchema

PEOPLE: Final = 20_000
HOUSEHOLDS: Final = 2_000
BAD_EVERY: Final = 5
"""Every so many lists of moves, a clerk makes a mistake in one row."""
PERSON: Final = {
    "编号": "number",
    "身份证号": "id_number",
    "姓名": "name",
    "出生日期": "born",
    "区": "district",
    "电话": "phone",
    "收入": "income",
}
DISTRICT_AT: Final = list(PERSON.values()).index("district")
Row = tuple[str | int | None, ...]
Model = dict[str, dict[Any, Row]]


class FilesBureau:
    """A folder below *home*, and what the clerks know themselves; nobody needs a password."""

    tables = ("person", "household", "迁移登记")
    unit = ("个文件", "files")
    pace_s = 0.4

    def __init__(self, home: Path, password: str, password_file: Path) -> None:
        self.folder = home / "dispatch"
        self.model: Model = {table: {} for table in self.tables}
        self.source: dict[str, Any] = {
            "kind": "dropfolder",
            "folder": str(self.folder),
            "settle_s": 0,
            "scan_every_s": 0.2,
            "tables": _tables(),
        }

    def open(self, show: Show) -> None:
        """What the clerks have on their desks."""
        with show.waiting("整理人员名册", "writing lists of people"):
            for row in people(PEOPLE):
                self.model["person"][row[0]] = _person(row)
            for district, number, address, members in households(HOUSEHOLDS):
                self.model["household"][number] = (
                    str(district),
                    *_numbers(number),
                    str(address),
                    *_numbers(members),
                )
            self.model["迁移登记"][1] = (1, id_number(1), DISTRICTS[0])
        show.fact("CSV, Excel", f"人员.csv (GB18030) · 家庭.xlsx · 迁移.csv → {self.folder}")
        show_tables(show, self.looking(), self.tables)

    def mend(self, missing: Sequence[Mapping[str, Any]], config: Path, show: Show) -> None:
        """The folder is made, and the first lists are put into it."""
        for finding in missing:
            show.sql(finding["fix"], title="sh")
            for line in finding["fix"].splitlines():
                # The folder is to belong to the service's account; here that is whoever looks.
                if not line.startswith("chown "):
                    subprocess.run(shlex.split(line), check=True)
        clerk = Clerk(self.folder, self.model)
        clerk.people()
        clerk.households()
        clerk.moves([(1, *self.model["迁移登记"][1][1:])])

    def looking(self) -> Looking:
        """What the clerks know."""
        return Lists(self.folder, self.model)

    def working(self) -> Work:
        """A clerk."""
        return Clerk(self.folder, self.model, number=10)

    def known(self) -> dict[str, Frames] | None:
        """What the clerks know, by another way than through their files."""
        settings = DropfolderSettings.model_validate({**self.source, "name": "lists"})
        return {
            table.shape.name: _frames(list(self.model[table.shape.name].values()), table.shape)
            for table in settings.tables
        }

    def afterwards(self, show: Show) -> None:
        """What was refused, and how its owner is told."""
        reasons = sorted((self.folder / REJECTED).glob(f"*{REASONS}"))
        if reasons:
            show.say(
                f"rejected/ 中有 {len(reasons)} 份退回说明，例如：",
                f"In rejected/ there are {len(reasons)} files with reasons, such as this one:",
            )
            show.sql(reasons[0].read_text(encoding="utf-8-sig").strip(), title=reasons[0].name)

    def place(self) -> str:
        """To put files in."""
        return str(self.folder)

    def close(self) -> None:
        """Nothing runs."""


@dataclass(slots=True)
class Lists:
    """Reads what the clerks know, and whether their folder is empty."""

    folder: Path
    model: Model

    def count(self, table: str) -> int:
        """How many rows a list has."""
        return len(self.model[table])

    def living_in(self, district: str) -> int:
        """How many people are registered there."""
        return sum(row[DISTRICT_AT] == district for row in list(self.model["person"].values()))

    def is_read(self, books: Books) -> bool:
        """Nothing waits in the folder, and nothing is under way."""
        waiting = [path for path in self.folder.iterdir() if path.name not in ROOMS]
        return not waiting and not any((self.folder / TAKEN).iterdir())

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Clerk:
    """Knows the lists, changes them, and hands them in."""

    folder: Path
    model: Model
    number: int = 0
    done: int = 0

    def work(self) -> None:
        """Hand in the next file: mostly moves, now and then a whole list."""
        self.number += 1
        if self.done % 8 == 3:
            self._death()
            self.people()
        elif self.done % 8 == 7:
            self._grow()
            self.households()
        else:
            self._move()
        self.done += 1

    def close(self) -> None:
        """Go home."""

    def people(self) -> None:
        """The whole list of people, as an old office program saves it."""
        lines = _csv([list(PERSON), *self.model["person"].values()])
        self._drop(f"人员{self.number}.csv", lines.encode("gb18030"))

    def households(self) -> None:
        """The whole list of households, as a workbook."""
        book, kept = Workbook(), io.BytesIO()
        sheet = book.active
        if sheet is not None:
            for row in [("区", "编号", "地址", "人数"), *self.model["household"].values()]:
                sheet.append(row)
        book.save(kept)
        self._drop(f"家庭{self.number}.xlsx", kept.getvalue())

    def moves(self, rows: Sequence[Row], operation: str = "新增") -> None:
        """A list of what is new."""
        lines = _csv([("操作", "编号", "身份证号", "迁入地"), *((operation, *row) for row in rows)])
        self._drop(f"迁移{self.number}.csv", lines.encode())

    def _move(self) -> None:
        known = self.model["迁移登记"]
        first = len(known) + 1
        rows: list[Row] = [
            (first + each, id_number(first + each), DISTRICTS[(first + each) % 6]) for each in range(20)
        ]
        known.update({row[0]: row for row in rows})
        # What a spreadsheet makes of an identity number that was not entered as text.
        bad: list[Row] = [(999_999, "3.70101E+17", DISTRICTS[0])] if self.done % BAD_EVERY == 1 else []
        self.moves([*rows, *bad])

    def _death(self) -> None:
        people = self.model["person"]
        people.pop(next(iter(people)))
        number = BORN_FROM + self.number
        people[number] = (number, id_number(number), "新生儿𠮷", "2026-03-07", DISTRICTS[0], "无", "0.00")
        for moving in range(self.number * 300, self.number * 300 + 300):
            if row := people.get(moving):
                to = DISTRICTS[moving % len(DISTRICTS)]
                people[moving] = (*row[:DISTRICT_AT], to, *row[DISTRICT_AT + 1 :])

    def _grow(self) -> None:
        number = self.number % HOUSEHOLDS
        district, place, address, members = self.model["household"][number]
        self.model["household"][number] = (district, place, address, int(members or 0) + 1)

    def _drop(self, name: str, content: bytes) -> None:
        """Under another name until it is whole."""
        part = self.folder / f"{name}.part"
        part.write_bytes(content)
        part.rename(self.folder / name)


def _tables() -> list[dict[str, Any]]:
    kinds = {"number": "int64", "born": "date", "income": "decimal"}
    person = [
        {"name": name, "header": head, "kind": kinds.get(name, "text")} for head, name in PERSON.items()
    ]
    household = [
        {"name": "district", "header": "区"},
        {"name": "number", "header": "编号", "kind": "int64"},
        {"name": "address", "header": "地址"},
        {"name": "members", "header": "人数", "kind": "int32"},
    ]
    moves = [
        {"name": "编号", "kind": "int64"},
        {"name": "身份证号", "pattern": "[0-9]{17}[0-9X]"},
        {"name": "迁入地", "required": True},
    ]
    snapshot = {"mode": "snapshot"}
    return [
        {"table": "person", "files": "人员*.csv", "key": ["number"], "rules": person, **snapshot},
        {"table": "household", "files": "家庭*.xlsx", "key": ["number"], "rules": household, **snapshot},
        {
            "table": "迁移登记",
            "files": "迁移*.csv",
            "key": ["编号"],
            "rules": moves,
            "mode": "delta",
            "operation": {"header": "操作"},
        },
    ]


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _numbers(*values: object) -> tuple[int, ...]:
    return tuple(int(str(value)) for value in values)


def _person(row: Sequence[object]) -> Row:
    number, identity, name, _, born, district, _, phone, income, *_ = row
    # A list on paper has something in every cell.
    return (*_numbers(number), *map(str, (identity, name, born, district, phone or "无", income)))


def _frames(rows: Sequence[Row], schema: TableSchema) -> Frames:
    data = frames.pack_rows(rows, [column.kind for column in schema.columns])
    return Frames(data, len(rows))
