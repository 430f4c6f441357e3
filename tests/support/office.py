"""A department as its own people see it: real commands, a real server, an account with few rights, and mistakes.

Nothing here looks inside the product: what counts is what a command prints, its exit code, the named state, and
whether every row is there once the mistake is mended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import yaml

from agent.cli.console import socket_of
from agent.local import LocalClient, NotRunning
from demo.books import compare
from demo.system import System, attempt, command
from proto.v1 import node_pb2
from tests.support.postgres import Cluster

AGENT: Final = command("exchange-agent")
CENTRAL: Final = command("exchange-central")
PERSON: Final = {"table": "public.person"}
HOUSE: Final = {"table": "public.house"}
WAIT_S: Final = 60.0
TABLES: Final = """
CREATE TABLE person (id bigint PRIMARY KEY, name text, note text);
CREATE TABLE house (id bigint PRIMARY KEY, street text);
INSERT INTO person SELECT n, '人' || n, 'x' FROM generate_series(1, 200) n;
INSERT INTO house SELECT n, '街' || n FROM generate_series(1, 100) n;
"""
BLUNDERS: Final = ("Traceback", '"exception"', "worker_died")
T = TypeVar("T")
_pause = Event()


def name_of(table: dict[str, Any]) -> str:
    """What the other side knows a captured table by."""
    return str(table.get("name") or table["table"].rpartition(".")[2])


class Office:
    """A business database, an account for the agent, and both daemons ready to start. Use it as a context manager."""

    def __init__(
        self,
        cluster: Cluster,
        home: Path,
        tables: Sequence[dict[str, Any]] = (PERSON, HOUSE),
        publish: str = "person, house",
        **source_settings: Any,
    ) -> None:
        self.cluster = cluster
        self.database = cluster.new_database("business")
        self.account = f"reader_{self.database}"
        self.sql(
            f"CREATE ROLE {self.account} LOGIN REPLICATION PASSWORD 'right'; {TABLES} "
            f"GRANT SELECT ON person, house TO {self.account}"
        )
        if publish:
            self.publish(publish)
        dsn = f"postgresql://{self.account}:right@127.0.0.1:{cluster.port}/{self.database}"
        self.system = System(home / "system", dsn, list(tables), source_settings=source_settings)

    def __enter__(self) -> Self:
        self.system.prepare()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        logs = [
            each.log.read_text() for each in (self.system.agent, self.system.central) if each.log.exists()
        ]
        self.system.agent.kill()
        self.system.central.kill()
        if not self.cluster.running:
            self.cluster.start()
        self.sql(f"DROP OWNED BY {self.account}")
        self.cluster.drop_database(self.database)
        with self.cluster.connect() as connection:
            connection.execute(f"DROP ROLE {self.account}".encode())
        if error is None:
            for log in logs:
                assert not [word for word in BLUNDERS if word in log], log[-3000:]
        else:
            print(*(log[-3000:] for log in logs), sep="\n")

    # The department's own work

    def sql(self, *statements: str) -> None:
        """As the database's administrator."""
        with self.cluster.connect(self.database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def publish(self, tables: str) -> None:
        """As a careful administrator would."""
        self.sql(
            f"CREATE PUBLICATION exchange_hr FOR TABLE {tables} WITH (publish_via_partition_root = true)"
        )

    def edit(self, change: Callable[[dict[str, Any]], None], path: Path | None = None) -> None:
        """Change the agent's settings, or those in *path*; a running agent takes them up by itself."""
        path = path or self.system.agent_config
        settings = yaml.safe_load(path.read_text())
        change(settings)
        path.write_text(yaml.safe_dump(settings, allow_unicode=True))

    def edit_source(self, **changes: Any) -> None:
        """Change settings of the source, and what the comparison goes by."""
        self.edit(lambda settings: settings["sources"][0].update(changes))
        self.system.tables = changes.get("tables", self.system.tables)

    # What people see

    def ask(self, *words: str) -> tuple[int, str, str]:
        """One of the agent's commands: exit code, what it printed, what it complained of."""
        done = attempt(AGENT, *words, "-c", str(self.system.agent_config))
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def do(self, *words: str) -> str:
        """A command that must succeed."""
        code, said, complaint = self.ask(*words)
        assert code == 0, complaint
        return said

    def missing(self) -> dict[str, str]:
        """What ``check`` finds wrong, with the remedy; its exit code agrees."""
        code, said, complaint = self.ask("check", "--json")
        assert complaint == "", complaint
        found = {each["name"]: each for each in json.loads(said) if not each["passed"]}
        assert code == (1 if found else 0)
        assert all(each["sentence"] and each["fix"] for each in found.values()), found
        return {name: f"{each['sentence']} — {each['fix']}" for name, each in found.items()}

    def report(self) -> node_pb2.StreamReport:
        """What the running agent says of its stream; nothing while nobody answers."""
        try:
            with LocalClient(socket_of(self.system.agent_config)) as agent:
                return agent.status().streams[0]
        except NotRunning:
            return node_pb2.StreamReport()

    def until(self, state: str, saying: str = "", within_s: float = WAIT_S) -> node_pb2.StreamReport:
        """Wait for the stream's state and sentence; outside the ordinary ones it says why and what to do."""
        told = f"{state} {saying}"
        report = self._until(
            self.report, lambda each: each.state == state and saying in each.sentence, told, within_s
        )
        if state not in ("IDLE", "RUNNING", "SNAPSHOT", "PAUSED"):
            assert report.code and report.sentence and report.fix, report
        return report

    def until_held(self, table: str, within_s: float = WAIT_S) -> node_pb2.TableReport:
        """Wait until *table* is held; it says why and what to do."""
        found = self._until(
            lambda: next(
                (each for each in self.report().tables if each.table == table), node_pb2.TableReport()
            ),
            lambda each: each.state in ("SCHEMA_HOLD", "QUARANTINE"),
            f"{table} held",
            within_s,
        )
        assert found.code and found.sentence and found.fix, found
        return found

    def arrives(self, *names: str, within_s: float = WAIT_S) -> None:
        """Wait until business, exchange and central database hold the same rows in these tables, and say so."""
        wanted = set(names)
        tables = [table for table in self.system.tables if name_of(table) in wanted]
        source = {**self.system.source, "dsn": self.cluster.dsn(self.database), "tables": tables}

        def equal() -> set[str]:
            with self.system.books() as books:
                if not wanted <= books.copied() or not 0 < books.captured_seq() <= books.applied_seq():
                    return set()
                return {each.table for each in compare(source, books) if each.holds}

        self._until(equal, lambda each: wanted <= each, f"{wanted} equal everywhere", within_s)

    def _until(self, look: Callable[[], T], good: Callable[[T], bool], what: str, within_s: float) -> T:
        deadline = time.monotonic() + within_s
        while not good(found := look()):
            assert time.monotonic() < deadline, f"not {what}: {found}\n{self.report()}"
            self.system.raise_if_ended()
            _pause.wait(0.1)
        return found
