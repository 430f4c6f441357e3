"""How long "who received item X of key Y" takes on a long log: a generated one, asked about a key in many deliveries,
in one, and in none.

python -m tests.bench.received [--deliveries N] [--rows ROWS] [--grants N] [--only sqlite|postgres15|postgres18]

Records and traces are written straight into the tables, in the form in which delivery writes them; the records are not
chained, which nothing here looks at.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any, Final

from sqlalchemy import Engine, insert, text

from central.desk import VERBS, Desk
from central.people import Actor, Role
from central.policy import profile_named
from central.sharing.traces import Form, Tracer, fact, keep_form
from central.store import migrate, now_us, reading, writing
from central.store.grants import GRANT_HISTORY
from central.store.tables import AUDIT_HEADS
from tests.bench.sharing import engine_of
from tests.support.granting import PERSON
from tests.support.shares import DAY_US, entry_of, grant_directly, put_in_force

CHUNK: Final = 250_000
DAYS: Final = 180
OFTEN, ONCE, NEVER = "1", "2", "3"
OFTEN_EVERY: Final = 100_000
SECRET: Final = b"k" * 32
_NUMBERS: Final = (
    "WITH RECURSIVE s(n) AS (SELECT CAST(:first AS bigint) UNION ALL SELECT n + 1 FROM s WHERE n < :last)"
)
_FACTS: Final = (
    '{"digest":"' + "ab" * 32 + '","first_source":4711,"generation":1,"grant":"%s","last_source":4711,'
    '"purpose":"核对救助申请人","receipt":"civil-node-000004711","release":12,"resource":"3070101/000001",'
    '"rows":%d,"seq":4711,"traces":"%s","version":1}'
)


def main() -> None:
    """Fill and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--grants", type=int, default=10)
    parser.add_argument("--only", choices=["sqlite", "postgres15", "postgres18"], default="postgres18")
    options = parser.parse_args()
    with engine_of(options.only) as engine:
        migrate(engine)
        began_s = time.perf_counter()
        code, since_us = fill(engine, options)
        filled_s = time.perf_counter() - began_s
        print(
            f"{options.only}: {options.deliveries:,} deliveries of {options.rows} rows, filled in {filled_s:.0f} s"
        )
        for label, key in (("in many", OFTEN), ("in one", ONCE), ("in none", NEVER)):
            ask(engine, code, since_us, (label, key))


def fill(engine: Engine, options: argparse.Namespace) -> tuple[str, int]:
    """Grants of one resource with their deliveries, spread over half a year; returns its code and when that began."""
    entry = entry_of("3070101/000001", "police/hr", PERSON.name, [column.name for column in PERSON.columns])
    each = options.deliveries // options.grants
    with writing(engine) as connection:
        since_us = now_us(connection) - DAYS * DAY_US
        put_in_force(connection, entry)
        for number in range(options.grants):
            grant_directly(connection, f"G{number:03}", f"civil-{number:03}", entry, {})
        connection.execute(GRANT_HISTORY.update().values(at_us=since_us))
    for number in range(options.grants):
        _fill_grant(engine, (f"G{number:03}", f"delivery:civil-{number:03}"), since_us, (each, options.rows))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return entry.code, since_us


def _fill_grant(engine: Engine, where: tuple[str, str], since_us: int, size: tuple[int, int]) -> None:
    (grant, chain), (deliveries, rows) = where, size
    form = Form.of(PERSON, {})
    often, once = (_trace(form, key) for key in (OFTEN, ONCE))
    pool = os.urandom(8 * (rows + 100_000))
    table = "" if engine.dialect.name == "sqlite" else "exchange_central."
    said: dict[str, Any] = {
        "grant": grant,
        "chain": chain,
        "since": since_us,
        "form": form.number,
        "rows": rows,
    }
    said |= {"step": DAYS * DAY_US // deliveries, "pool": pool, "size": 8 * rows, "digest": b"d" * 32}
    records = (
        f"INSERT INTO {table}central_audit (chain, n, at_us, event, facts, digest) {_NUMBERS} "
        "SELECT :chain, n, :since + n * :step, 'delivered', :facts, :digest FROM s"
    )
    traces = (
        f"INSERT INTO {table}central_traces (grant_id, at_us, n, chain, form, rows, traced, digests) {_NUMBERS} "
        "SELECT :grant, :since + n * :step, n, :chain, :form, :rows, :rows, "
        "substr(:pool, CAST(1 + 8 * (n % 100000) AS integer), CAST(:size AS integer)) FROM s"
    )
    with writing(engine) as connection:
        keep_form(connection, grant, form)
        connection.execute(insert(AUDIT_HEADS), {"chain": chain, "n": deliveries, "digest": b"d" * 32})
    places = dict.fromkeys(range(OFTEN_EVERY, deliveries + 1, OFTEN_EVERY), often) | {deliveries // 2: once}
    start = 1
    for stop in [*sorted(places), deliveries + 1]:
        for first in range(start, stop, CHUNK):
            some = {**said, "first": first, "last": min(first + CHUNK, stop) - 1}
            with writing(engine) as connection:
                connection.execute(text(records), {**some, "facts": _FACTS % (grant, rows, "0" * 32)})
                connection.execute(text(traces), some)
        if stop <= deliveries:
            brought = pool[: 8 * rows - 8] + places[stop]
            one = {**said, "first": stop, "last": stop, "pool": bytes(8 * (stop % 100_000)) + brought}
            with writing(engine) as connection:
                connection.execute(text(records), {**one, "facts": _FACTS % (grant, rows, fact(brought))})
                connection.execute(text(traces), one)
        start = stop + 1


def _trace(form: Form, key: str) -> bytes:
    frame = form.key({"id": key}, SECRET)
    assert frame is not None
    return Tracer(form, SECRET).keys([frame])


def ask(engine: Engine, code: str, since_us: int, what: tuple[str, str]) -> None:
    """The whole question, as the command asks it."""
    profile = profile_named()
    auditor = Actor("he-shen", "何审", "", frozenset({Role.AUDIT_ADMIN}), "bench")
    desk = Desk(engine, profile, None, VERBS)
    with reading(engine) as connection:
        until = profile.calendar.day_of(now_us(connection) + DAY_US)
    asked = {"resource": code, "item": "name", "key": {"id": what[1]}, "reason": "测量", "until": str(until)}
    asked["since"] = str(profile.calendar.day_of(since_us))
    times, hits, looked, after = [], 0, 0, ""
    while True:
        began_s = time.perf_counter()
        answer = desk.do("audit.received", {**asked, "after": after}, lambda _: auditor)
        times.append(time.perf_counter() - began_s)
        hits += sum(each["times"] for each in answer["grants"])
        looked += sum(each["searched"]["deliveries"] for each in answer["grants"])
        if not (after := answer["next"]):
            break
    print(
        f"  {what[0]:8} {sum(times):6.2f} s for {looked:,} deliveries, found in {hits}; "
        f"{len(times)} questions, the longest {max(times):.2f} s"
    )


if __name__ == "__main__":
    main()
