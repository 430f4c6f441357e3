"""Every prerequisite at the source, looked at without changing anything; each failure with the statement that mends it.

A finding that passed may still carry a fix: then it is advice. That the account cannot write is proven, not assumed:
its rights are read, and the server is asked to plan a DELETE, which needs the right and does nothing (SD40.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from agent.sources.mysql import server
from agent.sources.mysql.catalog import TRANSACTIONAL, Catalog
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.fading import DAY_S, keeping
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.shapes import Shape, Shapes
from agent.sources.source import Finding
from agent.sources.wakeup import Wakeup
from proto.errors import ExchangeError, Fenced, SchemaHold

_NO_DATABASE: Final = re.compile(r"denied for user ('[^']*'@'[^']*') to database")
OLDEST: Final = {True: (10, 5), False: (8, 0, 14)}
SHORT_S: Final = 3 * DAY_S
_WRITING: Final = (
    "INSERT",
    "UPDATE",
    "DELETE",
    "DROP",
    "ALTER",
    "CREATE",
    "TRIGGER",
    "SUPER",
    "ALL PRIVILEGES",
)


def check(settings: MysqlSettings) -> list[Finding]:
    """All findings; the first one that fails so that nothing more can be seen is the last."""
    found: list[Finding] = []
    try:
        with closing(Connection(settings)) as connection:
            found.extend(_Checks(settings, connection).findings())
    except ExchangeError as error:
        fix = (
            _mend_login(settings, error.what) if error.code == "CREDENTIAL" else error.fix or _start(settings)
        )
        found.append(Finding("connection", False, error.what, fix))
    return found


_CASCADES: Final = """
SELECT constraint_name, delete_rule, update_rule FROM information_schema.referential_constraints
WHERE constraint_schema = %s AND table_name = %s
"""
_DENIED: Final = (1142, 1143, 1227)
"""Of a table, of a column, of everything: access denied."""
_SILENT: Final = ("CASCADE", "SET NULL", "SET DEFAULT")


class _Checks:
    """One look at one server."""

    def __init__(self, settings: MysqlSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._account = account_of(connection)
        self._shapes = Shapes(Catalog(connection), settings, lambda _: False)

    def findings(self) -> Iterator[Finding]:
        """Server, log, account, tables."""
        yield self._version()
        yield from self._log()
        yield self._reads_log()
        yield self._free_number()
        yield from self._kept()
        yield self._writes_nothing()
        for table in self._settings.tables:
            try:
                shape = self._shapes.read(table)
            except SchemaHold as hold:
                yield Finding(f"table {table.catalogued}", False, hold.what, hold.fix)
            else:
                yield from self._table(shape)

    def _version(self) -> Finding:
        oldest = OLDEST[self._connection.is_mariadb]
        family = "MariaDB" if self._connection.is_mariadb else "MySQL"
        sentence = f"the server is {family} {'.'.join(map(str, self._connection.version))}"
        passed = self._connection.version >= oldest
        return Finding(
            "server version", passed, sentence, "" if passed else f"{'.'.join(map(str, oldest))} or later"
        )

    def _log(self) -> Iterator[Finding]:
        for name, wanted in server.requirements(self._connection).items():
            row = self._connection.row(f"SHOW GLOBAL VARIABLES LIKE '{name}'")
            value = str(row[1]).upper() if row else "unknown"
            passed = value == wanted
            yield Finding(name, passed, f"{name} is {value}", "" if passed else server.mend(name, wanted))

    def _reads_log(self) -> Finding:
        """Whether the server sends us its log: asked in earnest, for the first event of its newest file."""
        name = "log reading right"
        fix = f"GRANT REPLICATION SLAVE, {self._monitor} ON *.* TO {self._account};"
        try:
            files = server.files(self._connection)
            server.birth(self._settings, files[-1], Wakeup(), is_mariadb=self._connection.is_mariadb)
        except ExchangeError as error:
            return Finding(name, False, error.what, fix)
        return Finding(name, True, "the account may read the server's log")

    def _free_number(self) -> Finding:
        number = self._settings.replica_id
        if int(self._connection.row("SELECT @@global.server_id")[0]) == number:
            fix = "set another server_id for this source"
            return Finding("server_id", False, f"the server itself has our number {number}", fix)
        try:
            server.claim(self._connection, number, lambda _: None)
        except Fenced:
            # Our own service runs while somebody checks: no fault, but worth a word.
            return Finding("server_id", True, f"an agent reads the log under number {number} now")
        return Finding("server_id", True, f"nobody reads the log under our number {number}")

    def _kept(self) -> Iterator[Finding]:
        kept = keeping(self._connection)
        days = f"{kept.seconds / DAY_S:.3g} days"
        if kept.seconds == 0:
            yield Finding("kept logs", True, "the server keeps its logs until somebody purges them")
        elif kept.seconds < SHORT_S:
            sentence = f"the server keeps its logs for {days}: an agent that is away for longer has a gap"
            yield Finding("kept logs", True, sentence, kept.longer)
        else:
            yield Finding("kept logs", True, f"the server keeps its logs for {days}")
        if kept.bytes:
            sentence = (
                f"the server keeps {kept.bytes >> 20} MiB of its logs: what was not read by then is a gap"
            )
            yield Finding("kept logs, size", True, sentence)

    def _writes_nothing(self) -> Finding:
        """Rights are read as they were granted; roles and defaults included."""
        grants = [str(row[0]).upper() for row in self._connection.rows("SHOW GRANTS")]
        given = sorted(
            {right for grant in grants for right in _WRITING if right in grant.partition(" ON ")[0]}
        )
        if not given:
            return Finding("no writing", True, "the account can write nothing")
        sentence = f"the account could write to the business database: {', '.join(given)}"
        mend = f"{create_account(self._settings, f'exchange_{self._settings.name}')}\nuse it in the dsn"
        return Finding("no writing", False, sentence, mend)

    def _tried(self, shape: Shape) -> Finding:
        """However the right came about: by a role, by everybody's rights, or because nobody looks at rights there."""
        name, quoted = f"table {shape.schema.name}: no writing", shape.facts.quoted
        fix = f"REVOKE DELETE ON {quoted} FROM {self._account};"
        try:
            self._connection.rows(f"EXPLAIN DELETE FROM {quoted}")  # noqa: S608 - quoted
        except ExchangeError as error:
            refused = any(f"({number})" in error.what for number in _DENIED)
            sentence = "the server refuses a DELETE" if refused else f"not proven: {error.what}"
            return Finding(name, refused, sentence, "" if refused else fix)
        return Finding(name, False, "the account could write to it: the server would run a DELETE", fix)

    def _table(self, shape: Shape) -> Iterator[Finding]:
        facts, name = shape.facts, shape.schema.name
        columns = ", ".join(f"`{part.name}`" for part in shape.parts)
        try:
            self._connection.rows(f"SELECT {columns} FROM {facts.quoted} LIMIT 0")  # noqa: S608 - quoted
        except ExchangeError as error:
            fix = f"GRANT SELECT ({columns}) ON {facts.quoted} TO {self._account};"
            yield Finding(f"table {name}: read", False, error.what, fix)
        else:
            yield Finding(f"table {name}: read", True, "every captured column can be read")
            yield self._tried(shape)
        if facts.engine not in TRANSACTIONAL:
            sentence = f"engine {facts.engine} has no transactions: each statement is a commit of its own"
            yield Finding(
                f"table {name}: engine", True, sentence, f"ALTER TABLE {facts.quoted} ENGINE = InnoDB;"
            )
        left_out = [column.name for column in facts.columns if column.generated]
        if left_out and shape.settings.columns is None:
            sentence = f"generated columns are left out: {', '.join(left_out)}"
            yield Finding(f"table {name}: generated columns", True, sentence)
        rules = self._connection.rows(_CASCADES, (facts.schema, facts.name))
        silent = [row[0] for row in rules if row[1] in _SILENT or row[2] in _SILENT]
        if silent:
            sentence = (
                f"rows changed through the foreign key {silent[0]} are not in the log and stay in the copy"
            )
            fix = "let the department's programs change them, or compare and copy the table regularly"
            yield Finding(f"table {name}: foreign key", True, sentence, fix)
        if not shape.schema.key:
            sentence = "it has no key: rows from now on are captured, rows that are there are not copied"
            fix = f"ALTER TABLE {facts.quoted} ADD PRIMARY KEY (…)"
            yield Finding(f"table {name}: no key", True, sentence, fix)

    @property
    def _monitor(self) -> str:
        return "BINLOG MONITOR" if self._connection.is_mariadb else "REPLICATION CLIENT"


def account_of(connection: Connection) -> str:
    """The account as GRANT names it."""
    user, _, host = str(connection.row("SELECT CURRENT_USER()")[0]).rpartition("@")
    return f"'{user}'@'{host}'"


def create_account(settings: MysqlSettings, user: str = "") -> str:
    """The statements that make an account with the least rights; the host it comes from is for a person to fill in."""
    account = f"'{user or settings.address.user}'@'…'"
    tables = [settings.place(table) for table in settings.tables]
    grants = [f"GRANT SELECT ON `{schema}`.`{name}` TO {account};" for schema, name in tables]
    return "\n".join(
        [
            f"CREATE USER {account} IDENTIFIED BY '…';",
            f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {account};",
            "on MySQL, REPLICATION CLIENT in place of BINLOG MONITOR",
            *grants,
        ]
    )


def _mend_login(settings: MysqlSettings, said: str) -> str:
    if known := _NO_DATABASE.search(said):
        tables = [settings.place(table) for table in settings.tables]
        grants = [f"GRANT SELECT ON `{schema}`.`{name}` TO {known[1]};" for schema, name in tables]
        return "\n".join(["correct the database's name in the dsn, or, if it is there:", *grants])
    if "Unknown database" in said:
        return "correct the database's name in the dsn"
    return f"correct the password in the dsn; if there is no such account:\n{create_account(settings)}"


def _start(settings: MysqlSettings) -> str:
    address = settings.address
    return f"start the server, or correct its address in the dsn: {address.host}:{address.port}"
