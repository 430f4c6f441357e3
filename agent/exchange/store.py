"""Opening an exchange database and bringing its bookkeeping up to date."""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from agent.exchange.mysql import MysqlPlace
from agent.exchange.place import Place, Server, translated
from agent.exchange.postgresql import PostgresqlPlace
from agent.exchange.sqlite import SqlitePlace
from proto.errors import Refused

_MYSQL: Final = MysqlPlace()
SERVERS: Final[dict[str, Server]] = {"postgresql": PostgresqlPlace(), "mysql": _MYSQL, "mariadb": _MYSQL}
PLACES: Final[dict[str, Place]] = {"sqlite": SqlitePlace(), **SERVERS}


def place_of(engine: Engine) -> Place:
    """The kind of database behind *engine*."""
    return PLACES[engine.dialect.name]


def server_of(engine: Engine) -> Server:
    """The kind of server behind *engine*."""
    return SERVERS[engine.dialect.name]


def open_exchange(url: str, node: str) -> Engine:
    """An engine on the exchange database; nothing is connected yet. Raises Refused for an address we cannot use."""
    try:
        place = PLACES.get(make_url(url).get_backend_name())
    except ArgumentError as error:
        raise Refused(
            "exchange.url is not a database address", fix="use sqlite:////path/exchange.db"
        ) from error
    if place is None:
        raise Refused(
            f"an exchange database is one of {', '.join(PLACES)}", fix="use sqlite:////path/exchange.db"
        )
    return place.open(url, node)


def migrate(engine: Engine) -> None:
    """Bring the bookkeeping to this version: under a lock, each step whole or not at all (E11).

    Raises Refused when a newer version has been here.
    """
    place = place_of(engine)
    config = Config()
    config.set_main_option("script_location", "agent.exchange:migrations")
    scripts = ScriptDirectory.from_config(config)
    with translated(place, "migration"):
        for _ in scripts.walk_revisions():
            with engine.begin() as connection:
                place.lock_migrations(connection)
                now = _revision(connection, place)
                _refuse_newer(scripts, now)
                config.attributes.update(connection=connection, place=place)
                if now == scripts.get_current_head():
                    return
                command.upgrade(config, "+1")


def _revision(connection: Connection, place: Place) -> str | None:
    options = {"version_table": f"{place.prefix}version", "version_table_schema": place.schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _refuse_newer(scripts: ScriptDirectory, now: str | None) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if now is not None and now not in known:
        raise Refused(
            f"the exchange database is at version {now}, newer than this program",
            where="migration",
            fix="install the newer exchange-agent again",
        )
