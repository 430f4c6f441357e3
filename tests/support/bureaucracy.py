"""Two departments with their people, an authority and a tester, at a desk with every verb; and an entry to work on."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from central.ca import make_authority
from central.catalogue.entry import Entry
from central.desk import VERBS, Desk
from central.people import Actor, Office, Role
from central.people.office import Department, Person, actor
from central.policy import Profile, profile_named
from central.registry import Registry
from central.settings import Platform
from proto.batch import Batch
from proto.schema import TableSchema
from proto.signing import Signer
from proto.values import Kind
from tests.support.shares import credit_code, entry_of
from tests.support.stores import Node, Store
from tests.support.tables import inserts, schema_of

COLUMNS: Final = ("id_no", "name", "born")
PERSON: Final = schema_of(
    "person", {"id_no": Kind.TEXT, "name": Kind.TEXT, "born": Kind.DATE}, key=("id_no",)
)
_numbers = itertools.count(1)


class Bureaucracy:
    """One platform's people on *store*; names and codes differ from one to the next, because the store is shared."""

    def __init__(self, store: Store, folder: Path, profile: Profile | None = None) -> None:
        self.store, self.number, self._has_tables = store, next(_numbers), False
        self.police, self.civil, self.bureau = (credit_code(self.number * 10 + n) for n in range(3))
        self.node = Node(store.engine, f"police{self.number}")
        office = self.office = Office(store.engine)
        Registry(store.engine).add(self.node.name, f"b{self.number:063x}", 2**60)
        office.add_department(Department(self.police, "济南市公安局", "370100", "city"), "test")
        office.add_department(Department(self.civil, "济南市民政局", "370100", "city"), "test")
        office.add_department(Department(self.bureau, "济南市大数据局", "370100", "city"), "test")
        office.place_node(self.node.name, self.police, "test")
        for person, department, *roles in (
            ("li-na", self.police, Role.REGISTRAR),
            ("wang-wei", self.police, Role.AUDITOR),
            ("zhao-lei", self.police, Role.REGISTRAR, Role.AUDITOR),
            ("sun-li", self.police, Role.RESOURCE_ADMIN),
            ("chen-jie", self.civil, Role.REGISTRAR),
            ("zhou-min", self.civil, Role.AUDITOR),
            ("liu-yang", self.bureau, Role.AUTHORITY),
            ("wu-di", self.bureau, Role.TESTER),
        ):
            self.hire(person, department, *roles)
        self.authority = make_authority("市大数据局 CA")
        issued = self.authority.issue_platform("platform.example")
        issued.write(folder / f"platform{self.number}.pem", folder / f"platform{self.number}.key")
        self.signer = Signer.load(
            folder / f"platform{self.number}.pem", folder / f"platform{self.number}.key"
        )
        self.profile = profile or profile_named()
        platform = Platform(name="济南市平台", level="city", region="370100")
        self.desk = Desk(store.engine, self.profile, self.signer, VERBS, platform)

    def hire(self, person: str, department: str, *roles: Role) -> None:
        """Make somebody known."""
        name = self.called(person)
        self.office.add_person(Person(name, person, department, tuple(roles), left=False), "test")

    def called(self, person: str) -> str:
        """How a person is called in this store."""
        return f"{person}-{self.number}"

    def do(self, verb: str, person: str, **arguments: Any) -> Any:
        """One verb of the catalogue, as *person*."""

        def who(connection: Connection) -> Actor:
            return actor(connection, self.called(person), "certificate")

        return self.desk.do(f"catalogue.{verb}", arguments, who)

    def entry(self, number: int = 1, table: str = "person", **other: Any) -> Entry:
        """An entry of the police that keeps every rule."""
        code = f"3070{self.number % 100:02d}1/{self.number:04d}{number:05d}"
        usual = {"name": f"人口信息{self.number}号{number}", "provider": self.police}
        columns = other.pop("columns", COLUMNS)
        made = entry_of(code, self.node.stream, table, columns, **{**usual, **other})
        typed = [
            item.model_copy(update={"type": "D"}) if item.column == "born" else item for item in made.items
        ]
        return made.model_copy(update={"items": tuple(typed)})

    def apply_tables(self, *schemas: TableSchema) -> None:
        """Let the platform have the tables that entries speak of."""
        self._has_tables = True
        self.node.hello()
        deltas = tuple(inserts(schema) for schema in schemas or (PERSON,))
        self.node.push(self.node.seal(Batch("p", deltas, 1, 2, 1, continues=False)))
        self.node.apply_all()

    def draft(self, entry: Entry) -> Any:
        """By the registrar."""
        return self.do("draft", "li-na", entry=entry.model_dump(mode="json"))

    def publish(self, *entries: Entry) -> None:
        """Everything up to the department's own catalogue, with the authority's word where it is needed."""
        for entry in entries:
            self.draft(entry)
            self.publish_rest(entry.code)

    def publish_rest(self, code: str, **said: Any) -> None:
        """What is left to do for a draft."""
        if not self._has_tables:
            self.apply_tables()
        self.do("submit", "li-na", code=code, reason="需要核对")
        if self.do("audit", "wang-wei", code=code)["state"] == "awaiting_verification":
            self.do("verify", "liu-yang", code=code, result="verified", opinion="依据充分")
        self.do("publish", "wang-wei", code=code, **said)

    def release(self) -> Any:
        """By the authority."""
        return self.do("release", "liu-yang", note="定期发布")
