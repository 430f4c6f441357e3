"""How little polling disturbs, what it says when it may not or cannot, and what check finds beforehand."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.sources.polling.settings import is_open
from agent.sources.polling.source import PollingSource
from agent.sources.source import Finding, Limits, NoMirror
from proto.errors import Credential, Refused, SchemaHold, Transient
from tests.support.polling import Followed, news, odbc_of, settings


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file with three hundred rows."""
    path = tmp_path / "business.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, 名 TEXT, w INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, '王', ?)", [(n, n) for n in range(300)])
    yield path


def polled(path: Path, **rest: Any) -> Followed:
    """A source over it."""
    return Followed(settings([{"table": "t"}], url=f"sqlite:///{path}", **rest)).begin()


def named(findings: list[Finding]) -> dict[str, Finding]:
    """By name."""
    return {finding.name: finding for finding in findings}


def test_rows_per_second_are_kept(file):
    """Copy and comparison alike; the first second's worth may come at once."""
    source = polled(file, load={"rows_per_s": 100, "page_rows": 20})
    source.open("")
    source.start_copy("t", b"")
    started_s, copied = time.monotonic(), 0
    while copied < 200:
        assert source.read(Limits(wait_s=5)) is None
        copied += sum(page.frames.count for page in source.pages())

    assert 0.7 < time.monotonic() - started_s < 4
    source.close()


def test_outside_its_hours_nothing_is_read(file):
    """It says so, and when it goes on; a waiting read still ends."""
    now = datetime.now().astimezone()
    window = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    source = polled(file, load={"windows": [window]})
    source.open("")
    source.start_copy("t", b"")

    assert source.read(Limits(wait_s=0.1)) is None
    assert list(source.pages()) == []
    assert window in source.resting()
    assert window[:5] in source.resting().partition("goes on")[2]
    assert source.proof() is None
    source.close()


@pytest.mark.parametrize(
    ("window", "clock", "open_then"),
    [
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "18:00", False),
        ("22:00-06:00", "23:59", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
    ],
)
def test_a_window_may_go_over_midnight(window, clock, open_then):
    """Its end is outside."""
    assert is_open((window,), datetime.fromisoformat(f"2024-01-02T{clock}")) is open_then


@pytest.mark.parametrize("by", ["odbc", "url"])
def test_a_statement_that_takes_too_long_is_tried_again(postgres15, by):
    """The server ends it, and what it says names the remedies."""
    database = postgres15.new_database("slow")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE base (id int PRIMARY KEY)")
        admin.execute("INSERT INTO base VALUES (1)")
        admin.execute("CREATE VIEW slow AS SELECT id, pg_sleep(20) IS NULL AS x FROM base")
    url = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{database}"
    address = {"odbc": odbc_of(postgres15, database)} if by == "odbc" else {"url": url}
    table = {"table": "public.slow", "key": ["id"]}
    source = Followed(settings([table], load={"statement_timeout_s": 1}, **address)).begin()
    source.open("")
    started_s = time.monotonic()

    with pytest.raises(Transient, match="took longer"):
        news(source)
    assert time.monotonic() - started_s < 10
    source.close()
    postgres15.drop_database(database)


def test_a_server_that_hangs_up_is_tried_again(postgres15):
    """Any word of it ends the session; the next one goes on from the position."""
    database = postgres15.new_database("gone")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE t (id int PRIMARY KEY)")
        source = Followed(settings([{"table": "public.t"}], odbc=odbc_of(postgres15, database))).begin()
        source.open("")
        who = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
        )
        admin.execute(f"{who} AND pid <> pg_backend_pid()".encode())
        with pytest.raises(Transient):
            news(source)
        source.close()
    postgres15.drop_database(database)


def test_a_driver_that_is_not_installed_is_named_with_its_package():
    """And those that are."""
    source = PollingSource(settings([{"table": "t"}], odbc="Driver={MySQL ODBC 9};Server=x"), NoMirror())

    with pytest.raises(Refused, match="apt-get install odbc-mariadb") as refused:
        source.schemas()
    assert "PostgreSQL Unicode" in str(refused.value)


def test_without_a_driver_manager_its_package_is_named(tmp_path):
    """pyodbc cannot even be imported then."""
    (tmp_path / "pyodbc.py").write_text("raise ImportError('libodbc.so.2: cannot open shared object file')")
    program = (
        "from agent.sources.kinds import new_source; from agent.sources.source import NoMirror; "
        "from tests.support.polling import settings; "
        "print(new_source(settings([{'table': 't'}], odbc='Driver=x'), NoMirror()).check())"
    )
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout

    assert "apt-get install libodbc2" in said


def test_a_refused_password_is_no_passing_trouble(mariadb, mariadb_database):
    """Asking again and again would lock the account."""
    url = mariadb.url(mariadb_database).replace("://", "://nobody:geheim@").replace("root@", "")
    source = PollingSource(settings([{"table": "t"}], url=url), NoMirror())

    with pytest.raises(Credential):
        source.open("")
    assert "geheim" not in str(source.check())


def test_a_table_that_is_not_there_is_held(file):
    """With what mends it; the others go on."""
    tables: list[dict[str, Any]] = [
        {"table": "absent"},
        {"table": "t", "watermark": "名"},
        {"table": "t2", "columns": ["x"]},
    ]
    source = Followed(settings(tables, url=f"sqlite:///{file}")).begin()
    source.open("")
    holds: list[Any] = source.holds()

    assert [(type(hold), hold.table) for hold in holds] == [
        (SchemaHold, "absent"),
        (SchemaHold, "t"),
        (SchemaHold, "t2"),
    ]
    assert "correct 'table'" in holds[0].fix
    source.close()


def test_check_names_what_is_missing_and_what_it_costs(postgres15):
    """Index, NULLs, key, rights, deletes, and how long one comparison takes; an account that could write fails (SD40.3)."""
    database = postgres15.new_database("check")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE 好 (id int PRIMARY KEY, at timestamptz NOT NULL)")
        admin.execute("CREATE INDEX ON 好 (at)")
        admin.execute("INSERT INTO 好 SELECT n, now() FROM generate_series(1, 5000) n")
        admin.execute("CREATE TABLE bad (id int, at timestamp)")
        admin.execute("INSERT INTO bad VALUES (1, NULL)")
        admin.execute("ANALYZE")
        admin.execute("CREATE ROLE polling_reader LOGIN")
        admin.execute("GRANT SELECT ON 好 TO polling_reader")
        tables: list[dict[str, Any]] = [
            {"table": "public.好", "watermark": "at", "compare_every_s": 3600},
            {"table": "public.bad", "key": ["id"], "watermark": "at", "compare_every_s": None},
        ]
        as_reader = odbc_of(postgres15, database).replace("UID=postgres", "UID=polling_reader")
        mine = named(PollingSource(settings(tables, odbc=odbc_of(postgres15, database)), NoMirror()).check())
        load = {"rows_per_s": 100}
        least = named(PollingSource(settings(tables[:1], odbc=as_reader, load=load), NoMirror()).check())
    postgres15.drop_database(database)
    with postgres15.connect() as admin:
        admin.execute("DROP ROLE polling_reader")

    assert [finding.name for finding in least.values() if not finding.passed or finding.fix] == []
    assert "not written" in least["好: rights"].sentence
    assert "about 5000 rows" in least["好: load"].sentence
    assert "every 1 hours" in least["好: deletes"].sentence
    assert not mine["bad: rights"].passed and "owns nothing" in mine["bad: rights"].fix
    assert not mine["bad: key"].passed
    assert "CREATE INDEX" in mine["bad: watermark"].fix
    assert "NULL in some rows" in mine["bad: watermark NULL"].sentence
    assert "never seen" in mine["bad: deletes"].sentence


def test_memory_stays_flat(postgres15):
    """A table of half a million rows is scanned by the driver's cursor; a child's own memory is looked at."""
    database = postgres15.new_database("large")
    with postgres15.connect(database) as admin:
        admin.execute("CREATE TABLE t (id int PRIMARY KEY, n text)")
        admin.execute("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 500000) n")
    program = (
        "import resource; from agent.sources.polling.source import PollingSource; "
        "from agent.sources.source import NoMirror; from tests.support.polling import settings; "
        f"s = PollingSource(settings([{{'table': 'public.t'}}], odbc={odbc_of(postgres15, database)!r}, "
        "load={'page_rows': 2000}), NoMirror()); s.schemas(); pages = s.scan('t'); "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; rows = sum(p.count for p in pages); "
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    rows, grown_kib = map(int, said.split())
    postgres15.drop_database(database)

    assert rows == 500_000
    assert grown_kib < 20 * 1024
