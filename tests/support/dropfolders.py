"""Drop folders for tests: people who put files in, and a folder that passes for a business database."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.sources.dropfolder.inbox import is_wanted
from agent.sources.dropfolder.settings import ColumnRule, DropfolderSettings, FolderTable, OperationRule
from agent.sources.dropfolder.source import DropfolderSource
from agent.sources.source import Limits, NoMirror, Page, Source
from proto import frames
from proto.batch import NO_FRAMES, Frames
from proto.schema import TableSchema
from proto.values import Kind, Plain
from tests.support.mirror import Mirror

Row = tuple[Plain, ...]
NULL = "\\N"
QUICK = Limits(wait_s=0.01)


class MirrorDoor:
    """The exchange mirror as a source sees it, over what a test has applied."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror

    def schema(self, table: str) -> TableSchema | None:
        return self.mirror.schemas.get(table)

    def count(self, table: str) -> int:
        return len(self.mirror.tables.get(table, {}))

    def page(self, table: str, after_key: bytes, rows: int) -> Frames:
        # An order of its own, as every database has: by the key's bytes.
        held = sorted(self.mirror.tables.get(table, {}).items())
        return _frames([row for key, row in held if key > after_key][:rows])

    def rows(self, table: str, keys: Frames) -> Frames:
        held = self.mirror.tables.get(table, {})
        return _frames([held[key] for key in frames.split(keys.data) if key in held])


def _frames(rows: Sequence[bytes]) -> Frames:
    return Frames(b"".join(rows), len(rows)) if rows else NO_FRAMES


class DropfolderRig:
    """Tables that a program keeps elsewhere; each transaction drops one file per table with what changed."""

    def __init__(self, folder: Path, page_rows: int) -> None:
        folder.mkdir(mode=0o750)
        self.folder, self.page_rows = folder, page_rows
        self.tables: dict[str, dict[Plain, Row]] = {"person": {}, "visit": {}}
        self._numbers = itertools.count(1)

    def source(self) -> DropfolderSource:
        rules = (
            ColumnRule(name="id", kind=Kind.INT32),
            ColumnRule(name="name", header="姓名", null=(NULL,)),
            ColumnRule(name="note", null=(NULL,)),
        )
        tables = tuple(
            FolderTable(
                table=name,
                files=f"{name}-*.csv",
                mode="delta",
                rules=rules,
                key=("id",),
                operation=OperationRule(header="操作"),
            )
            for name in self.tables
        )
        settings = DropfolderSettings(
            kind="dropfolder",
            name="hr",
            folder=self.folder,
            tables=tables,
            settle_s=0,
            scan_every_s=0.05,
            page_rows=self.page_rows,
        )
        return DropfolderSource(settings, NoMirror())

    @contextmanager
    def transaction(self) -> Iterator[DropWriter]:
        writer = DropWriter({name: dict(rows) for name, rows in self.tables.items()})
        yield writer
        self.tables = writer.tables
        for table, rows in writer.files.items():
            self.drop(f"{table}-{next(self._numbers):06}.csv", ["操作", "id", "姓名", "note"], rows)

    def drop(self, name: str, headings: list[str], rows: Sequence[Sequence[Plain]]) -> None:
        """Put a file in, whole at once. A column that nobody asked for makes every content its own."""
        hidden = self.folder / f".{name}"
        with hidden.open("w", encoding="gb18030", newline="") as file:
            out = csv.writer(file)
            out.writerow([*headings, "流水号"])
            out.writerows([*row, name] for row in rows)
        hidden.rename(self.folder / name)

    def rows(self, table: str) -> list[Row]:
        return sorted(self.tables[table].values(), key=lambda row: int(row[0] or 0))

    def break_structure(self, table: str, source: Source) -> None:
        self.drop(f"{table}-broken.csv", ["操作", "id", "name"], [["新增", 99, "x"]])

    def foreign_position(self) -> str:
        return "drop/0123456789abcdef/0"


class DropWriter:
    """Changes that go into one file per table."""

    def __init__(self, tables: dict[str, dict[Plain, Row]]) -> None:
        self.tables = tables
        self.files: dict[str, list[list[Plain]]] = {}

    def put(self, table: str, row: Row) -> None:
        word = "修改" if row[0] in self.tables[table] else "新增"
        self.tables[table][row[0]] = row
        self._say(table, word, row)

    def delete(self, table: str, row: Row) -> None:
        del self.tables[table][row[0]]
        self._say(table, "删除", row)

    def move(self, table: str, old: Row, new: Row) -> None:
        self.delete(table, old)
        self.put(table, new)

    def truncate(self, table: str) -> None:
        for row in list(self.tables[table].values()):
            self.delete(table, row)

    def _say(self, table: str, word: str, row: Row) -> None:
        cells = [NULL if value is None else value for value in row]
        self.files.setdefault(table, []).append([word, *cells])


class Desk:
    """A clerk with one folder, a source over it, and what the exchange database has of it."""

    def __init__(self, folder: Path, **table: Any) -> None:
        folder.mkdir(mode=0o750, exist_ok=True)
        self.folder, self.mirror = folder, Mirror()
        self.batches = 0
        self.position = ""
        self.settings = desk_settings(folder, **table)
        self.door = MirrorDoor(self.mirror)
        self.source = DropfolderSource(self.settings, self.door)

    def drop(self, name: str, content: bytes | str) -> None:
        """Put a file in, whole at once."""
        hidden = self.folder / ".being-copied"
        hidden.write_bytes(content.encode() if isinstance(content, str) else content)
        hidden.rename(self.folder / name)

    def open(self) -> None:
        """Start where the exchange database is."""
        self.position = self.source.open(self.position)

    def take(self) -> None:
        """Read, commit and confirm until nothing comes."""
        while (batch := self.source.read(QUICK)) or not self._is_quiet():
            if batch:
                self.mirror.apply(batch)
                self.position = batch.position
                self.batches += not batch.continues
                self.source.confirm(self.position)

    def read_until(self, what: Callable[[], bool]) -> None:
        """Take what comes until *what* holds."""
        until_s = time.monotonic() + 20
        while not what():
            assert time.monotonic() < until_s
            self.take()

    def copy(self) -> None:
        """Copy the table afresh, as an administrator orders it."""
        self.source.resume_table("person")
        self.mirror.tables.get("person", {}).clear()
        self.source.start_copy("person", b"")
        pages: list[Page] = []
        while not pages or not pages[-1].is_last:
            pages += list(self.source.pages())
        for page in pages:
            self.mirror.merge(page.schema, page.frames.data)

    def rows(self) -> list[Row]:
        """What has arrived."""
        return self.mirror.rows("person")

    def room(self, name: str) -> list[str]:
        """What lies in one of the source's rooms."""
        return sorted(path.name for path in (self.folder / name).iterdir())

    def holds(self) -> list[str]:
        """What was held since the last question, in words."""
        return [str(hold) for hold in self.source.holds()]

    def reasons(self) -> list[list[str]]:
        """The rows of the newest report for the clerk."""
        newest = [name for name in self.room("rejected") if name.endswith(".reasons.csv")][-1]
        with (self.folder / "rejected" / newest).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))[1:]

    def _is_quiet(self) -> bool:
        """Whether nothing waits, neither in the folder nor under way."""
        waiting = [path for path in self.folder.iterdir() if is_wanted(path.name, self.settings.tables)]
        taken = (self.folder / ".exchange" / "taken").iterdir()
        return all(path.is_dir() for path in waiting) and all(path.name.endswith(".json") for path in taken)


def desk_settings(folder: Path, **table: Any) -> DropfolderSettings:
    """A table of persons with an identity number, as a whole file or as changes."""
    source = {name: table.pop(name) for name in ("settle_s", "file_limits") if name in table}
    rules = table.pop("rules", None) or (
        ColumnRule(name="id", header="身份证号"),
        ColumnRule(name="name", header="姓名", required=True),
        ColumnRule(name="born", header="出生日期", kind=Kind.DATE),
    )
    person = FolderTable(
        **{"table": "person", "files": "人员*.*", "mode": "snapshot", "rules": rules, "key": ("id",), **table}
    )
    return DropfolderSettings(
        kind="dropfolder",
        name="hr",
        folder=folder,
        tables=(person,),
        scan_every_s=0.05,
        **{"settle_s": 0, **source},
    )
