"""What a large catalogue costs: every page that people or nodes ask for, on 50,000 entries in PostgreSQL.

python -m tests.bench.catalogue [--entries 50000]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from central.catalogue.published import newest_release, published
from central.store import migrate, open_store, reading
from tests.support.bureaucracy import PERSON, Bureaucracy
from tests.support.postgres import Cluster
from tests.support.stores import Store

GOAL_MS: Final = 200
TIMES: Final = 15
AT_ONCE: Final = 250
COLUMNS: Final = ("id_no", "name", "born", *(f"c{n}" for n in range(9)))


def main() -> None:
    """Fill a catalogue through the same verbs as people, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster(18, fsync=True) as cluster:
        url = cluster.url(cluster.new_database("central"))
        engine = open_store(url)
        migrate(engine)
        people = Bureaucracy(Store(url, engine), Path(folder))
        _fill(people, asked.entries)
        _measure(people, asked.entries)
        engine.dispose()


def _fill(people: Bureaucracy, entries: int) -> None:
    people.apply_tables(PERSON)
    begin_s = time.monotonic()
    for start in range(0, entries, AT_ONCE):
        rows = [
            {"row": n, "entry": people.entry(n, columns=COLUMNS).model_dump(mode="json")}
            for n in range(start, min(start + AT_ONCE, entries))
        ]
        people.do("import", "li-na", rows=rows)
    print(f"import      {entries / (time.monotonic() - begin_s):>9,.0f} entries/s")
    # What 50,000 audits would leave behind, at once: this is about reading.
    with people.store.engine.begin() as connection:
        connection.execute(text("UPDATE exchange_central.central_catalogue_entries SET state = 'published'"))
    begin_s = time.monotonic()
    people.release()
    print(f"release     {time.monotonic() - begin_s:>9.1f} s")
    with people.store.engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    begin_s = time.monotonic()
    people.release()
    print(f"release, as before {time.monotonic() - begin_s:>4.1f} s")


def _measure(people: Bureaucracy, entries: int) -> None:
    with people.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
    engine, middle = people.store.engine, people.entry(entries // 2).code

    def asked(verb: str, person: str, **arguments: Any) -> Callable[[], Any]:
        return lambda: people.do(verb, person, **arguments)

    def read(what: Callable[[Any], Any]) -> Callable[[], Any]:
        def run() -> None:
            with reading(engine) as connection:
                what(connection)

        return run

    page = {"after": middle}
    _time("list, first page", asked("list", "chen-jie"))
    _time("list, middle page", asked("list", "chen-jie", **page))
    _time("list, last page", asked("list", "chen-jie", after=people.entry(entries - 2).code))
    _time("list, of a provider", asked("list", "chen-jie", provider=people.police, **page))
    _time("list, by a word", asked("list", "chen-jie", text=f"号{entries // 2}"))
    _time("list, nothing found", asked("list", "chen-jie", text="没有这样的资源"))
    _time("drafts, own", asked("drafts", "li-na", **page))
    _time("drafts, of a state", asked("drafts", "liu-yang", state="released", **page))
    _time("drafts, none of a state", asked("drafts", "liu-yang", state="submitted"))
    _time("show", asked("show", "chen-jie", code=middle))
    _time("history", asked("history", "chen-jie", code=middle))
    _time("departments", asked("departments", "liu-yang"))
    _time("check, one page (50)", asked("check", "wu-di", **page))
    _time("check, one entry", asked("check", "wu-di", code=middle))
    _time("diff, one page (100)", asked("diff", "chen-jie", first=0, second=1))
    _time("release lines (200)", asked("release_lines", "chen-jie", **page))
    _time("published(code)", read(lambda connection: published(connection, middle)))
    _time("newest_release()", read(newest_release))
    _time("dcat, one page (50)", asked("dcat", "wu-di", **page))


def _time(what: str, run: Callable[[], Any]) -> None:
    run()
    took = []
    for _ in range(TIMES):
        begin_s = time.monotonic()
        run()
        took.append((time.monotonic() - begin_s) * 1000)
    worst = max(took)
    mark = "" if worst <= GOAL_MS else f"  over {GOAL_MS} ms"
    print(f"{what:<26}{statistics.median(took):>8.1f} ms, worst {worst:>8.1f} ms{mark}")


if __name__ == "__main__":
    main()
