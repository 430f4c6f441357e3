"""Brings the database to the version of this code, one process at a time; refuses one that is newer."""

from __future__ import annotations

from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from central.store.columns import SCHEMA
from central.store.databases import database_of
from central.store.engine import writing
from proto.errors import Refused

VERSION_TABLE: Final = "central_version"


def migrate(engine: Engine) -> None:
    """Bring the bookkeeping tables up to date: all of it or nothing. Raises Refused for a newer database."""
    with writing(engine) as connection:
        database_of(engine.dialect.name).lock_for_migration(connection)
        config = Config()
        config.set_main_option("script_location", "central.store:migrations")
        config.attributes["connection"] = connection
        script = ScriptDirectory.from_config(config)
        refuse_newer(connection, script)
        if version(connection) != script.get_current_head():
            command.upgrade(config, "head")


def refuse_newer(connection: Connection, script: ScriptDirectory) -> None:
    """Raise Refused when the database was migrated by a later release than this one."""
    current = version(connection)
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise Refused(
            f"its version {current} is not known to this release",
            where="database",
            fix="install the newer release",
        )


def version(connection: Connection) -> str | None:
    """The version the tables are at; None for an empty database."""
    return MigrationContext.configure(connection, opts=options(connection)).get_current_revision()


def options(connection: Connection) -> dict[str, Any]:
    """Where alembic keeps its mark: beside our tables."""
    schema = SCHEMA if SCHEMA in inspect(connection).get_schema_names() else None
    return {"version_table": VERSION_TABLE, "version_table_schema": schema}
