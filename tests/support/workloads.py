"""Work that would show if anything were lost, repeated, reordered or torn. Seeded; every probe has a law of its own.

Each transaction also writes its number into ``events``, a table without a key: there a repeat cannot hide.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, Final

import psycopg

from tests.support.judge import Broken, Sight
from tests.support.reference import Row

ACCOUNTS: Final = 20
COUNTERS: Final = 8
KEYS: Final = 60
START_BALANCE: Final = 1000

SCHEMA: Final = """
CREATE TABLE events (client integer NOT NULL, n bigint NOT NULL, kind text NOT NULL);
CREATE TABLE bank (account integer PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE counter (id integer PRIMARY KEY, v bigint NOT NULL, steps bigint NOT NULL);
CREATE TABLE counter_history (id integer, step bigint, d integer NOT NULL, v bigint NOT NULL, PRIMARY KEY (id, step));
CREATE TABLE churn (place text, number integer, value text NOT NULL, PRIMARY KEY (number, place));
CREATE TABLE "宽表" (
    id integer PRIMARY KEY, "备注" text, big text, doc jsonb, raw json, amount numeric, price numeric(12, 2),
    photo bytea, ratio double precision, small real, flag boolean, born date, at time, stamp timestamp,
    stamped timestamptz, span interval, id_code uuid, tags text[], code char(6)
);
CREATE TABLE bulk (id bigint PRIMARY KEY, filler text NOT NULL);
CREATE TABLE scratch (id bigint PRIMARY KEY, v integer NOT NULL);
ALTER TABLE "宽表" ALTER big SET STORAGE EXTERNAL
"""
TABLES: Final = ("events", "bank", "counter", "counter_history", "churn", "宽表", "bulk", "scratch")
PLACES: Final = {name: f'"{name}"' for name in TABLES}
SETTINGS: Final[list[dict[str, Any]]] = [
    {"table": f"public.{name}", **({"append_only": True} if name == "events" else {})} for name in TABLES
]

Connection = psycopg.Connection[Any]


def connect(dsn: str) -> Connection:
    """A client's connection."""
    return psycopg.connect(dsn, autocommit=True, connect_timeout=5)


def create(connection: Connection) -> None:
    """The probes' tables, empty."""
    connection.execute(SCHEMA)


def fill(connection: Connection) -> None:
    """What the probes stand on; committed after the reference began to listen."""
    connection.execute(
        "INSERT INTO bank SELECT n, %s FROM generate_series(1, %s) n", (START_BALANCE, ACCOUNTS)
    )
    connection.execute("INSERT INTO counter SELECT n, 0, 0 FROM generate_series(1, %s) n", (COUNTERS,))
    connection.execute("INSERT INTO bulk SELECT -n, repeat('初', 20) FROM generate_series(1, 500) n")


def bank(connection: Connection, rng: random.Random, number: int) -> None:
    """Move money between a few accounts."""
    del number
    amount = rng.randrange(1, 50)
    accounts = sorted(rng.sample(range(1, ACCOUNTS + 1), rng.randrange(2, 5)))
    giver = rng.choice(accounts)
    for account in accounts:
        change = amount if account != giver else -amount * (len(accounts) - 1)
        connection.execute("UPDATE bank SET balance = balance + %s WHERE account = %s", (change, account))


def counter(connection: Connection, rng: random.Random, number: int) -> None:
    """Add to a counter and write down how much: an update applied twice no longer fits its history."""
    del number
    change = rng.randrange(-9, 10)
    row = connection.execute(
        "UPDATE counter SET v = v + %s, steps = steps + 1 WHERE id = %s RETURNING id, steps, v",
        (change, rng.randrange(1, COUNTERS + 1)),
    ).fetchone()
    assert row is not None
    connection.execute(
        "INSERT INTO counter_history VALUES (%s, %s, %s, %s)", (row[0], row[1], change, row[2])
    )


def churn(connection: Connection, rng: random.Random, number: int) -> None:
    """Insert, delete, insert again, change keys, swap two keys, chains of updates: all on few keys."""
    for _ in range(rng.randrange(1, 5)):
        one, other = rng.sample(range(KEYS), 2)
        act = rng.randrange(5)
        if act == 0:
            _put(connection, one, f"{number}-甲")
        elif act == 1:
            connection.execute("DELETE FROM churn WHERE number = %s", (one,))
        elif act == 2:
            connection.execute("DELETE FROM churn WHERE number = %s", (one,))
            _put(connection, one, f"{number}-again")
        elif act == 3:
            connection.execute("DELETE FROM churn WHERE number = %s", (other,))
            connection.execute("UPDATE churn SET number = %s WHERE number = %s", (other, one))
        else:
            for old, new in ((one, -1 - number), (other, one), (-1 - number, other)):
                connection.execute("UPDATE churn SET number = %s WHERE number = %s", (new, old))


def _put(connection: Connection, number: int, value: str) -> None:
    connection.execute(
        "INSERT INTO churn VALUES ('区', %s, %s) ON CONFLICT (number, place) DO UPDATE SET value = churn.value || '·'",
        (number, value),
    )


def wide(connection: Connection, rng: random.Random, number: int) -> None:
    """Every type, edge values, and updates that leave the large value untouched."""
    id_ = rng.randrange(20)
    done = connection.execute(
        'UPDATE "宽表" SET "备注" = %s, amount = %s, price = price + 0.01 WHERE id = %s',
        (f"第{number}次修改", rng.choice(_AMOUNTS), id_),
    )
    if done.rowcount == 0 or rng.random() < 0.2:
        connection.execute('DELETE FROM "宽表" WHERE id = %s', (id_,))
        connection.execute(f'INSERT INTO "宽表" VALUES ({", ".join(["%s"] * 19)})', (id_, *_wide_row(rng)))


_AMOUNTS: Final = ("0", "-0.000000001", "123456789012345678901234567890.123456789", "NaN", "1e-30", None)
_STAMPS: Final = (
    "1999-12-31 23:59:59.999999",
    "0044-03-15 12:00:00 BC",
    "infinity",
    "2024-02-29 00:00:00",
    None,
)


def _wide_row(rng: random.Random) -> tuple[Any, ...]:
    doc = {"民族": rng.choice("汉回藏"), "n": rng.randrange(10**9), "列表": [None, True, 1.5, "引'号\\"]}
    return (
        rng.choice(("𠮷田", "o'b\\ri\ten\n", "", None)),
        "".join(rng.choices("长文本 abc'\\", k=rng.randrange(10_000, 30_000))),
        json.dumps(doc),
        json.dumps(doc, indent=1),
        rng.choice(_AMOUNTS),
        rng.choice(("0.00", "8999999999.99", "-12.34")),
        rng.randbytes(rng.randrange(200)),
        rng.choice((0.1, 1e308, -0.0, 5e-324, 1 / 3)),
        rng.choice((0.1, 3.5, -1e30)),
        rng.choice((True, False, None)),
        rng.choice(("1900-01-01", "9999-12-31", None)),
        rng.choice(("23:59:59.999999", "00:00:00")),
        rng.choice(_STAMPS),
        rng.choice(_STAMPS),
        rng.choice(("1 year 2 mons -3 days 04:05:06.789", "-00:00:00.000001", "0")),
        f"{rng.getrandbits(128):032x}",
        rng.choice((["a", "乙"], [], None)),
        rng.choice(("abc", "", None)),
    )


def bulk(connection: Connection, rng: random.Random, number: int) -> None:
    """Thousands of rows in one transaction, some of them rolled back to a savepoint."""
    start, size = number * 10_000, rng.randrange(500, 3000)
    insert = "INSERT INTO bulk SELECT n, repeat('批', 20) || n FROM generate_series(%s::bigint, %s::bigint) n"
    connection.execute("DELETE FROM bulk WHERE id IN (SELECT id FROM bulk ORDER BY id LIMIT %s)", (2 * size,))
    connection.execute(insert, (start, start + size))
    connection.execute("SAVEPOINT half")
    connection.execute(insert, (start + 5000, start + 5000 + size))
    if rng.random() < 0.7:
        connection.execute("ROLLBACK TO half")
    connection.execute(
        "UPDATE bulk SET filler = filler || '改' WHERE id BETWEEN %s AND %s", (start, start + 100)
    )


def scratch(connection: Connection, rng: random.Random, number: int) -> None:
    """A table that is emptied now and then, with rows before and after in the same transaction."""
    connection.execute("INSERT INTO scratch VALUES (%s, 1)", (number * 10,))
    if rng.random() < 0.2:
        connection.execute("TRUNCATE scratch")
    connection.execute("INSERT INTO scratch SELECT %s + n, n FROM generate_series(1, 3) n", (number * 10,))


Probe = Callable[[Connection, random.Random, int], None]
WEIGHTS: Final[dict[Probe, int]] = {bank: 30, counter: 30, churn: 20, wide: 8, scratch: 6, bulk: 1}


class Undone(Exception):
    """The transaction is rolled back on purpose."""


@dataclass(slots=True)
class Client:
    """One connection at the source that works until told to stop, through every restart of the server."""

    dsn: str
    name: int
    seed: int
    per_s: float = 100.0
    acknowledged: list[int] = field(default_factory=list)
    aborted: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    error: BaseException | None = None
    _stop: Event = field(default_factory=Event)
    _number: int = 0

    def work(self) -> None:
        """Commit one transaction after the other."""
        rng = random.Random(f"{self.seed}/{self.name}")
        try:
            while not self._stop.is_set():
                try:
                    with connect(self.dsn) as connection:
                        self._session(connection, rng)
                except psycopg.OperationalError:
                    self._stop.wait(0.1)
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        """No further transaction."""
        self._stop.set()

    def _session(self, connection: Connection, rng: random.Random) -> None:
        while not self._stop.wait(rng.expovariate(self.per_s)):
            self._number += 1
            self.transact(connection, rng, self.name * 1_000_000 + self._number)

    def transact(self, connection: Connection, rng: random.Random, number: int) -> None:
        """One transaction, and what became of it."""
        probe = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        try:
            with connection.transaction():
                connection.execute(
                    "INSERT INTO events VALUES (%s, %s, %s)", (self.name, number, probe.__name__)
                )
                probe(connection, rng, number)
                if rng.random() < 0.15:
                    raise Undone
        except (Undone, psycopg.errors.IntegrityError, psycopg.errors.DeadlockDetected):
            self.aborted.append(number)
        except psycopg.OperationalError:
            self.unknown.append(number)
            raise
        else:
            self.acknowledged.append(number)


class Workload:
    """Several clients at once; use it as a context manager around what is to be proved."""

    def __init__(self, dsn: str, seed: int, names: Sequence[int], per_s: float = 80.0) -> None:
        self.clients = [Client(dsn, name, seed, per_s / len(names)) for name in names]
        self._threads = [
            Thread(target=client.work, name=f"client-{client.name}", daemon=True) for client in self.clients
        ]

    def __enter__(self) -> Workload:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all clients after their current transaction; raises what one of them died of."""
        for client in self.clients:
            client.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for client in self.clients:
            if client.error is not None:
                raise client.error

    @property
    def acknowledged(self) -> list[int]:
        """Numbers whose commit the server confirmed."""
        return [number for client in self.clients for number in client.acknowledged]

    @property
    def aborted(self) -> list[int]:
        """Numbers that were rolled back for certain."""
        return [number for client in self.clients for number in client.aborted]


def check_laws(sight: Sight) -> None:
    """What must hold in any snapshot whatsoever, without knowing the history."""
    _check_bank(sight.tables["bank"])
    _check_counters(sight.tables["counter"], sight.tables["counter_history"])


def _check_bank(rows: Iterable[Row]) -> None:
    balances = [_int(row[1]) for row in rows]
    if sum(balances) != START_BALANCE * ACCOUNTS:
        raise Broken(f"prefix: the bank holds {sum(balances)} in {len(balances)} accounts")


def _check_counters(counters: Iterable[Row], history: Iterable[Row]) -> None:
    sums: Counter[int] = Counter()
    steps: Counter[int] = Counter()
    for id_, _, change, _ in history:
        sums[_int(id_)] += _int(change)
        steps[_int(id_)] += 1
    wrong = [row for row in counters if (sums[_int(row[0])], steps[_int(row[0])]) != (row[1], row[2])]
    if wrong:
        raise Broken(f"once: counters and their history disagree: {wrong}")


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def tables_of(sight: Sight) -> Mapping[str, int]:
    """Row counts, for reports."""
    return {name: len(rows) for name, rows in sight.tables.items()}
