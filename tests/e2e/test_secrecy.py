"""Central never learns where a business database is or how to get in: configuration, database, logs and wire are scanned."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.server import free_port
from demo.system import System
from proto import codec
from tests.support.central import eventually
from tests.support.overhearing import Overhearing

pytestmark = pytest.mark.timeout(180)
HOST, USER, PASSWORD = "huji-db.gongan.internal", "duqu_zhanghao", "Mima-9f3b7c-2468"


@pytest.fixture
def database(postgres18) -> Iterator[str]:
    """A business database with a telling name, and an account of its own."""
    name = postgres18.new_database("huji_yewu_ku")
    with psycopg.connect(postgres18.dsn(name), autocommit=True) as admin:
        admin.execute(f"DROP ROLE IF EXISTS {USER}")
        admin.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("CREATE TABLE person (id bigint PRIMARY KEY, name text)")
        admin.execute("INSERT INTO person SELECT n, '张' || n FROM generate_series(1, 300) n")
    yield name
    postgres18.drop_database(name)


@pytest.fixture
def system(tmp_path: Path, postgres18, database) -> Iterator[System]:
    """An agent that follows it and can be shut out of it."""
    dsn = f"host={HOST} hostaddr=127.0.0.1 port={postgres18.port} user={USER} password={PASSWORD} dbname={database}"
    made = System(
        tmp_path / "system", dsn, [{"table": "public.person"}], central_address=f"127.0.0.1:{free_port()}"
    )
    made.prepare()
    yield made
    made.stop()


@pytest.fixture
def overhearing(system: System) -> Iterator[Overhearing]:
    """Every byte that the agent sends to central."""
    made = Overhearing(system, int(system.central_address.rpartition(":")[2]))
    made.start()
    yield made
    made.stop()


def state(system: System) -> dict[str, Any]:
    """The stream as the agent tells its own people."""
    found: dict[str, Any] = system.status()["streams"][0]
    return found


def at_central(system: System) -> str:
    """The stream's state as central's database has it."""
    nodes = json.loads(system.central_command("status", "--json"))["nodes"]
    return str(nodes[0]["streams"][0]["state"]) if nodes[0]["streams"] else ""


def test_central_learns_nothing_of_the_business_database(system, overhearing, database, postgres18):
    """Rows arrive, the account is shut out and the server is gone: its address and account stay at the node (SD40.1)."""
    system.start()
    system.wait_until_copied()
    with psycopg.connect(postgres18.dsn(database), autocommit=True) as admin:
        admin.execute(f"ALTER ROLE {USER} NOLOGIN")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (USER,))
        eventually(lambda: state(system)["state"], "CREDENTIAL", 30)
        eventually(lambda: at_central(system), "CREDENTIAL", 30)
    said = state(system)["sentence"]
    assert USER in said, "nothing was there to be left out"
    system.stop()
    secrets = [word.encode() for word in (HOST, USER, PASSWORD, database)]
    scanned = [*files(system), *unpacked(system), *overhearing.heard]
    assert len(overhearing.heard) > 5
    assert not [(secret, where[:60]) for where in scanned for secret in secrets if secret in where]


def files(system: System) -> Iterator[bytes]:
    """Central's settings, certificates, log and database, each file whole: every table and every blob."""
    found = [path for path in system.central_config.parent.rglob("*") if path.is_file()]
    assert {"central.yaml", "central.db"} <= {path.name for path in found}
    for path in (*found, system.central.log):
        yield path.read_bytes()


def unpacked(system: System) -> Iterator[bytes]:
    """What lies packed in central's ledger."""
    with closing(sqlite3.connect(system.home / "central" / "central.db")) as central:
        batches = central.execute("SELECT header, payload FROM central_ledger").fetchall()
    assert batches
    for header, payload in batches:
        yield repr(codec.decode(header, payload)).encode()
