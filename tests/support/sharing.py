"""A platform with four departments, their people and nodes, a provider's table with rows, and a desk to decide at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from central.catalogue.entry import Entry
from central.desk import VERBS, Desk
from central.ledger import note_shape
from central.people import Office, Role
from central.people.office import Department, Person, actor
from central.policy import Profile, profile_named
from central.registry import Registry
from central.sharing.permits import Permit, permit
from central.store import now_us, reading, writing
from central.store.names import room_of
from central.store.sharing import STEPS
from central.store.tables import AUDIT
from proto.batch import Delta, Frames
from proto.frames import pack
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from replica.opening import open_replica
from tests.support.shares import credit_code, entry_of, put_in_force
from tests.support.stores import Store

DAY_US = 86_400_000_000
PEOPLE = TableSchema(
    "person",
    (
        Column("id", Kind.TEXT),
        Column("name", Kind.TEXT),
        Column("region", Kind.TEXT),
        Column("born", Kind.DATE),
        Column("married", Kind.BOOL),
    ),
    ("id",),
)
ROWS = (
    ("370102199001011234", "李娜", "370102", "1990-01-01", "true"),
    ("370103198505054321", "王伟", "370103", "1985-05-05", "false"),
    ("370102200012125678", "张三", "370102", "2000-12-12", None),
)
BASIS = {
    "title": "中华人民共和国居民身份证法",
    "document_no": "主席令第51号",
    "article": "第十九条",
    "kind": "law",
}
_numbers = itertools.count(1)
_departments = itertools.count(100)


def framed(rows: Sequence[Sequence[str | None]], schema: TableSchema = PEOPLE) -> Frames:
    """Rows of texts as frames."""
    packed = [
        pack(
            [
                None if text is None else from_text(kind, text)
                for kind, text in zip(schema.kinds, row, strict=True)
            ]
        )
        for row in rows
    ]
    return Frames(b"".join(packed), len(packed))


@dataclass
class Town:
    """Police provide, civil affairs and health ask, the data bureau is the authority."""

    engine: Engine
    desk: Desk
    profile: Profile
    number: int
    codes: dict[str, str]

    def name(self, who: str) -> str:
        """A person's or a node's name here."""
        return f"{who}-{self.number}"

    @property
    def stream(self) -> str:
        """The provider's."""
        return f"{self.name('police')}/hr"

    def do(self, who: str, verb: str, **arguments: Any) -> Any:
        """As that person, with a certificate."""
        return self.desk.do(
            verb, arguments, lambda connection: actor(connection, self.name(who), "certificate")
        )

    def entry(
        self, columns: Sequence[str] = ("id", "name", "region", "born", "married"), **other: Any
    ) -> Entry:
        """A new entry of the provider in force, on its table."""
        code = f"3070{self.number:03d}/{next(_numbers):06d}"
        fields = {"provider": self.codes["police"], "modes": ("exchange", "query"), **other}
        made = entry_of(code, self.stream, "person", columns, **fields)
        with writing(self.engine) as connection:
            put_in_force(connection, made)
        return made

    def asked(self, **other: Any) -> dict[str, Any]:
        """What a request asks for, all five elements there."""
        usual = {
            "business": "社会救助核对",
            "users": [OFFICE],
            "items": ["id", "name", "region"],
            "mode": "query",
            "until": str(self.day(90)),
            "purpose": "核对救助申请人",
        }
        return {**usual, **other}

    def ask(self, entry: Entry, who: str = "civil-admin", **other: Any) -> Any:
        """Draft and send off."""
        consumer = self.name(who.partition("-")[0])
        return self.do(who, "share.draft", consumer=consumer, resource=entry.code, asked=self.asked(**other))

    def granted(self, entry: Entry, **other: Any) -> str:
        """A grant of what is shared without conditions."""
        answer = self.ask(entry, **other)
        assert answer["state"] == "granted", answer
        return str(answer["grant"])

    def permit(self, grant: str) -> Permit:
        """As the data path sees it."""
        with reading(self.engine) as connection:
            return permit(connection, grant)

    def now(self) -> int:
        """The database's time."""
        with reading(self.engine) as connection:
            return now_us(connection)

    def day(self, days: int) -> date:
        """So many days from today, where the platform stands."""
        return self.profile.calendar.day_of(self.now()) + timedelta(days=days)

    def records(self, event: str) -> list[dict[str, Any]]:
        """The facts of every record of *event*, oldest first."""
        with reading(self.engine) as connection:
            query = select(AUDIT.c.facts).where(AUDIT.c.chain == "decisions", AUDIT.c.event == event)
            return [json.loads(facts) for facts in connection.scalars(query.order_by(AUDIT.c.n))]

    def overdue(self, request: str) -> None:
        """Let the open steps of *request* have been due yesterday."""
        with writing(self.engine) as connection:
            here = (STEPS.c.request == request, STEPS.c.answered_us.is_(None))
            connection.execute(update(STEPS).where(*here).values(due_us=now_us(connection) - DAY_US))


OFFICE = "救助科"
ASKING = frozenset({"civil", "health"})
"""Departments whose people are of that office."""
PEOPLE_OF = {
    "police-admin": ("police", (Role.RESOURCE_ADMIN,)),
    "civil-admin": ("civil", (Role.RESOURCE_ADMIN,)),
    "civil-clerk": ("civil", (Role.REGISTRAR,)),
    "health-admin": ("health", (Role.RESOURCE_ADMIN,)),
    "data-li": ("data", (Role.AUTHORITY,)),
    "data-wang": ("data", (Role.AUTHORITY,)),
    "data-safe": ("data", (Role.SECURITY_ADMIN,)),
}


def build_town(engine: Engine, profile: Profile | None = None) -> Town:
    """A new one, beside those that are there."""
    profile = profile or profile_named()
    number = next(_numbers)
    codes = {name: credit_code(next(_departments)) for name in ("police", "civil", "health", "data")}
    town = Town(engine, Desk(engine, profile, None, VERBS), profile, number, codes)
    office, registry = Office(engine), Registry(engine)
    for name, code in codes.items():
        office.add_department(Department(code, f"济南市{name}局", "370100", "city"), "test")
        registry.add(town.name(name), f"{number}{name}".ljust(64, "f"), 2**60, "test")
        office.place_node(town.name(name), code, "test")
    for name, (department, roles) in PEOPLE_OF.items():
        section = OFFICE if department in ASKING else ""
        office.add_person(
            Person(town.name(name), name, codes[department], roles, left=False, office=section), "test"
        )
    fill(town, PEOPLE, ROWS)
    return town


def fill(town: Town, schema: TableSchema, rows: Sequence[Sequence[str | None]]) -> None:
    """What the provider's stream would have brought."""
    replica = open_replica(town.engine, room_of(town.stream))
    with writing(town.engine) as connection:
        replica.prepare(connection, schema)
        replica.apply(connection, [Delta(schema, upserts=framed(rows, schema))])
        note_shape(connection, town.stream, schema)


@pytest.fixture
def town(store: Store) -> Town:
    """Four departments of this test alone."""
    return build_town(store.engine)


@pytest.fixture
def limited(town: Town) -> Callable[..., str]:
    """A grant with conditions: rows of one district, the name masked."""

    def make(**conditions: Any) -> str:
        entry = town.entry(share={"name": "conditional"})
        request = town.ask(entry, items=["id", "name", "region", "born"])["request"]
        answer = town.do("police-admin", "share.agree", request=request, conditions=conditions)
        return str(answer["grant"])

    return make
