"""From one department's business database into another's exchange database: agent, central, agent, as real processes."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, select, text

from central.delivery.recalls import recall
from central.ledger import shape_of
from central.store import open_store, writing
from central.store.deliveries import RECALLS
from demo.system import System
from proto.channel import TlsFiles
from tests.support.central import eventually
from tests.support.department_process import ReceivingAgent
from tests.support.parcels import CONSUMER
from tests.support.postgres import Cluster
from tests.support.shares import change_grant, entry_of, grant_directly, put_in_force

GRANT = "G-1"
ROOM = "from_population_hr"
TABLES = """
CREATE TABLE person (id bigint PRIMARY KEY, name text, phone text, area text);
CREATE TABLE visit (at timestamptz, what text);
INSERT INTO person SELECT n, '人' || n, '1390000' || n, CASE n % 3 WHEN 0 THEN '东区' ELSE '西区' END
FROM generate_series(1, 3000) n;
"""
_pause = threading.Event()


class Exchange:
    """A provider, central and a consumer."""

    def __init__(self, home: Path, dsn: str, consumer_url: str = "") -> None:
        self.dsn = dsn
        self.system = System(home / "system", dsn, [{"table": "public.person"}])
        self.system.prepare()
        self.system.start()
        self.system.wait_until_listening()
        bundle = home / "bundle"
        self.system.central_command("node", "add", CONSUMER, "--out", str(bundle))
        files = TlsFiles(bundle / "ca.pem", bundle / "node.pem", bundle / "node.key")
        target = f"127.0.0.1:{self.system.port}"
        self.consumer = ReceivingAgent(home / "consumer", target, files, consumer_url)

    def at_central(self, act: Callable[[Connection], Any]) -> Any:
        """Something that people decide or look up at central."""
        engine = open_store(self.system.central_database)
        with writing(engine) as connection:
            found = act(connection)
        engine.dispose()
        return found

    def in_exchange_database(self, statement: str) -> None:
        """What nobody should do to the consumer's inbound tables."""
        engine = create_engine(self.consumer.exchange)
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def grant(self) -> None:
        """The consumer may see three columns of the provider's people."""
        columns = ["id", "name", "area"]
        entry = entry_of("370100/1-01-001", self.system.stream, "person", columns, name="人口基本信息")

        def shape(connection: Connection) -> list[str]:
            found = shape_of(connection, self.system.stream, "person")
            return [column.name for column in found.columns] if found else []

        self.at_central(lambda connection: put_in_force(connection, entry))
        # The provider's agent hears of the release, and copies its table afresh without what is not in it.
        eventually(lambda: self.at_central(shape), columns, 60)
        self.at_central(lambda connection: grant_directly(connection, GRANT, CONSUMER, entry, {}))

    def sql(self, *statements: str) -> None:
        """The provider's own work."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def at_provider(self) -> list[tuple[Any, ...]]:
        """What the provider has, as the grant shows it."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute("SELECT id, name, area FROM person ORDER BY id").fetchall()

    def at_consumer(self) -> list[tuple[Any, ...]]:
        """What the consumer has; nothing before the first copy."""
        engine = create_engine(self.consumer.exchange)
        name = {"sqlite": f'"{ROOM}.person"', "mysql": f"`{ROOM}.person`"}.get(
            engine.dialect.name, f"{ROOM}.person"
        )
        try:
            with engine.connect() as connection:
                found = connection.execute(text(f"SELECT id, name, area FROM {name} ORDER BY id"))
                return [tuple(row) for row in found]
        except Exception as error:
            if any(words in str(error) for words in ("no such table", "does not exist", "doesn't exist")):
                return []
            raise
        finally:
            engine.dispose()

    def close(self) -> None:
        """End everything."""
        self.consumer.close()
        self.system.agent.kill()
        self.system.central.kill()


@pytest.fixture
def exchange(tmp_path: Path, postgres15: Cluster) -> Iterator[Exchange]:
    """Everything runs; nothing is granted yet."""
    name = postgres15.new_database("business")
    dsn = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    made = Exchange(tmp_path, dsn)
    yield made
    made.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
    postgres15.drop_database(name)


def test_from_one_database_to_the_other(exchange: Exchange) -> None:
    """A grant brings the first copy, then every change; its end stops it without anybody's help (SD12.1, SD29.2)."""
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)

    exchange.sql(
        "INSERT INTO person VALUES (9001, '新来', '1', '东区')",
        "UPDATE person SET name = '改名' WHERE id = 7",
        "UPDATE person SET id = 9007 WHERE id = 8",
        "DELETE FROM person WHERE id BETWEEN 10 AND 900",
    )
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    report = exchange.consumer.grant(GRANT)
    assert (report["resource_name"], report["stream"]) == ("人口基本信息", "population/hr")
    assert report["receipt"] and report["state"] in ("RUNNING", "IDLE"), report

    before = exchange.at_consumer()
    exchange.at_central(lambda connection: change_grant(connection, GRANT, state="expired"))
    eventually(lambda: exchange.consumer.grant(GRANT)["code"], "GRANT_EXPIRED", 40)
    exchange.sql("INSERT INTO person VALUES (9002, '太晚', '1', '东区')")
    _pause.wait(2)
    assert exchange.at_consumer() == before


@pytest.mark.parametrize("kind", ["postgres18", "mariadb"])
def test_into_a_database_on_a_server(exchange: Exchange, request: pytest.FixtureRequest, kind: str) -> None:
    """The same rows where the consumer's exchange database is PostgreSQL or MariaDB."""
    server = request.getfixturevalue(kind)
    name = server.new_database("exchange")
    exchange.consumer.use(server.url(name))
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    exchange.sql(
        "UPDATE person SET name = name || '改' WHERE id % 7 = 0", "DELETE FROM person WHERE id % 11 = 0"
    )
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    exchange.consumer.daemon.stop()
    server.drop_database(name)


def test_a_large_transaction(exchange: Exchange) -> None:
    """300,000 rows in one commit come in parts and are seen at once; the agent's memory stays small."""
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    noise = "md5(n::text) || md5((-n)::text) || md5((n * 7)::text)"
    exchange.sql(
        f"INSERT INTO person SELECT n, '人' || {noise}, '1', '东区' FROM generate_series(10001, 310000) n"
    )
    seen = set()

    def count() -> int:
        seen.add(len(exchange.at_consumer()))
        return max(seen)

    eventually(count, 303_000, 240)
    assert seen <= {3_000, 303_000}
    status = Path(f"/proc/{exchange.consumer.daemon.pid}/status").read_text()
    peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak_kib < 200 * 1024, peak_kib


def test_held_at_the_consumer_and_retried(exchange: Exchange) -> None:
    """What its exchange database cannot take holds the grant; central shows why, and sends again what was not taken (D5)."""
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    inbound = f'ALTER TABLE "{ROOM}.person" RENAME COLUMN'
    exchange.in_exchange_database(f"{inbound} name TO nom")
    exchange.sql("INSERT INTO person VALUES (9001, '等待', '1', '东区')")
    eventually(lambda: exchange.consumer.grant(GRANT)["state"], "SCHEMA_HOLD", 40)
    eventually(lambda: "SCHEMA_HOLD" in exchange.system.central_command("status", "--json"), True, 40)
    exchange.sql("INSERT INTO person VALUES (9002, '也等', '1', '东区')")
    exchange.consumer.daemon.kill()
    exchange.consumer.start()
    eventually(lambda: exchange.consumer.grant(GRANT)["state"], "SCHEMA_HOLD", 40)

    exchange.in_exchange_database(f"{inbound} nom TO name")
    exchange.consumer.do("received", "retry", GRANT)
    eventually(exchange.at_consumer, exchange.at_provider(), 40)


def test_recall(exchange: Exchange) -> None:
    """召回: the consumer's table is emptied, central hears how many rows went, and nothing comes any more."""
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    exchange.at_central(lambda connection: recall(connection, GRANT, "li-na", "数据有误"))

    def answered(connection: Connection) -> int | None:
        query = select(RECALLS.c.rows).where(RECALLS.c.finished_us.is_not(None))
        return connection.execute(query).scalar()

    eventually(lambda: exchange.at_central(answered), 3000, 40)
    assert exchange.at_consumer() == []
    exchange.sql("INSERT INTO person VALUES (9001, '太晚', '1', '东区')")
    eventually(lambda: exchange.consumer.grant(GRANT)["code"], "GRANT_RECALLED", 40)
    _pause.wait(2)
    assert exchange.at_consumer() == []


def test_an_exchange_database_that_was_set_back(exchange: Exchange) -> None:
    """The consumer's database comes back from an older copy: it gets again what it lost, or a fresh copy (E7)."""
    exchange.consumer.start()
    exchange.grant()
    eventually(exchange.at_consumer, exchange.at_provider(), 40)
    exchange.consumer.daemon.stop()
    file = exchange.consumer.folder / "exchange.db"
    backup = file.read_bytes()
    for number in range(3):
        exchange.consumer.start()
        exchange.sql(
            f"INSERT INTO person VALUES ({9001 + number}, '后来', '1', '东区')",
            "DELETE FROM person WHERE id < 5",
        )
        eventually(exchange.at_consumer, exchange.at_provider(), 40)
        exchange.consumer.daemon.stop()
        for each in exchange.consumer.folder.glob("exchange.db*"):
            each.unlink()
        file.write_bytes(backup)
    exchange.consumer.start()

    eventually(exchange.at_consumer, exchange.at_provider(), 40)


def test_killed_everywhere(exchange: Exchange) -> None:
    """kill -9 of provider, central and consumer under load, in turn and together: the rows are equal (SD12.2)."""
    exchange.consumer.start()
    exchange.grant()
    daemons = (exchange.system.agent, exchange.system.central, exchange.consumer.daemon)
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(exchange, stop))
    writer.start()
    try:
        for some in (*itertools.combinations(daemons, 1), *itertools.combinations(daemons, 2), daemons):
            _pause.wait(1.5)
            for daemon in some:
                daemon.kill()
            for daemon in some:
                daemon.start()
    finally:
        stop.set()
        writer.join()

    eventually(exchange.at_consumer, exchange.at_provider(), 90)
    assert len(exchange.at_consumer()) > 3000


def _write(exchange: Exchange, stop: threading.Event) -> None:
    dice, number = random.Random(7), itertools.count(10_000)
    while not stop.wait(0.02):
        new = next(number)
        exchange.sql(
            f"INSERT INTO person SELECT {new} * 10 + n, '人{new}', '1', '东区' FROM generate_series(0, 4) n",
            f"UPDATE person SET name = '改{new}' WHERE id % 50 = {dice.randrange(50)}",
            f"DELETE FROM person WHERE id = {dice.randrange(3000)}",
        )
