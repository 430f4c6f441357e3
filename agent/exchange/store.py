"""Opening an exchange database and bringing its bookkeeping up to date."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, column, inspect, make_url, select, table
from sqlalchemy.exc import ArgumentError

from agent.exchange.place import Place, Server, translated
from proto.errors import Refused

KINDS: Final = ("sqlite", "postgresql", "mysql", "mariadb")
VERSIONS: Final = tuple(
    sorted(file.name.partition("_")[0] for file in Path(__file__).parent.glob("migrations/versions/0*.py"))
)
"""Every version this release knows, by the names of their files."""


def place_of(engine: Engine) -> Place:
    """The kind of database behind *engine*."""
    return _place(engine.dialect.name)


def server_of(engine: Engine) -> Server:
    """The kind of server behind *engine*."""
    return _server(engine.dialect.name)


@cache
def _place(name: str) -> Place:
    if name == "sqlite":
        from agent.exchange.sqlite import SqlitePlace

        return SqlitePlace()
    return _server(name)


@cache
def _server(name: str) -> Server:
    # Imported late: a node needs the driver of its own exchange database only.
    if name == "postgresql":
        from agent.exchange.postgresql import PostgresqlPlace

        return PostgresqlPlace()
    from agent.exchange.mysql import MysqlPlace

    return MysqlPlace()


def open_exchange(url: str, node: str) -> Engine:
    """An engine on the exchange database; nothing is connected yet. Raises Refused for an address we cannot use."""
    try:
        kind = make_url(url).get_backend_name()
    except ArgumentError as error:
        raise Refused(
            "exchange.url is not a database address", fix="use sqlite:////path/exchange.db"
        ) from error
    if kind not in KINDS:
        raise Refused(
            f"an exchange database is one of {', '.join(KINDS)}", fix="use sqlite:////path/exchange.db"
        )
    return _place(kind).open(url, node)


def migrate(engine: Engine) -> None:
    """Bring the bookkeeping to this version: under a lock, each step whole or not at all (E11).

    Raises Refused when a newer version has been here.
    """
    place = place_of(engine)
    with translated(place, "migration"):
        for _ in VERSIONS:
            with engine.begin() as connection:
                place.lock_migrations(connection)
                now = _version(connection, place)
                _refuse_newer(now)
                if now == VERSIONS[-1]:
                    return
                _step(connection, place)


def _version(connection: Connection, place: Place) -> str | None:
    name = f"{place.prefix}version"
    if not inspect(connection).has_table(name, place.schema):
        return None
    return connection.scalar(select(column("version_num")).select_from(table(name, schema=place.schema)))


def _refuse_newer(now: str | None) -> None:
    if now is not None and now not in VERSIONS:
        raise Refused(
            f"the exchange database is at version {now}, newer than this program",
            where="migration",
            fix="install the newer exchange-agent again",
        )


def _step(connection: Connection, place: Place) -> None:
    # Imported late: nearly every start finds nothing to do, and this library is slow to load.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "agent.exchange:migrations")
    config.attributes.update(connection=connection, place=place)
    command.upgrade(config, "+1")
