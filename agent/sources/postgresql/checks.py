"""Every prerequisite at the source, looked at without changing anything; each failure with what mends it.

Each line of a fix is a step: a statement that ends with a semicolon and runs as printed, or what else to do.
A finding that passed may still carry a fix: then it is advice. That the account cannot write is proven, not assumed:
its rights are read, and the server is asked to plan a DELETE, which needs the right and does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from agent.sources.postgresql.catalog import Catalog, TableFacts, quoted
from agent.sources.postgresql.connection import Connection, connect
from agent.sources.postgresql.publication import Wanted, read_publication, wanted_publications
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.postgresql.shapes import Shape, Shapes, check_identity
from agent.sources.postgresql.slot import AFRESH, OTHER_NAME, PLUGIN, WAL_LEVEL, read_slot
from agent.sources.source import Finding
from proto.errors import ExchangeError, SchemaHold

_NO_DATABASE: Final = re.compile(r'database ".*" does not exist')
OLDEST_SERVER: Final = 140000
_ACCOUNT: Final = """
SELECT r.rolname, r.rolsuper, r.rolreplication, d.datdba = r.oid, has_database_privilege(d.oid, 'CREATE'),
    pg_encoding_to_char(d.encoding), current_setting('wal_level'), current_setting('max_replication_slots')::int,
    (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders')::int,
    (SELECT count(*) FROM pg_stat_replication), current_setting('max_slot_wal_keep_size')
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
"""
_MAY_WRITE: Final = """
SELECT has_table_privilege(%(table)s::oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    OR has_any_column_privilege(%(table)s::oid, 'INSERT, UPDATE')
    OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = %(table)s::oid), 'MEMBER')
"""


def check(settings: PostgresqlSettings) -> list[Finding]:
    """All findings; the first one that fails so that nothing more can be seen is the last."""
    try:
        with connect(settings.dsn.get_secret_value(), settings.name) as connection:
            return list(_Checks(settings, connection).findings())
    except ExchangeError as error:
        fix = (
            _mend_login(settings, error.what)
            if error.code == "CREDENTIAL"
            else error.fix or "start the server"
        )
        return [Finding("connection", False, error.what, fix)]


class _Checks:
    """One look at one server."""

    def __init__(self, settings: PostgresqlSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._user = quoted(connection.info.user)
        self._version = connection.info.server_version
        self._is_super = False
        self._shapes = Shapes(Catalog(connection, settings.name), settings.tables, lambda _: False)

    def findings(self) -> Iterator[Finding]:
        """Server, account, tables, publication, slot."""
        account = self._one(_ACCOUNT)
        self._is_super = bool(account[1])
        yield from self._server(account)
        yield from self._account(account)
        shapes: list[Shape] = []
        for table in self._settings.tables:
            try:
                shape = self._shapes.read(table)
                check_identity(shape, shape.facts.identity_columns)
            except SchemaHold as hold:
                yield Finding(
                    f"table {table.catalogued}", False, hold.what, hold.fix.replace("; then ", ";\n")
                )
            else:
                shapes.append(shape)
                yield from self._table(shape)
        for wanted in wanted_publications(self._settings.publication_name, shapes, self._version):
            yield from self._publication(wanted, may_create=bool(account[4]))
        yield from self._slot(account)

    def _server(self, account: tuple[Any, ...]) -> Iterator[Finding]:
        passed = self._version >= OLDEST_SERVER
        sentence = f"the server is {self._version // 10000}"
        yield _told("server version", passed, sentence, "14 or later is needed")
        level, encoding = account[6], account[5]
        yield Finding(
            "wal_level", level == "logical", f"wal_level is {level}", "" if level == "logical" else WAL_LEVEL
        )
        if encoding == "SQL_ASCII":
            sentence = "the database has encoding SQL_ASCII: nobody knows what its text means"
            yield Finding("encoding", False, sentence, "move it into a database with a real encoding")

    def _account(self, account: tuple[Any, ...]) -> Iterator[Finding]:
        name, is_super, may_replicate = account[0], account[1], account[2]
        fix = f"ALTER ROLE {self._user} REPLICATION;"
        yield _told(
            "replication right",
            may_replicate or is_super,
            f"{name} may read the server's log|{name} may not read the server's log",
            fix,
        )
        yield _told(
            "no superuser",
            not is_super,
            f"{name} is an ordinary account|{name} is a superuser and could write anything",
            f"{_create_role(self._settings)};\nuse it in the dsn",
        )

    def _table(self, shape: Shape) -> Iterator[Finding]:
        facts, name = shape.facts, shape.schema.name
        names = ", ".join(quoted(part.name) for part in shape.parts)
        grant = (
            f"GRANT USAGE ON SCHEMA {quoted(facts.namespace)} TO {self._user};\n"
            f"GRANT SELECT ({names}) ON {facts.quoted} TO {self._user};"
        )
        yield _told(
            f"table {name}: read",
            self._may_read(shape),
            "every captured column can be read|not every captured column can be read",
            grant,
        )
        if not self._is_super:
            yield self._no_writing(facts, name)
        left_out = [column.name for column in facts.columns if column.generated]
        if left_out and shape.settings.columns is None:
            sentence = f"generated columns are not in the log and are left out: {', '.join(left_out)}"
            yield Finding(f"table {name}: generated columns", True, sentence)
        if not shape.schema.key:
            sentence = "it has no key: rows that are there are copied in one go, changed or removed ones not followed"
            advice = "give it a primary key: then its copy goes on after an interruption, and every change is followed"
            yield Finding(f"table {name}: no key", True, sentence, advice)

    def _no_writing(self, facts: TableFacts, name: str) -> Finding:
        query = "SELECT pg_get_userbyid(relowner) = current_user FROM pg_class WHERE oid = %s"
        mend = f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {facts.quoted} FROM {self._user}, PUBLIC;"
        if self._one(query, facts.relid)[0]:
            mend = f"{_create_role(self._settings)};\nuse it in the dsn: an owner can write to its tables"
        sentence = "the account cannot write to it|the account could write to it"
        return _told(f"table {name}: no writing", not self._may_write(facts), sentence, mend)

    def _publication(self, wanted: Wanted, *, may_create: bool) -> Iterator[Finding]:
        publication = read_publication(self._connection, wanted.name)
        fix = wanted.create_sql if publication is None else wanted.alter_sql
        lacks = {
            shape.schema.name: why for shape in wanted.shapes if (why := wanted.lacks(shape, publication))
        }
        if not lacks:
            yield Finding(f"publication {wanted.name}", True, "it publishes every captured table")
        elif self._settings.manage_publication and may_create and self._owns(wanted):
            yield Finding(
                f"publication {wanted.name}", True, "it will be made or completed when capture starts"
            )
        else:
            sentence = "; ".join(f"table {name} {why}" for name, why in lacks.items())
            step = "\nset manage_publication: false" if self._settings.manage_publication else ""
            yield Finding(f"publication {wanted.name}", False, sentence, f"{fix};{step}")

    def _slot(self, account: tuple[Any, ...]) -> Iterator[Finding]:
        name = self._settings.slot_name
        slot = read_slot(self._connection, name)
        if slot is None:
            free = account[8] < account[7]
            fix = f"ALTER SYSTEM SET max_replication_slots = {account[7] + 4};\nrestart the server"
            yield _told("slots", free, f"{account[8]} of {account[7]} replication slots are used", fix)
            free = account[10] < account[9]
            fix = f"ALTER SYSTEM SET max_wal_senders = {account[9] + 4};\nrestart the server"
            yield _told("walsenders", free, f"{account[10]} of {account[9]} walsenders are used", fix)
        else:
            is_ours = (slot.plugin, slot.database) == (PLUGIN, self._connection.info.dbname)
            reader = f", read by process {slot.active_pid} now" if slot.active_pid is not None else ""
            sentence = slot.lost_why or f"it is there, for {slot.plugin} in database {slot.database}{reader}"
            fix = AFRESH if is_ours else OTHER_NAME
            yield _told(f"slot {name}", is_ours and not slot.lost_why, sentence, fix)
        if account[11] == "-1":
            sentence = "an absent agent could fill the server's disk: nothing limits what a slot keeps"
            fix = "ALTER SYSTEM SET max_slot_wal_keep_size = '16GB';\nSELECT pg_reload_conf();"
            yield Finding("max_slot_wal_keep_size", True, sentence, fix)

    def _may_read(self, shape: Shape) -> bool:
        names = [part.name for part in shape.parts]
        return bool(
            self._one(
                "SELECT has_schema_privilege(%s, 'USAGE') AND bool_and(has_column_privilege(%s::oid, c, 'SELECT')) "
                "FROM unnest(%s::text[]) c",
                shape.facts.namespace,
                shape.facts.relid,
                names,
            )[0]
        )

    def _may_write(self, facts: TableFacts) -> bool:
        row = self._connection.execute(_MAY_WRITE, {"table": facts.relid}).fetchone()
        try:
            self._connection.execute(f"EXPLAIN DELETE FROM {facts.quoted}".encode())  # noqa: S608 - quoted
        except psycopg.errors.InsufficientPrivilege:
            return bool(row and row[0])
        return True

    def _owns(self, wanted: Wanted) -> bool:
        """Publishing a table needs its owner, or a superuser."""
        oids = [shape.facts.relid for shape in wanted.shapes]
        query = "SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = ANY(%s::oid[])"
        return bool(self._one(query, oids)[0])

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        return self._connection.execute(query.encode(), values).fetchone() or ()


def _told(name: str, passed: bool, sentence: str, fix: str) -> Finding:
    """A finding whose sentence holds "good|bad" where the two differ."""
    good, _, bad = sentence.partition("|")
    return Finding(name, passed, good if passed else bad or good, "" if passed else fix)


def _create_role(settings: PostgresqlSettings, name: str = "") -> str:
    return (
        f"CREATE ROLE {quoted(name or f'exchange_{settings.name}')} LOGIN REPLICATION NOSUPERUSER NOCREATEDB "
        "NOCREATEROLE NOINHERIT CONNECTION LIMIT 6 PASSWORD '…'"
    )


def _mend_login(settings: PostgresqlSettings, said: str) -> str:
    if _NO_DATABASE.search(said):
        return "correct the database's name in the dsn"
    user = str(conninfo_to_dict(settings.dsn.get_secret_value()).get("user") or "")
    if not user:
        return f"{_create_role(settings)};\nname it in the dsn"
    return (
        "correct the password in the dsn, or at the server:\n"
        f"ALTER ROLE {quoted(user)} PASSWORD '…';\n"
        "if there is no such account:\n"
        f"{_create_role(settings, user)};\n"
        "if it is the address that is refused: a line for it in pg_hba.conf"
    )
