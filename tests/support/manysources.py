"""One node with a source of every kind, each over a real business database, and ways to break each of them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

from agent.local import LocalClient
from agent.sources.memory import Row
from central.store.names import room_of
from demo.system import NODE, System
from proto.v1 import node_pb2
from tests.support.dropfolders import NULL, DropfolderRig
from tests.support.journal import SqliteJournal
from tests.support.mariadb import MariadbServer
from tests.support.mysql import MariadbRig
from tests.support.polling import SqliteRig, tables_of
from tests.support.postgres import Cluster
from tests.support.proxy import BadNet
from tests.support.rigs import PostgresRig, Rig

KINDS: Final = ("postgresql", "mysql", "journal", "polling", "dropfolder")
STUCK: Final = "stuck"
WAIT_S: Final = 30.0
PAGE_ROWS: Final = 5000
_pause = Event()


def persons() -> list[dict[str, str]]:
    """Made anew each time: a settings file takes no aliases."""
    return [{"table": "person"}]


@dataclass(slots=True)
class Bureau:
    """One business database, and the section that listens to it."""

    rig: Rig
    section: dict[str, Any]

    def put(self, *rows: Row) -> None:
        """Persons, committed together."""
        with self.rig.transaction() as writer:
            for row in rows:
                writer.put("person", row)


class Bureaus:
    """One of each kind below *home*, a source whose server never answers, and the system that follows them all.

    *exchange* are settings of the exchange database.

    Use it as a context manager: the daemons are gone afterwards.
    """

    def __init__(self, home: Path, cluster: Cluster, server: MariadbServer, **exchange: Any) -> None:
        self._home, self._ends = home, ExitStack()
        self.nets = {
            "postgresql": self._net(cluster.port),
            "mysql": self._net(server.port),
            STUCK: self._net(cluster.port),
        }
        self.nets[STUCK].black_hole()
        self.all = {
            "postgresql": self._postgresql(cluster),
            "mysql": self._mysql(server),
            "journal": self._journal(),
            "polling": self._polling(),
            "dropfolder": self._dropfolder(),
        }
        never = {"kind": "postgresql", "dsn": self._dsn(STUCK, "nowhere"), "tables": persons()}
        sections = [{"name": kind, **each.section} for kind, each in self.all.items()]
        sections.insert(0, {"name": STUCK, **never})
        self.system = System(
            home / "system", "", [], agent_settings={"sources": sections, "exchange": exchange}
        )

    def __enter__(self) -> Bureaus:
        self.system.prepare()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.system.agent.tail(40), self.system.central.tail(10), sep="\n")
        self.system.agent.kill()
        self.system.central.kill()
        self.close()

    def close(self) -> None:
        """Let go of the business databases."""
        self._ends.close()

    # What people see

    def arrives(self, *kinds: str, within_s: float = WAIT_S) -> dict[str, float]:
        """Wait until central holds the persons of these bureaus; how long it took each."""
        begin_s, waiting, took_s = time.monotonic(), list(kinds), {}
        while waiting:
            for kind in [
                kind for kind in waiting if self.at_central(kind) == self.all[kind].rig.rows("person")
            ]:
                waiting.remove(kind)
                took_s[kind] = time.monotonic() - begin_s
            self.system.raise_if_ended()
            assert time.monotonic() - begin_s < within_s, f"{waiting} did not arrive: {self.states()}"
            _pause.wait(0.05)
        return took_s

    def at_central(self, kind: str) -> list[Row]:
        """A bureau's persons at central, by id; none before the table is there."""
        path = self.system.home / "central" / "central.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as central:
            room = room_of(f"{NODE}/{kind}")
            if not central.execute(
                "SELECT 1 FROM sqlite_master WHERE name = ?", (f"{room}.person",)
            ).fetchone():
                return []
            return central.execute(f'SELECT id, name, note FROM "{room}.person" ORDER BY id').fetchall()

    def states(self) -> dict[str, str]:
        """The named state of each source."""
        return {kind: report.state for kind, report in self.reports().items()}

    def until_ill(self, kind: str, within_s: float = WAIT_S) -> None:
        """Wait until the node says that something is wrong with this source, or one of its tables."""
        deadline_s = time.monotonic() + within_s
        while not self._is_ill(kind):
            assert time.monotonic() < deadline_s, self.states()
            _pause.wait(0.1)

    def _is_ill(self, kind: str) -> bool:
        report = self.reports()[kind]
        states = {report.state, *(table.state for table in report.tables)}
        return not states <= {"IDLE", "RUNNING", "SNAPSHOT", ""}

    def reports(self) -> dict[str, node_pb2.StreamReport]:
        """What the node says of each source."""
        with LocalClient(self.system.socket_path) as agent:
            return {each.stream.rpartition("/")[2]: each for each in agent.status().streams}

    # What happens to them

    @contextmanager
    def broken(self, kind: str) -> Iterator[None]:
        """As its users know it: a network that swallows, a server that refuses, a lock, a lost column, a lost folder."""
        with getattr(self, f"_broken_{kind}")():
            yield

    @contextmanager
    def _broken_postgresql(self) -> Iterator[None]:
        self.nets["postgresql"].black_hole()
        yield
        self.nets["postgresql"].heal()
        self.nets["postgresql"].cut()

    @contextmanager
    def _broken_mysql(self) -> Iterator[None]:
        self.nets["mysql"].cut(refuse=True)
        yield
        self.nets["mysql"].heal()

    @contextmanager
    def _broken_journal(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self._home / "journal.db")) as greedy:
            greedy.execute("BEGIN EXCLUSIVE")
            yield

    @contextmanager
    def _broken_polling(self) -> Iterator[None]:
        path = self._home / "polling.db"
        with contextlib.closing(sqlite3.connect(path)) as business:
            business.execute("ALTER TABLE person RENAME TO elsewhere")
            self.until_ill("polling")
            yield
            business.execute("ALTER TABLE elsewhere RENAME TO person")
        self.system.agent_command("snapshot", "person", "--source", "polling")

    @contextmanager
    def _broken_dropfolder(self) -> Iterator[None]:
        shutil.move(self._home / "投放", self._home / "elsewhere")
        yield
        shutil.move(self._home / "elsewhere", self._home / "投放")

    # How they are made

    def _postgresql(self, cluster: Cluster) -> Bureau:
        rig = PostgresRig(cluster, cluster.new_database("many"))
        self._ends.callback(cluster.drop_database, rig.database)
        self._ends.callback(rig.admin.close)
        return Bureau(
            rig, {"kind": "postgresql", "dsn": self._dsn("postgresql", rig.database), "tables": persons()}
        )

    def _mysql(self, server: MariadbServer) -> Bureau:
        rig = MariadbRig(server, server.new_database("many"))
        self._ends.callback(server.drop_database, rig.database)
        self._ends.callback(rig.admin.close)
        dsn = f"mysql://root@{self.nets['mysql'].address}/{rig.database}"
        return Bureau(rig, {"kind": "mysql", "dsn": dsn, "tables": persons()})

    def _journal(self) -> Bureau:
        path = self._home / "journal.db"
        pace = {"look_every_s": 0.1, "page_rows": PAGE_ROWS}
        return Bureau(
            SqliteJournal(path), {"kind": "journal", "url": f"sqlite:///{path}", "tables": persons(), **pace}
        )

    def _polling(self) -> Bureau:
        path = self._home / "polling.db"
        every = {"every_s": 0.1, "compare_every_s": 1, "overlap": 0}
        section = {
            "kind": "polling",
            "odbc": f"Driver=SQLite3;Database={path}",
            "look_every_s": 0.5,
            "load": {"rows_per_s": None, "page_rows": PAGE_ROWS},
            "tables": [{**table, **every} for table in tables_of("")[:1]],
        }
        return Bureau(SqliteRig(path, "odbc"), section)

    def _dropfolder(self) -> Bureau:
        rig = DropfolderRig(self._home / "投放", PAGE_ROWS)
        rules = [
            {"name": "id", "kind": "int32"},
            {"name": "name", "header": "姓名", "null": [NULL]},
            {"name": "note", "null": [NULL]},
        ]
        table = {"table": "person", "files": "person-*.csv", "mode": "delta", "rules": rules, "key": ["id"]}
        section = {"kind": "dropfolder", "folder": str(rig.folder), "settle_s": 0, "scan_every_s": 0.1}
        return Bureau(rig, {**section, "tables": [{**table, "operation": {"header": "操作"}}]})

    def _net(self, port: int) -> BadNet:
        net = BadNet(("127.0.0.1", port))
        self._ends.callback(net.close)
        return net

    def _dsn(self, net: str, database: str) -> str:
        return f"postgresql://postgres@{self.nets[net].address}/{database}"
