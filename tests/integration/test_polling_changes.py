"""What polling sees and when: by its watermark at once, by comparison on its schedule, and nothing that is not so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.sources.polling.position import Place
from agent.sources.polling.settings import PollingTable
from agent.sources.settings import TableSettings
from agent.sources.source import Limits
from tests.support.polling import Followed, LiveMirror, news, odbc_of, settings

NEVER: dict[str, Any] = {"compare_every_s": None}
TABLE = "CREATE TABLE 人员 (号 INTEGER, 部门 TEXT, 姓名 TEXT, 改 INTEGER, PRIMARY KEY (部门, 号))"


class Office:
    """A SQLite file with one table whose key has two columns, and the source that polls it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = wal")
        self.database.execute(TABLE)
        self.mirror = LiveMirror()

    def source(self, load: dict[str, Any] | None = None, **table: Any) -> Followed:
        known = {"table": "人员", "watermark": "改"} | table
        polled = settings([known], url=f"sqlite:///{self.path}", load=load or {})
        source = Followed(polled, self.mirror)
        return source.begin()

    def put(self, number: int, name: str, changed: int | None, department: str = "户籍") -> None:
        self.database.execute(
            "INSERT INTO 人员 VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET 姓名 = excluded.姓名, 改 = excluded.改",
            (number, department, name, changed),
        )

    def rows(self) -> list[tuple[Any, ...]]:
        return sorted(self.database.execute("SELECT * FROM 人员").fetchall(), key=repr)

    def mirrored(self) -> list[tuple[Any, ...]]:
        return sorted(self.mirror.rows("人员"), key=repr)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "office.db")
    yield office
    office.database.close()


def test_rows_of_one_instant_are_not_lost_at_the_edge_of_a_page(office):
    """Pages of seven end in the middle of fifty rows with one watermark, and of others beside them."""
    source = office.source(**NEVER)
    source.open("")
    for number in range(50):
        office.put(number, "同时", 5, f"区{number % 3}")
    office.put(99, "早", 4)
    office.put(98, "晚", 6)
    news(source)

    assert office.mirrored() == office.rows()


def test_a_quiet_table_makes_no_batches(office):
    """The overlap is read again and again, and is in the mirror already."""
    source = office.source(overlap=100, **NEVER)
    source.open("")
    office.put(1, "王伟", 5)
    assert sum(batch.rows for batch in news(source)) == 1

    assert news(source) == []


def test_without_comparison_deletes_and_silent_updates_are_not_seen(office):
    """It says so in its traits, and of each table; nothing else may be claimed (SD12.6)."""
    source = office.source(**NEVER)
    source.open("")
    office.put(1, "王", 5)
    office.put(2, "李", 6)
    office.put(3, "最新", 7)
    news(source)
    office.database.execute("DELETE FROM 人员 WHERE 号 = 1")
    office.database.execute("UPDATE 人员 SET 姓名 = '悄悄' WHERE 号 = 2")

    assert news(source) == []
    assert source.traits.sees_deletes is False
    assert PollingTable(table="人员", compare_every_s=None).deletes_every_s is None
    assert PollingTable(table="人员").deletes_every_s == 86_400
    assert TableSettings(table="人员").deletes_every_s == 0


def test_a_comparison_finds_deletes_silent_updates_and_rows_without_a_watermark(office):
    """Over several pages of both walks, with a key of two columns."""
    source = office.source()
    source.open("")
    for number in range(40):
        office.put(number, f"名{number}", number)
    news(source)
    office.database.execute("DELETE FROM 人员 WHERE 号 % 9 = 0")
    office.database.execute("UPDATE 人员 SET 姓名 = '悄悄' WHERE 号 = 20")
    office.put(7000, "无水位", None)
    batches = news(source)

    assert office.mirrored() == office.rows()
    assert sum(delta.deletes.count for batch in batches for delta in batch.deltas) == 5
    assert sum(delta.upserts.count for batch in batches for delta in batch.deltas) == 1


@pytest.mark.parametrize("gone", range(1, 7))
def test_polls_between_the_pages_of_a_comparison_do_not_hide_deletes(office, gone):
    """Each reads the newest row again, which is not counted as met by the walk, or the second walk were left out."""
    source = office.source(compare_every_s=86_400)
    source.open("")
    for number in range(30):
        office.put(number, f"名{number}", number)
    news(source)
    office.database.execute("DELETE FROM 人员 WHERE 号 < ?", (gone,))
    source._watchers["人员"].compare_now()
    news(source)

    assert office.mirrored() == office.rows()


def test_a_comparison_goes_on_where_it_was_after_a_restart(office):
    """Its place is in the position: pages before it are not read again."""
    source = office.source(watermark="", compare_every_s=0)
    source.open("")
    for number in range(30):
        office.put(number, f"名{number}", None)
    first = source.read(Limits(wait_s=1))
    source.close()
    again = office.source(watermark="", compare_every_s=0)
    again.open(first.position)
    second = again.read(Limits(wait_s=1))

    assert Place.parse(first.position).of("人员").phase == "s"
    assert (first.rows, second.rows) == (7, 7)
    assert len(office.mirrored()) == 14


@pytest.mark.parametrize("lost", range(4))
def test_a_batch_that_was_never_committed_is_told_again(office, lost):
    """From any earlier position: the mirror says what is missing."""
    source = office.source(watermark="", compare_every_s=0)
    start = source.open("")
    for number in range(30):
        office.put(number, f"名{number}", number)
    positions = [start, *(source.read(Limits(wait_s=1)).position for _ in range(4))]
    source.close()
    kept = dict(list(office.mirror.tables["人员"].items())[: 7 * lost])
    office.mirror.tables["人员"] = kept
    again = office.source(watermark="", compare_every_s=0)
    again.open(positions[lost])
    news(again)

    assert office.mirrored() == office.rows()


def test_keys_that_the_source_calls_equal_are_told_apart(office):
    """A collation without case: the row with another spelling is another row, and the old one is gone."""
    office.database.execute("CREATE TABLE code (c TEXT COLLATE NOCASE PRIMARY KEY, n TEXT)")
    source = office.source(table="code", watermark="", compare_every_s=0)
    source.open("")
    for code in ("a", "B", "c", "D", "e", "F", "g", "H", "i", "J"):
        office.database.execute("INSERT INTO code VALUES (?, '一')", (code,))
    news(source)
    office.database.execute("UPDATE code SET c = 'A' WHERE c = 'a'")
    office.database.execute("UPDATE code SET c = 'h', n = '二' WHERE c = 'H'")
    news(source)

    assert (
        office.mirror.rows("code")
        == office.database.execute("SELECT * FROM code ORDER BY c COLLATE BINARY").fetchall()
    )


def test_a_row_that_changes_during_the_comparison_is_never_a_wrong_delete(office, monkeypatch):
    """A key looked missing and is back before it is told: the second question decides."""
    source = office.source()
    source.open("")
    for number in range(10):
        office.put(number, f"名{number}", number)
    news(source)
    office.database.execute("DELETE FROM 人员 WHERE 号 = 4")
    reader = type(source._opened.reader("人员"))
    looked = reader.present

    def and_then_it_is_back(self: Any, keys: list[bytes]) -> set[bytes]:
        found: set[bytes] = looked(self, keys)
        office.put(4, "名4", 4)
        return found

    monkeypatch.setattr(reader, "present", and_then_it_is_back)
    batches = news(source)

    assert [delta.deletes.count for batch in batches for delta in batch.deltas] == []
    assert office.mirrored() == office.rows()


def test_a_row_from_the_future_hides_nothing(tmp_path):
    """A date of 9999 must not carry the watermark past all changes until then."""
    office = Office(tmp_path / "future.db")
    office.database.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, at DATETIME)")
    source = office.source(table="log", watermark="at", **NEVER)
    source.open("")
    office.database.execute("INSERT INTO log VALUES (1, '9999-12-31 00:00:00')")
    news(source)
    office.database.execute("INSERT INTO log VALUES (2, datetime('now', 'localtime', '+1 second'))")
    news(source)

    assert [row[0] for row in office.mirror.rows("log")] == [1, 2]
    office.database.close()


def test_a_database_that_was_set_back_is_compared_at_once(office):
    """Its newest watermark is older than what was read: what it wrote since would be passed over."""
    source = office.source(compare_every_s=86_400)
    source.open("")
    office.put(1, "旧", 5)
    office.put(2, "新", 900)
    position = news(source)[-1].position
    source.close()
    office.database.execute("DELETE FROM 人员 WHERE 号 = 2")
    office.put(3, "后来", 6)
    again = office.source(compare_every_s=86_400)
    again.open(position)
    news(again)

    assert office.mirrored() == office.rows()


def test_added_columns_are_filled_by_a_comparison(office):
    """Their values came without a change of the watermark."""
    source = office.source(compare_every_s=86_400)
    source.open("")
    office.put(1, "王", 5)
    news(source)
    office.database.execute("ALTER TABLE 人员 ADD COLUMN 状态 TEXT DEFAULT '在册'")
    news(source)

    assert office.mirrored() == office.rows() == [(1, "户籍", "王", 5, "在册")]


@pytest.mark.parametrize(("overlap", "seen"), [(10, [1, 2]), (0, [2])])
def test_a_late_commit_is_found_within_the_overlap(postgres15, overlap, seen):
    """A transaction with a lower number that becomes visible after a higher one; without overlap it is missed."""
    database = postgres15.new_database("late")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE 单 (id int PRIMARY KEY, 改 bigint)")
        polled = settings(
            [{"table": "public.单", "watermark": "改", "overlap": overlap, **NEVER}],
            odbc=odbc_of(postgres15, database),
        )
        source = Followed(polled).begin()
        source.open("")
        with psycopg.connect(postgres15.dsn(database)) as late:
            late.execute("INSERT INTO 单 VALUES (1, 5)")
            admin.execute("INSERT INTO 单 VALUES (2, 9)")
            news(source)
        news(source)

        assert [row[0] for row in source.mirror.rows("单")] == seen
        source.close()
    postgres15.drop_database(database)
