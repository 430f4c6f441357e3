"""What every step is made of. MariaDB and MySQL commit each of them at once, so there it may have been done already."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

ON_MYSQL: Final = ("mysql", "mariadb")
NAME: Final = sa.Text().with_variant(mysql.VARCHAR(256, collation="utf8mb4_bin"), *ON_MYSQL)
WORDS: Final = sa.Text().with_variant(mysql.LONGTEXT(), *ON_MYSQL)
BLOB: Final = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *ON_MYSQL)
_OPTIONS: Final = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def make_table(name: str, *columns: sa.Column[Any]) -> None:
    """Make a table of ours."""
    place = context.config.attributes["place"]
    op.create_table(
        f"{place.prefix}{name}", *columns, schema=place.schema, if_not_exists=_is_mysql() or None, **_OPTIONS
    )


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column to a table of ours."""
    place = context.config.attributes["place"]
    name = f"{place.prefix}{table}"
    if _is_mysql() and column.name in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(name)}:
        return
    op.add_column(name, column, schema=place.schema)


def empty_words() -> Any:
    """The default of a text; MySQL takes one only as an expression."""
    return sa.text("('')") if _is_mysql() else ""


def make_append_only(table: str) -> None:
    """Let triggers refuse changes, where MySQL lets an account without power over the whole server make one."""
    try:
        for event in ("UPDATE", "DELETE"):
            name = f"{table}_{event.lower()}"
            op.execute(f"DROP TRIGGER IF EXISTS {name}")
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW "
                "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is append-only'"
            )
    except sa.exc.OperationalError as error:
        # With a binlog such an account may make none (1419). They guard against slips, not against administrators.
        if error.orig is None or error.orig.args[0] != 1419:
            raise


def _is_mysql() -> bool:
    return op.get_bind().dialect.name in ON_MYSQL
