"""How long people wait at the desk: list pages, explanations, one query, and the judging of one grant.

python -m tests.bench.sharing [--entries N] [--grants N] [--only sqlite|postgres15|postgres18]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine, insert

from central.catalogue.entry import Entry
from central.sharing.permits import permit
from central.store import migrate, open_store, reading, writing
from central.store.catalogue import ENTRIES, RELEASED, RELEASES
from central.store.grants import GRANT_HISTORY, GRANTS
from central.store.sharing import REQUESTS, STEPS
from tests.support.postgres import Cluster
from tests.support.shares import entry_of
from tests.support.sharing import DAY_US, Town, build_town

TIMES: Final = 20
JUDGED: Final = 2000
CHUNK: Final = 5000
PAGE_MS, JUDGE_MS = 200, 1


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--grants", type=int, default=5_000)
    parser.add_argument("--only", choices=["sqlite", "postgres15", "postgres18"], default="postgres15")
    options = parser.parse_args()
    print(f"{options.only}: {options.entries:,} entries, {options.grants:,} requests and grants")
    with engine_of(options.only) as engine:
        migrate(engine)
        town = build_town(engine)
        numbers = fill(town, options.entries, options.grants)
        measure(town, numbers)


@contextmanager
def engine_of(name: str) -> Iterator[Engine]:
    """A fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            yield open_store(f"sqlite:///{folder}/bench.db")
            return
        with Cluster(int(name.removeprefix("postgres")), fsync=True) as cluster:
            engine = open_store(cluster.url(cluster.new_database("bench")))
            yield engine
            engine.dispose()


def fill(town: Town, entries: int, grants: int) -> list[str]:
    """A catalogue in force, and requests and grants of its first resources; returns the grants."""
    codes = [f"4{n // 1000:05d}/{n:06d}" for n in range(entries)]
    numbers = [f"G2025-{n:05d}" for n in range(grants)]
    live = town.granted(town.entry())
    found, now = town.permit(live), town.now()
    fill_catalogue(town, codes, now)
    fill_requests(town, codes[:grants], now)
    made = [grant(town, (n, each, codes[n]), found, now) for n, each in enumerate(numbers)]
    many(town, GRANTS, made)
    many(town, GRANT_HISTORY, [history(found, each, now) for each in numbers])
    if town.engine.dialect.name == "postgresql":
        with town.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    return [live, *numbers]


def fill_catalogue(town: Town, codes: list[str], now: int) -> None:
    """Entries of five items each, of four providers, all in one release."""
    release = {"at_us": now, "who": "bench", "note": "", "document": b"{}", "signature": b""}
    many(town, RELEASES, [{"release": 1_000, **release}])
    providers = list(town.codes.values())
    made = [
        entry_of(code, town.stream, "person", ("id", "name", "region", "born", "married")) for code in codes
    ]
    rows = [row(each, providers[n % 4], now) for n, each in enumerate(made)]
    many(town, ENTRIES, rows)
    many(town, RELEASED, [{"code": code, "since_release": 1_000, "version": 1} for code in codes])


def row(entry: Entry, provider: str, now: int) -> dict[str, Any]:
    """A version of an entry."""
    shown = entry.model_copy(update={"provider": provider})
    fields = {"code": entry.code, "version": 1, "state": "published", "provider": provider}
    fields |= {"name": entry.name, "share_type": "unconditional", "stream": "", "table_name": "person"}
    fields |= {"registrar": "a", "created_us": now, "changed_us": now}
    return {**fields, "document": shown.model_dump_json()}


def fill_requests(town: Town, codes: list[str], now: int) -> None:
    """Requests that wait for the provider, each with an open step."""
    asked = '{"asked":{"business":"b","users":["u"],"items":["id"],"mode":"exchange","until":"2027-06-30","purpose":"p"}}'
    waiting, steps = [], []
    for n, code in enumerate(codes):
        number = f"R2025-{n:05d}"
        fields = {"request": number, "n": n, "state": "waiting", "kind": "ordinary", "resource": code}
        fields |= {"consumer": town.name("civil"), "department": town.codes["civil"], "entry_version": 1}
        fields |= {"release": 1, "provider": town.codes["police"], "mode": "exchange", "document": asked}
        waiting.append({**fields, "created_by": "x", "created_us": now + n, "changed_us": now})
        step = {"request": number, "n": 1, "kind": "answer", "role": "resource_admin"}
        step |= {"department": town.codes["police"], "since_us": now, "due_us": now + n * 1_000_000}
        steps.append(step)
    many(town, REQUESTS, waiting)
    many(town, STEPS, steps)


def grant(town: Town, which: tuple[int, str, str], found: Any, now: int) -> dict[str, Any]:
    """A grant like *found*."""
    n, number, code = which
    ends = {"valid_from_us": now, "valid_to_us": now + (n % 400) * DAY_US + DAY_US}
    fields = {"grant_id": number, "version": 1, "state": "active", "consumer": town.name("civil")}
    fields |= {"department": town.codes["civil"], "resource": code, "entry_version": 1, "release": 1}
    fields |= {"stream": town.stream, "table_name": "person", "mode": "exchange", "secret": b"k" * 32}
    fields |= {"provider": town.codes["police"] if n % 4 == 0 else town.codes["health"]}
    return {
        **fields,
        "terms": found.terms.model_dump_json(),
        "created_us": now + n,
        "changed_us": now,
        **ends,
    }


def history(found: Any, number: str, now: int) -> dict[str, Any]:
    """The first line of its history."""
    said = {
        "grant_id": number,
        "n": 1,
        "version": 1,
        "at_us": now,
        "state": "active",
        "who": "x",
        "reason": "",
    }
    return {**said, "terms": found.terms.model_dump_json(), "valid_from_us": now, "valid_to_us": now}


def many(town: Town, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert in chunks, each a transaction: none is open while rows are made."""
    for start in range(0, len(rows), CHUNK):
        with writing(town.engine) as connection:
            connection.execute(insert(table), rows[start : start + CHUNK])


def measure(town: Town, numbers: list[str]) -> None:
    """Every page of the room, the middle and the slowest of twenty."""
    node, middle = town.name("civil"), numbers[len(numbers) // 2]
    last = town.do("data-li", "share.requests", most=200)["next"]
    code = town.do("data-li", "grant.show", grant=middle)["resource"]
    pages: dict[str, Callable[[], Any]] = {
        "share.requests, all": lambda: town.do("data-li", "share.requests", most=200),
        "share.requests, a later page": lambda: town.do("data-li", "share.requests", most=200, after=last),
        "share.requests, a provider's": lambda: town.do("police-admin", "share.requests"),
        "share.inbox, a provider's": lambda: town.do("police-admin", "share.inbox", most=200),
        "share.inbox, the authority's": lambda: town.do("data-li", "share.inbox", most=200),
        "grant.list, all": lambda: town.do("data-li", "grant.list", most=200),
        "grant.list, a later page": lambda: town.do("data-li", "grant.list", most=200, after=middle),
        "grant.list, a provider's": lambda: town.do("police-admin", "grant.list", most=200),
        "grant.list, ends within 30 days": lambda: town.do("data-li", "grant.list", ends_within_days=30),
        "grant.history": lambda: town.do("data-li", "grant.history", grant=middle),
        "share.explain": lambda: town.do("data-li", "share.explain", consumer=node, resource=code),
        "share.vacancies": lambda: town.do("data-li", "share.vacancies"),
    }
    for name, act in pages.items():
        show(name, [timed(act) for _ in range(TIMES)], PAGE_MS)
    key = {"id": "370102199001011234"}
    asked = {"grant": numbers[0], "purpose": "核对", "key": key}
    show(
        "share.query by key, on record",
        [timed(lambda: town.do("civil-clerk", "share.query", **asked)) for _ in range(TIMES)],
    )
    show("permit and refusal", list(judged(town, numbers)), JUDGE_MS)


def judged(town: Town, numbers: list[str]) -> Iterator[float]:
    """One grant after another, each in the transaction that would use it."""
    with reading(town.engine) as connection:
        for n in range(JUDGED):
            began = time.perf_counter()
            permit(connection, numbers[n * 7 % len(numbers)]).refusal(1)
            yield (time.perf_counter() - began) * 1000


def timed(act: Callable[[], Any]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def show(name: str, took_ms: list[float], goal_ms: float | None = None) -> None:
    """One line."""
    goal = f"   goal ≤ {goal_ms} ms" if goal_ms else ""
    print(f"{name:34} median {statistics.median(took_ms):8.2f} ms   slowest {max(took_ms):8.2f} ms{goal}")


if __name__ == "__main__":
    main()
