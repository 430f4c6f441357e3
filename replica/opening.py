"""Which dialect keeps the promise of a replica in which database."""

from __future__ import annotations

from sqlalchemy import Engine

from proto.errors import Refused
from replica.replica import Replica


def open_replica(engine: Engine, room: str) -> Replica:
    """The replica of one stream in *engine*'s database; *room* is a schema or a name prefix, "" for none."""
    # Imported late: a database's driver is loaded only where that database is.
    match (engine.dialect.name, engine.dialect.driver):
        case ("postgresql", "psycopg"):
            from replica.postgresql import PostgresReplica

            return PostgresReplica(room)
        case ("mysql" | "mariadb", "pymysql"):
            from replica.mysql import MysqlReplica

            return MysqlReplica(room)
        case ("sqlite", "pysqlite"):
            from replica.sqlite import SqliteReplica

            return SqliteReplica(room)
        case (name, driver):
            raise Refused(
                f"no replica can live in {name}+{driver}",
                fix="take a database URL that starts with sqlite:///, postgresql+psycopg:// or mysql+pymysql://",
            )
