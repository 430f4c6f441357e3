"""What a person may point ``init`` at: a database of any kind, by whichever address, or a folder. Reads catalogues only.

The addresses here hold the password as it was given; :func:`hidden` is the only way one gets into a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from agent.cli.discovery import Offer, tables, without_password
from agent.cli.samples import Sample, samples
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.dsn import SCHEMES, Address
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.polling.connecting import connect
from agent.sources.polling.connection import Database
from agent.sources.polling.settings import PollingSettings
from proto.errors import Refused

_FORMS: Final = (
    'postgresql://user@host/database, "host=… dbname=…", mysql://user@host/database, sqlite:////path, '
    '"Driver={…};Server=…" or "DSN=…" for ODBC, or the path of a folder'
)
_ODBC: Final = re.compile(r"(?i)(^|;)\s*(driver|dsn|filedsn)\s*=")
_ODBC_PASSWORD: Final = re.compile(r"(?i)((?:^|;)\s*(?:pwd|password)\s*=)(\{(?:[^}]|\}\})*\}|[^;]*)")
_URL_PASSWORD: Final = re.compile(r"^([^:/]+://[^:/@]*):(.*)@([^@]*)$", re.DOTALL)
_SYSTEM: Final = (
    "'information_schema', 'pg_catalog', 'mysql', 'sys', 'performance_schema', 'INFORMATION_SCHEMA'"
)
_LISTED: Final = (
    "SELECT table_schema, table_name FROM information_schema.tables "  # noqa: S608
    f"WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ({_SYSTEM}) ORDER BY 1, 2"
)
_OWNED: Final = "SELECT USER, table_name FROM user_tables ORDER BY 2"
_TABLES: Final = {
    "postgresql": _LISTED,
    "kingbase": _LISTED,
    "mysql": _LISTED,
    "sqlserver": _LISTED.replace("information_schema.tables", "INFORMATION_SCHEMA.TABLES"),
    "sqlite": "SELECT '', name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' "
    "AND substr(name, 1, 16) <> 'exchange_journal' ORDER BY 2",
    "oracle": _OWNED,
    "dm": _OWNED,
}
"""How each dialect lists what could be shared."""
_READABLE: Final = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = \0 AND table_name = \0 AND has_column_privilege("
    "quote_ident(table_schema) || '.' || quote_ident(table_name), CAST(column_name AS text), 'SELECT')"
)
"""The columns that the account may read, where the catalogue tells of others as well."""
_HINTS: Final = {
    "postgresql": "its log tells every change at once: give init its URL to see what that takes: "
    "postgresql://user@host/database",
    "mysql": "its binary log tells every change at once: give init its URL to see what that takes: "
    "mysql://user@host/database",
    "sqlite": "triggers tell every change at once: give init its path to see what that takes: sqlite:////path",
}
"""What a database that was named by its ODBC driver could do besides."""
_MYSQL_TABLES: Final = (
    "SELECT t.table_schema, t.table_name, COALESCE(t.table_rows, -1), c.column_name, c.column_key = 'PRI' "  # noqa: S608
    "FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name) "
    f"WHERE t.table_type = 'BASE TABLE' AND t.table_schema NOT IN ({_SYSTEM}) "
    "AND (%s = '' OR t.table_schema = %s) ORDER BY 1, 2, c.ordinal_position"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Something that can be listened to."""

    addresses: Mapping[str, tuple[str, str]]
    """For each kind of source that is possible there, the best first: the setting that names it, and its value."""
    offers: Sequence[Offer] = ()
    samples: Sequence[Sample] = field(default=())
    """Of a folder: what its files look like."""
    hint: str = ""
    """A better way that another address of the same place would open."""


def place_at(given: str) -> Place:
    """What *given* names. Raises Refused for what is no address, Credential or Transient for what does not answer."""
    text = given.strip()
    scheme = text.partition("://")[0].lower()
    if scheme in SCHEMES:
        return _mysql(text)
    if scheme == "sqlite" or _is_sqlite(Path(text)):
        return _sqlite(text if scheme == "sqlite" else f"sqlite:///{Path(text).absolute()}")
    if _ODBC.search(text):
        offers, dialect = _asked(odbc=text)
        return Place({"polling": ("odbc", text)}, offers, hint=_HINTS.get(dialect, ""))
    if Path(text).is_dir():
        folder = Path(text).absolute()
        return Place({"dropfolder": ("folder", str(folder))}, samples=samples(folder))
    return _postgresql(text.replace("postgresql+psycopg://", "postgresql://", 1))


def hidden(setting: str, address: str, reference: str) -> tuple[str, str]:
    """The address with *reference* in the password's place, and the password, empty if there is none."""
    if setting == "dsn" and address.partition("://")[0] not in SCHEMES:
        return without_password(address, reference)
    if setting == "odbc":
        found = _ODBC_PASSWORD.search(address)
        if found is None or not found[2]:
            return address, ""
        return f"{address[: found.start(2)]}{reference}{address[found.end(2) :]}", found[2]
    found = _URL_PASSWORD.match(address) if setting in ("dsn", "url") else None
    if found is None or not found[2]:
        return address, ""
    return f"{found[1]}:{reference}@{found[3]}", unquote(found[2])


def _postgresql(dsn: str) -> Place:
    try:
        password = str(conninfo_to_dict(dsn).get("password") or "")
    except ProgrammingError:
        raise Refused("this is no address we know", where="--dsn", fix=f"give {_FORMS}") from None
    url = without_password(dsn, quote(password, safe=""))[0].replace("postgresql:", "postgresql+psycopg:", 1)
    addresses = {"postgresql": ("dsn", dsn), "journal": ("url", url), "polling": ("url", url)}
    return Place(addresses, tables(dsn))


def _mysql(dsn: str) -> Place:
    try:
        address = Address.parse(dsn)
        told = {"kind": "mysql", "name": "init", "dsn": dsn, "tables": [{"table": "init.init"}]}
        settings = MysqlSettings.model_validate(told)
    except (ValueError, ValidationError) as error:
        raise Refused(str(error).splitlines()[0], where="--dsn", fix=f"give {_FORMS}") from None
    files = {name: value for name, value in address.options if name.startswith("ssl_")}
    who = f"{quote(address.user, safe='')}:{quote(address.password, safe='')}"
    url = f"mysql+pymysql://{who}@{address.host}:{address.port}/{quote(address.database, safe='')}"
    url += f"?{urlencode(files)}" if files else ""
    with closing(Connection(settings)) as connection:
        rows = connection.rows(_MYSQL_TABLES, (address.database, address.database))
    addresses = {"mysql": ("dsn", dsn), "journal": ("url", url), "polling": ("url", url)}
    return Place(addresses, _gathered(rows))


def _gathered(rows: Sequence[Sequence[Any]]) -> list[Offer]:
    found: dict[tuple[str, str], list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault((str(row[0]), str(row[1])), []).append(row)
    return [
        Offer(
            *place,
            int(parts[0][2]),
            tuple(str(part[3]) for part in parts),
            tuple(str(part[3]) for part in parts if part[4]),
            readable=True,
        )
        for place, parts in found.items()
        if place[1] != "exchange_journal"
    ]


def _sqlite(url: str) -> Place:
    return Place({"journal": ("url", url), "polling": ("url", url)}, _asked(url=url)[0])


def _asked(**address: str) -> tuple[list[Offer], str]:
    """The tables, and what the database speaks."""
    told = {"kind": "polling", "name": "init", "tables": [{"table": "init"}], **address}
    with closing(connect(PollingSettings.model_validate(told))) as database:
        listing = _TABLES.get(database.dialect.name)
        if listing is None:
            what = f"we know no way to list the tables of this database ({database.dialect.name})"
            raise Refused(what, where="--dsn", fix="write its section by hand: see agent.example.yaml")
        offers = [_offer(database, str(schema), str(name)) for schema, name in database.query(listing)]
        return offers, database.dialect.name


def _offer(database: Database, schema: str, table: str) -> Offer:
    columns = tuple(column.name for column in database.columns(schema, table))
    if database.dialect.casts == "type":
        readable = {str(row[0]) for row in database.query(_READABLE, (schema, table))}
        columns = tuple(name for name in columns if name in readable)
    counted = database.dialect.estimate
    rows = database.query(counted, (schema, table)) if counted else []
    number = int(rows[0][0]) if rows and rows[0][0] is not None else -1
    return Offer(schema, table, number, columns, database.primary_key(schema, table), readable=bool(columns))


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except (OSError, ValueError):
        return False
