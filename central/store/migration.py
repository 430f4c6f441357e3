"""Brings the database to the version of this code, one process at a time; refuses one that is newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, column, inspect, select, table

from central.store.columns import SCHEMA
from central.store.databases import database_of
from central.store.engine import writing
from proto.errors import Refused

VERSION_TABLE: Final = "central_version"
VERSIONS: Final = tuple(
    sorted(file.name.partition("_")[0] for file in Path(__file__).parent.glob("migrations/versions/0*.py"))
)
"""Every version this release knows, by the names of their files."""


def migrate(engine: Engine) -> None:
    """Bring the bookkeeping tables up to date: all of it or nothing. Raises Refused for a newer database."""
    with writing(engine) as connection:
        database_of(engine.dialect.name).lock_for_migration(connection)
        current = version(connection)
        refuse_newer(current)
        if current != VERSIONS[-1]:
            _upgrade(connection)


def refuse_newer(current: str | None) -> None:
    """Raise Refused when the database was migrated by a later release than this one."""
    if current is not None and current not in VERSIONS:
        raise Refused(
            f"its version {current} is not known to this release",
            where="database",
            fix="install the newer release",
        )


def version(connection: Connection) -> str | None:
    """The version the tables are at; None for an empty database."""
    where = options(connection)["version_table_schema"]
    if not inspect(connection).has_table(VERSION_TABLE, where):
        return None
    return connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE, schema=where)))


def options(connection: Connection) -> dict[str, Any]:
    """Where alembic keeps its mark: beside our tables."""
    schema = SCHEMA if SCHEMA in inspect(connection).get_schema_names() else None
    return {"version_table": VERSION_TABLE, "version_table_schema": schema}


def _upgrade(connection: Connection) -> None:
    # Imported late: nearly every start finds nothing to do, and this library takes as long to load as all of ours.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "central.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
