"""What leaves is what the department lists and the catalogue knows: real processes, a real business database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from agent.cli.console import socket_of
from agent.local import LocalClient, NotRunning
from central.catalogue.entry import Entry, LegalBasis
from central.store import open_store, writing
from demo.system import System, attempt, command
from proto import codec
from proto.v1 import local_pb2
from tests.support.central import eventually
from tests.support.postgres import Cluster
from tests.support.proxy import BadNet
from tests.support.shares import change_grant, entry_of, grant_directly, put_in_force

CANARY = "金丝雀37010219900101"
PHONE = "手机号13812345678"
STREAM = "population/hr"
BASIS = LegalBasis(title="统计法", document_no="主席令第15号", article="第九条", kind="law")
PERSON = ("id", "name", "phone", "id_card")


def person(**share: str) -> Entry:
    """The entry of persons; the identity card is never shared."""
    return entry_of("3010010/1", STREAM, "person", PERSON, share={"id_card": "not_shared", **share})


def house() -> Entry:
    """The entry of houses."""
    return entry_of("3010010/2", STREAM, "house", ("id", "street"))


@pytest.fixture
def business(postgres18: Cluster) -> Iterator[str]:
    """Persons whose identity cards must not leave, and houses."""
    name = postgres18.new_database("binding")
    dsn = f"postgresql://postgres@127.0.0.1:{postgres18.port}/{name}"
    sql(
        dsn,
        "CREATE TABLE person (id bigint PRIMARY KEY, name text, phone text, id_card text)",
        "CREATE TABLE house (id bigint PRIMARY KEY, street text)",
        f"INSERT INTO person SELECT n, '人' || n, '{PHONE}', '{CANARY}' FROM generate_series(1, 50) n",
        "INSERT INTO house SELECT n, '街' || n FROM generate_series(1, 20) n",
    )
    yield dsn
    postgres18.drop_database(name)


@pytest.fixture
def system(tmp_path: Path, business: str) -> Iterator[System]:
    """Central and agent, ready to start; the settings ask for every column."""
    made = System(tmp_path / "system", business, [{"table": "public.person"}, {"table": "public.house"}])
    made.prepare()
    made.central.start()
    made.wait_until_listening()
    yield made
    made.agent.kill()
    made.central.kill()


@pytest.fixture
def net(system: System, badnet: type[BadNet]) -> BadNet:
    """The agent's only way to central."""
    made = badnet(("127.0.0.1", system.port))
    system.central_address = made.address
    system.prepare_agent()
    return made


@pytest.fixture
def platform(system: System) -> Iterator[Engine]:
    """Central's own database."""
    engine = open_store(system.central_database, 2)
    yield engine
    engine.dispose()


def sql(dsn: str, *statements: str) -> None:
    """At the business database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def release(platform: Engine, *entries: Entry) -> int:
    """The next release."""
    with writing(platform) as connection:
        return put_in_force(connection, *entries)


def status(system: System) -> local_pb2.AgentStatus:
    """What the agent says of itself; nothing while nobody answers."""
    try:
        with LocalClient(socket_of(system.agent_config)) as agent:
            return agent.status()
    except NotRunning:
        return local_pb2.AgentStatus()


def states(system: System) -> dict[str, str]:
    """The state of each table, held ones by their code."""
    tables = [table for stream in status(system).streams for table in stream.tables]
    return {table.table: table.code for table in tables}


def columns(system: System, place: str, table: str) -> tuple[str, ...]:
    """Of the table at central, or in the exchange database; () while it is not there."""
    path = system.home / place / ("central.db" if place == "central" else "exchange.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = next((name for name in names if name.endswith(f".{table}")), "")
        told = [row[1] for row in database.execute(f'PRAGMA table_info("{found}")')] if found else []
    return tuple(name for name in told if not name.startswith("_"))


def at_central(system: System, table: str, column: str) -> set[Any]:
    """The values of a column at central; nothing while it is not there."""
    if column not in columns(system, "central", table):
        return set()
    with closing(sqlite3.connect(f"file:{system.home}/central/central.db?mode=ro", uri=True)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = next(name for name in names if name.endswith(f".{table}"))
        return {row[0] for row in database.execute(f'SELECT "{column}" FROM "{found}"')}


def sent(system: System) -> bytes:
    """Everything that was ever put into a batch, unpacked."""
    with closing(sqlite3.connect(f"file:{system.home}/agent/exchange.db?mode=ro", uri=True)) as database:
        name = next(
            row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%outbox'")
        )
        batches = database.execute(f'SELECT header, payload FROM "{name}"').fetchall()
    deltas = [delta for header, payload in batches for delta in codec.decode(header, payload).deltas]
    assert deltas
    return b"".join(
        part.data
        for delta in deltas
        for part in (delta.inserts, delta.upserts, *(p.frames for p in delta.partials))
    )


def files(system: System) -> dict[str, bytes]:
    """Every byte below the node and the platform, the databases and their logs."""
    return {str(path): path.read_bytes() for path in system.home.rglob("*") if path.is_file()}


def test_what_is_not_shared_is_in_no_byte(system, platform, business):
    """The settings ask for all columns; the catalogue does not share one: no file anywhere has its value (SD05.2)."""
    release(platform, person(), house())
    system.agent.start()
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    sql(
        business,
        f"INSERT INTO person VALUES (51, '李四', '{PHONE}', '{CANARY}')",
        f"UPDATE person SET id_card = '{CANARY}2', name = '王五' WHERE id = 1",
        "DELETE FROM person WHERE id = 2",
    )
    eventually(lambda: "王五" in at_central(system, "person", "name"))

    assert (
        columns(system, "central", "person") == columns(system, "agent", "person") == ("id", "name", "phone")
    )
    assert PHONE.encode() in sent(system)
    assert CANARY.encode() not in sent(system)
    assert [path for path, data in files(system).items() if CANARY.encode() in data] == []
    assert "person.id_card" in status(system).catalogue_sentence


def test_what_is_not_catalogued_is_held_and_named(system, platform):
    """A table without an entry stays here and says what to do; the others go on, and it follows by itself (SD21.1)."""
    number = release(platform, person())
    system.agent.start()
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    eventually(lambda: states(system).get("house"), "NOT_CATALOGUED")
    checked = attempt(command("exchange-agent"), "check", "-c", str(system.agent_config))
    shown = system.agent_command("status")

    assert columns(system, "agent", "house") == columns(system, "central", "house") == ()
    assert checked.returncode != 0 and "no entry for table house" in checked.stdout, checked.stdout
    assert "no entry for table house" in shown and "exchange-central catalogue" in shown, shown
    assert status(system).release == number
    refused = attempt(
        command("exchange-agent"), "snapshot", "house", "--source", "hr", "-c", str(system.agent_config)
    )
    assert refused.returncode != 0 and "no entry for table house" in refused.stderr, refused.stderr

    release(platform, house())
    eventually(lambda: len(at_central(system, "house", "id")), 20)
    eventually(lambda: states(system)["house"], "RUNNING")


def test_a_column_that_is_closed_later_disappears_everywhere(system, platform, business):
    """A new release takes effect while everything runs: fresh copy, other shape, at the node and at the platform."""
    release(platform, person(), house())
    system.agent.start()
    eventually(lambda: at_central(system, "person", "phone"), {PHONE})
    release(platform, person(phone="not_shared"))

    eventually(lambda: columns(system, "central", "person"), ("id", "name"))
    eventually(lambda: columns(system, "agent", "person"), ("id", "name"))
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    sql(business, "UPDATE person SET name = '赵六', phone = '手机号新' WHERE id = 3")
    eventually(lambda: "赵六" in at_central(system, "person", "name"))
    assert columns(system, "central", "person") == ("id", "name")


def with_bytes(system: System, place: str, text: str) -> list[str]:
    """The files of the node or of central in which *text* is to be found."""
    return [path for path, data in files(system).items() if f"/{place}/" in path and text.encode() in data]


def test_what_waited_while_the_way_was_cut_leaves_without_what_was_closed(system, platform, business, net):
    """The release is older than the network's return: central never sees a byte, and the node keeps none (SD05.2)."""
    release(platform, person(), house())
    system.agent.start()
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    net.cut(refuse=True)
    sql(
        business,
        "INSERT INTO person VALUES (99, '孙七', '金丝雀手机13900001111', '')",
        "INSERT INTO house VALUES (99, '金丝雀街')",
    )
    eventually(lambda: bool(with_bytes(system, "agent", "金丝雀街")))
    assert with_bytes(system, "agent", "金丝雀手机13900001111")
    release(platform, person(phone="not_shared"))
    net.heal()

    eventually(lambda: 99 in at_central(system, "person", "id"), True, 40)
    eventually(lambda: "金丝雀街" in at_central(system, "house", "street"))
    assert with_bytes(system, "central", "金丝雀手机13900001111") == []
    eventually(lambda: with_bytes(system, "agent", "金丝雀手机13900001111"), [])
    eventually(lambda: with_bytes(system, "agent", PHONE), [])
    assert columns(system, "central", "person") == columns(system, "agent", "person") == ("id", "name")
    record = system.agent_command("status")
    assert "person.phone" in record


def test_a_table_that_is_closed_later_is_emptied_everywhere(system, platform, business, net):
    """Nothing of it is sent from what waits, and neither the node nor the platform's table keeps a row."""
    release(platform, person(), house())
    system.agent.start()
    eventually(lambda: len(at_central(system, "house", "id")), 20)
    net.cut(refuse=True)
    sql(
        business,
        "INSERT INTO house VALUES (99, '金丝雀街')",
        "INSERT INTO person VALUES (99, '孙七', '', '')",
    )
    eventually(lambda: bool(with_bytes(system, "agent", "金丝雀街")))
    closed = entry_of(
        "3010010/2", STREAM, "house", ("id", "street"), share={"id": "not_shared", "street": "not_shared"}
    )
    release(platform, closed)
    net.heal()

    eventually(lambda: 99 in at_central(system, "person", "id"), True, 40)
    eventually(lambda: at_central(system, "house", "id"), set())
    assert with_bytes(system, "central", "金丝雀街") == []
    eventually(lambda: with_bytes(system, "agent", "金丝雀街"), [])
    assert states(system)["house"] == "NOT_CATALOGUED"
    assert columns(system, "agent", "house") == ()


def test_a_directed_grant_opens_a_column_and_its_end_closes_it(system, platform):
    """No release is made for it: the node hears of the grant by its next heartbeat (SD05.4)."""
    entry = person()
    release(platform, entry, house())
    system.agent.start()
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    terms = {"is_directed": True, "basis": BASIS, "items": ("id", "id_card")}
    with writing(platform) as connection:
        grant_directly(connection, "G-1", "tax", entry, terms)
    eventually(lambda: at_central(system, "person", "id_card"), {CANARY})

    with writing(platform) as connection:
        change_grant(connection, "G-1", state="revoked")
    eventually(lambda: columns(system, "central", "person"), ("id", "name", "phone"))
    eventually(lambda: len(at_central(system, "person", "id")), 50)


def test_the_last_part_stays_in_force_while_central_is_away(system, platform, business):
    """A restart without central goes by what was kept, and still captures."""
    number = release(platform, person(), house())
    system.agent.start()
    eventually(lambda: len(at_central(system, "person", "id")), 50)
    system.stop()
    sql(business, f"INSERT INTO person VALUES (99, '孙七', '{PHONE}', '{CANARY}')")
    system.agent.start()
    eventually(lambda: status(system).release, number)
    eventually(lambda: "孙七".encode() in sent(system))

    assert CANARY.encode() not in sent(system)
    assert columns(system, "agent", "person") == ("id", "name", "phone")


def test_before_the_first_release_nothing_is_bound(system):
    """A trial, and the first day: what the settings name leaves."""
    system.agent.start()
    eventually(lambda: at_central(system, "person", "id_card"), {CANARY})

    assert status(system).release == 0
    assert "no release binds" in status(system).catalogue_sentence
