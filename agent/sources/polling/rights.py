"""What the account may do with a table, in the words that mend it: statements that run as printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from agent.sources.polling.connection import Database, TableTrouble
from agent.sources.polling.shapes import Shape

SOMEBODY: Final = "…"
_ACCOUNT: Final = {
    "postgresql": "SELECT quote_ident(current_user)",
    "kingbase": "SELECT quote_ident(current_user)",
    "mysql": "SELECT CURRENT_USER()",
    "sqlserver": "SELECT QUOTENAME(USER_NAME())",
    "oracle": "SELECT USER FROM DUAL",
    "dm": "SELECT USER FROM DUAL",
}
_MAY_WRITE: Final = (
    "SELECT has_table_privilege(CAST(\0 AS text), 'INSERT, UPDATE, DELETE, TRUNCATE') "
    "OR has_any_column_privilege(CAST(\0 AS text), 'INSERT, UPDATE') "
    "OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = CAST(CAST(\0 AS text) AS regclass)), 'MEMBER'), "
    "pg_has_role((SELECT relowner FROM pg_class WHERE oid = CAST(CAST(\0 AS text) AS regclass)), 'MEMBER')"
)
_GRANT: Final = re.compile(r"GRANT (.+) ON (?:TABLE )?(\*|`(?:[^`]|``)*`)\.(\*|`(?:[^`]|``)*`) TO ")
_WRITING: Final = re.compile(
    r"(?i)\b(ALL PRIVILEGES|INSERT|UPDATE|DELETE|DROP|ALTER|CREATE|TRIGGER|SUPER)\b(?! ROUTINE| USER| ROLE| TABLESPACE)"
)


def account_of(database: Database) -> str:
    """The account as a GRANT names it."""
    asked = _ACCOUNT.get(database.dialect.name)
    if asked is None:
        return SOMEBODY
    said = str(database.query(asked)[0][0])
    if database.dialect.name != "mysql":
        return said
    user, _, host = said.rpartition("@")
    return f"'{user}'@'{host}'"


def unreadable(database: Database, shape: Shape) -> list[str]:
    """The columns that are asked for and may not be read, the watermark's included."""
    dialect, found = database.dialect, []
    fields = dict.fromkeys([*shape.fields, *([shape.watermark] if shape.watermark else [])])
    for name in dict.fromkeys(field.column.name for field in fields):
        quoted = dialect.quote(name)
        try:
            database.query(dialect.page([quoted], shape.table, "WHERE 1 = 0", quoted, 1))
        except TableTrouble:
            found.append(name)
    return found


def grant(database: Database, place: tuple[str, str], columns: Sequence[str]) -> str:
    """What lets the account read *columns*, or the whole table when none are named."""
    dialect, (schema, _) = database.dialect, place
    table, account = dialect.table(*place), account_of(database)
    named = f" ({', '.join(map(dialect.quote, columns))})" if columns else ""
    match dialect.name:
        case "sqlite":
            return "let this account read the file"
        case "postgresql" | "kingbase":
            usage = f"GRANT USAGE ON SCHEMA {dialect.quote(schema)} TO {account};\n" if schema else ""
            return f"{usage}GRANT SELECT{named} ON {table} TO {account};"
        case "sqlserver":
            return f"GRANT SELECT ON {table}{named} TO {account};"
        case "mysql":
            return f"GRANT SELECT{named} ON {table} TO {account};"
        case _:
            return f"GRANT SELECT ON {table} TO {account};"


def taking_away(
    database: Database, shape: Shape, place: tuple[str, str], may: frozenset[str] = frozenset()
) -> str | None:
    """What takes the right to write from the account; empty when it has none beyond *may*, None where nobody can tell."""
    match database.dialect.name:
        case "postgresql" | "kingbase":
            return _from_postgresql(database, shape)
        case "mysql":
            return _from_mysql(database, place, may)
        case _:
            return None


def _from_postgresql(database: Database, shape: Shape) -> str:
    writes, owns = database.query(_MAY_WRITE, [shape.table] * 4)[0]
    if not writes:
        return ""
    if owns:
        return (
            "take an account that owns nothing (an owner, and a superuser, can always write), and name it in the settings:\n"
            f"CREATE ROLE exchange_reader LOGIN NOINHERIT PASSWORD '…';\nGRANT SELECT ON {shape.table} TO exchange_reader;"
        )
    return f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {shape.table} FROM {account_of(database)}, PUBLIC;"


def _from_mysql(database: Database, place: tuple[str, str], may: frozenset[str]) -> str:
    schema = place[0] or str(database.query("SELECT DATABASE()")[0][0])
    account, found = account_of(database), []
    for (line,) in database.query("SHOW GRANTS"):
        told = _GRANT.match(str(line))
        if told is None or not (_covers(told[2], schema) and _covers(told[3], place[1])):
            continue
        if rights := sorted({right.upper() for right in _WRITING.findall(told[1])} - may):
            if told[2] == "*" or "ALL PRIVILEGES" in rights:
                # Somebody else lives by this account; what it may is not ours to take away.
                return _new_account(f"`{schema}`.{database.dialect.quote(place[1])}")
            found.append(f"REVOKE {', '.join(rights)} ON {told[2]}.{told[3]} FROM {account};")
    return "\n".join(found)


def _new_account(table: str) -> str:
    return (
        "take an account that only reads, and name it in the settings:\n"
        f"CREATE USER 'exchange_reader'@'…' IDENTIFIED BY '…';\nGRANT SELECT ON {table} TO 'exchange_reader'@'…';"
    )


def _covers(pattern: str, name: str) -> bool:
    """As GRANT has it: an underscore and a percent sign stand for others unless a backslash is before them."""
    if pattern == "*":
        return True
    words = pattern[1:-1].replace("``", "`").replace("[", "[[]")
    for written, meant in (("\\_", "\1"), ("\\%", "\2"), ("_", "?"), ("%", "*"), ("\1", "_"), ("\2", "%")):
        words = words.replace(written, meant)
    return fnmatchcase(name, words)
