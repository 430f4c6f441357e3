"""Two departments and a platform as real processes, a grant made by people's commands, and a bureau that counts its commits."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import create_engine, inspect, text

from central.catalogue.entry import Binding, Entry
from central.people import Office, Role
from central.people.office import Department, Person
from central.store import open_store, writing
from demo.system import NODE, System
from proto.channel import TlsFiles
from tests.support.department_process import ReceivingAgent
from tests.support.parcels import CONSUMER
from tests.support.shares import credit_code, entry_of, put_in_force

CODE: Final = "3070101/000001"
ROOM: Final = "from_population_hr"
COLUMNS: Final = ("id", "id_no", "phone", "district", "tick")
PLACE: Final = "东区"
ELSEWHERE: Final = ("西区", "南区")
CLOCK: Final = 0
"""The row that says how many commits there were; it is always visible."""
Row = tuple[Any, ...]
Model = dict[int, Row]


def masked(value: str | None) -> str | None:
    """The first three and the last four characters."""
    return None if value is None else f"{value[:3]}{'*' * (len(value) - 7)}{value[-4:]}"


def seen(model: Model) -> list[Row]:
    """What the grant shows of *model*, reckoned by a way of its own."""
    rows = [row for row in model.values() if row[3] == PLACE]
    return sorted((row[0], masked(row[1]), masked(row[2]), row[3], row[4]) for row in rows)


@dataclass(slots=True)
class CountingBureau:
    """One program that moves people about; what every commit made of the table can be told afterwards."""

    dsn: str
    model: Model = field(default_factory=dict)
    history: list[dict[int, Row | None]] = field(default_factory=list)
    """Of each commit the rows it wrote; None = deleted."""
    committed_at: list[float] = field(default_factory=list)
    _dice: random.Random = field(default_factory=lambda: random.Random(12))

    def open(self, people: int) -> None:
        """A table with so many people."""
        rows = [
            (n, f"3701{n:014d}", f"139{n:08d}" if n % 5 else None, self._district(n), 0)
            for n in range(1, people)
        ]
        self.model = {row[0]: row for row in [(CLOCK, "0" * 18, None, PLACE, 0), *rows]}
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "CREATE TABLE person (id bigint PRIMARY KEY, id_no text NOT NULL, phone text, "
                "district text NOT NULL, tick bigint NOT NULL, secret text DEFAULT '不得外传')"
            )
            self._write(connection, self.model)
        self.history, self.committed_at = [dict(self.model)], [time.monotonic()]

    @contextmanager
    def at_work(self, rest_s: float = 0.01) -> Iterator[None]:
        """Commit one thing after the other meanwhile."""
        stop = threading.Event()

        def work() -> None:
            with psycopg.connect(self.dsn) as connection:
                while not stop.wait(rest_s):
                    self.commit(connection)

        with ThreadPoolExecutor(1) as hands:
            working = hands.submit(work)
            try:
                yield
            finally:
                stop.set()
            working.result()

    def commit(self, connection: psycopg.Connection[Any]) -> None:
        """One transaction: births, moves in and out, other phones, deaths, another key; and the clock goes on."""
        tick, dice = len(self.history), self._dice
        some = dice.sample(sorted(self.model.keys() - {CLOCK}), 4)
        changes: dict[int, Row | None] = {CLOCK: (CLOCK, "0" * 18, None, PLACE, tick)}
        born = 1_000_000 + tick
        changes[born] = (born, f"3702{born:014d}", None, self._district(dice.randrange(3)), tick)
        changes[some[0]] = (*self.model[some[0]][:3], self._district(dice.randrange(3)), tick)
        changes[some[1]] = (
            *self.model[some[1]][:2],
            f"138{dice.randrange(10**8):08d}",
            *self.model[some[1]][3:4],
            tick,
        )
        changes[some[2]] = None
        other = 2_000_000 + tick
        changes[some[3]], changes[other] = None, (other, *self.model[some[3]][1:4], tick)
        self._write(connection, changes)
        connection.commit()
        self.history.append(changes)
        self.committed_at.append(time.monotonic())

    def after(self, commits: int) -> Model:
        """The table as it was after so many commits."""
        model: Model = {}
        for changes in self.history[: commits + 1]:
            for key, row in changes.items():
                model.pop(key, None)
                if row is not None:
                    model[key] = row
        return model

    def _write(self, connection: psycopg.Connection[Any], changes: dict[int, Row | None] | Model) -> None:
        with connection.cursor() as cursor:
            gone = [key for key in changes if key in self.model and changes[key] is None]
            cursor.execute("DELETE FROM person WHERE id = ANY(%s)", (gone,))
            cursor.executemany(
                "INSERT INTO person (id, id_no, phone, district, tick) VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) "
                "DO UPDATE SET phone = excluded.phone, district = excluded.district, tick = excluded.tick",
                [row for row in changes.values() if row is not None],
            )
        for key, row in changes.items():
            if row is None:
                self.model.pop(key, None)
            else:
                self.model[key] = row

    def _district(self, number: int) -> str:
        return (PLACE, *ELSEWHERE)[number % 3]


class Neighbours:
    """A provider, the platform and a consumer; the people are known and the resource is in force."""

    def __init__(self, home: Path, dsn: str, exchange_url: str = "", consumer_url: str = "") -> None:
        self.system = System(home / "system", dsn, [{"table": "public.person"}], exchange_url=exchange_url)
        self.system.prepare()
        self.system.start()
        self.system.wait_until_listening()
        bundle = home / "bundle"
        self.system.central_command("node", "add", CONSUMER, "--out", str(bundle))
        files = TlsFiles(bundle / "ca.pem", bundle / "node.pem", bundle / "node.key")
        target = f"127.0.0.1:{self.system.port}"
        self.consumer = ReceivingAgent(home / "consumer", target, files, consumer_url)
        self._people()

    def decide(self, who: str, group: str, *words: str) -> str:
        """A person's command at the platform; what it printed."""
        return self.system.central_command(group, *words, "--as", who)

    def granted(self, *conditions: str) -> str:
        """Asked for and agreed to with *conditions*, by the commands a user has; the grant's number."""
        items = [word for column in COLUMNS for word in ("--item", column)]
        why = (
            "--business",
            "社会救助",
            "--user",
            "救助科",
            "--purpose",
            "核对申请人",
            "--until",
            _in_days(30),
        )
        request = self.decide("sun-li", "share", "request", CONSUMER, CODE, *items, *why).split()[0]
        return self.decide("zhao-jing", "share", "agree", request, *conditions).split()[-1]

    def received(self) -> list[Row]:
        """The consumer's table; nothing before the first copy."""
        engine = create_engine(self.consumer.exchange)
        schema, name = (ROOM, "person") if engine.dialect.name == "postgresql" else (None, f"{ROOM}.person")
        try:
            if not inspect(engine).has_table(name, schema=schema):
                return []
            with engine.connect() as connection:
                place = f"{schema}.{name}" if schema else f'"{name}"'
                found = connection.execute(text(f"SELECT * FROM {place}"))
                assert tuple(found.keys()) == COLUMNS, "no column but those of the grant"
                return sorted(tuple(row) for row in found)
        finally:
            engine.dispose()

    def close(self) -> None:
        """End everything."""
        self.consumer.close()
        self.system.agent.kill()
        self.system.central.kill()

    def _people(self) -> None:
        engine = open_store(self.system.central_database)
        police, civil = credit_code(1), credit_code(2)
        office = Office(engine)
        office.add_department(Department(police, "济南市公安局", "370100", "city"), "test")
        office.add_department(Department(civil, "济南市民政局", "370100", "city"), "test")
        office.place_node(NODE, police, "test")
        office.place_node(CONSUMER, civil, "test")
        office.add_person(Person("zhao-jing", "赵静", police, (Role.RESOURCE_ADMIN,), left=False), "test")
        office.add_person(Person("sun-li", "孙丽", civil, (Role.RESOURCE_ADMIN,), left=False), "test")
        with writing(engine) as connection:
            put_in_force(connection, self._entry())
        engine.dispose()

    def _entry(self) -> Entry:
        share = dict.fromkeys((*COLUMNS, "secret"), "conditional")
        binding = Binding(stream=self.system.stream, table="person")
        return entry_of(
            CODE, self.system.stream, "person", (*COLUMNS, "secret"), share=share, binding=binding
        )


def _in_days(days: int) -> str:
    return str((datetime.now(UTC) + timedelta(days=days)).date())
