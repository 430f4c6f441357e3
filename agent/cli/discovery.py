"""What a business database has to offer: its tables, their size, their keys. Reads the catalogue only, never a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from agent.sources.postgresql.connection import connect, translated
from proto.errors import Refused

_TABLES: Final = """
SELECT n.nspname, c.relname, c.reltuples::bigint,
       ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                 AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
             ORDER BY a.attnum)::text[],
       ARRAY(SELECT a.attname FROM pg_catalog.pg_index i
             CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place)::text[],
       pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """One table that could be shared."""

    schema: str
    table: str
    rows: int
    """As the planner estimates; below 0 it has none yet."""
    columns: tuple[str, ...]
    """Those the account may read."""
    key: tuple[str, ...]
    readable: bool

    @property
    def place(self) -> str:
        """As the settings write it."""
        return ".".join(
            f'"{part.replace(chr(34), chr(34) * 2)}"' if _needs_quotes(part) else part
            for part in (self.schema, self.table)
            if part
        )

    @property
    def size(self) -> str:
        """How large it is, as far as known without reading it."""
        return f"about {self.rows} rows" if self.rows >= 0 else "not counted yet"

    @property
    def suggestion(self) -> str:
        """What a person should know before choosing it."""
        if not self.readable:
            return f"not readable with this account: GRANT SELECT ON {self.place} TO …"
        if hidden := [name for name in self.key if name not in self.columns]:
            return f"its key cannot be read: GRANT SELECT ({hidden[0]}) ON {self.place} TO …"
        if not self.key:
            return "no primary key: add one, or declare it append_only if rows are only ever added"
        return "can be shared as it is"


def tables(dsn: str) -> list[Offer]:
    """The tables of the database, in order. Raises Credential or Transient when it cannot be asked."""
    with connect(dsn, "init") as connection, translated("init"):
        rows = connection.execute(_TABLES).fetchall()
    return [Offer(row[0], row[1], row[2], tuple(row[3]), tuple(row[4]), row[5]) for row in rows]


def choose(offers: list[Offer], wanted: list[str]) -> list[Offer]:
    """The tables called *wanted* (with or without their schema); all that can be shared when none is named."""
    if not wanted:
        found = [offer for offer in offers if offer.key and set(offer.key) <= set(offer.columns)]
        if not found:
            fix = "do as the suggestions say, or name a table with --table"
            raise Refused("no table can be shared as it is", where="init", fix=fix)
        return found
    chosen = []
    for name in wanted:
        found = [
            offer for offer in offers if name in (offer.place, offer.table, f"{offer.schema}.{offer.table}")
        ]
        if len(found) != 1:
            what = "there is no table" if not found else "several tables are called"
            raise Refused(f"{what} {name}", fix="name it as schema.table, as listed by init")
        chosen.append(found[0])
    return chosen


def without_password(dsn: str, reference: str) -> tuple[str, str]:
    """The address as a URL whose password is *reference*, and the password it had; both parts as they will be read."""
    options = conninfo_to_dict(dsn)
    password = str(options.pop("password", "") or "")
    user, host = str(options.pop("user", "") or ""), str(options.pop("host", "") or "")
    port, database = str(options.pop("port", "") or ""), str(options.pop("dbname", "") or "")
    who = quote(user, safe="") + (f":{reference}" if password else "")
    where = (f"[{host}]" if ":" in host else quote(host, safe=",")) + (f":{port}" if port else "")
    rest = {key: value for key, value in options.items() if value is not None}
    url = f"postgresql://{who}{'@' if who else ''}{where}/{quote(database, safe='')}"
    return url + (f"?{urlencode(rest)}" if rest else ""), password


def _needs_quotes(part: str) -> bool:
    return "." in part or '"' in part
