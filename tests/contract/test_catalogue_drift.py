"""Tables that move away from their entries: a change notice is drafted, and whom it concerns is told (SD17.1, SD17.2)."""

from __future__ import annotations

from typing import Any

import pytest

from central.catalogue.drifting import Drifts, differences
from central.people import Actor, Role
from central.people.office import actor
from central.registry import Registry
from central.store import writing
from central.store.grants import GRANTS
from proto.batch import Batch, Delta
from proto.errors import NotAdmitted, Refused
from proto.schema import TableSchema
from proto.v1 import node_pb2
from proto.values import Kind
from tests.support.bureaucracy import PERSON, Bureaucracy
from tests.support.shares import entry_of, grant_directly
from tests.support.stores import Store
from tests.support.tables import schema_of

pytest_plugins = ["tests.support.stores"]


class Watched:
    """People whose entry is in force, with a consumer, and the look that finds changes."""

    def __init__(self, store: Store, folder: Any) -> None:
        self.people = people = Bureaucracy(store, folder)
        self.entry = people.entry(1)
        people.publish(self.entry)
        people.release()
        people.hire("he-jun", people.civil, Role.RESOURCE_ADMIN)
        self.grant = f"D-{people.number}"
        with writing(store.engine) as connection:
            grant_directly(connection, self.grant, f"tax-{people.number}", self.entry, {})
            ours = GRANTS.update().where(GRANTS.c.grant_id == self.grant)
            connection.execute(ours.values(department=people.civil))
        self.drifts = Drifts(store.engine, people.profile)

    def look(self) -> int:
        """Two looks: what is seen once may be on its way."""
        return self.drifts.look() + self.drifts.look()

    def arrives(self, schema: TableSchema) -> None:
        """The table comes in another shape."""
        node = self.people.node
        node.push(node.seal(Batch("q", (Delta(schema, truncated=True),), 1, 2, 1, continues=False)))
        node.apply_all()

    def report(self, code: str = "", sentence: str = "") -> None:
        """A heartbeat in which the table is held, or flows."""
        state = "SCHEMA_HOLD" if code else "RUNNING"
        table = node_pb2.TableReport(table="person", state=state, code=code or state, sentence=sentence)
        stream = node_pb2.StreamReport(stream=self.people.node.stream, state="RUNNING", tables=[table])
        said = node_pb2.HeartbeatRequest(version="test", streams=[stream])
        Registry(self.people.store.engine).seen(self.people.node.name, said)

    def changes(self, person: str = "li-na") -> list[dict[str, Any]]:
        """As *person* sees them, of our entry."""
        found: list[dict[str, Any]] = self.people.do("changes", person)
        return [each for each in found if each["code"] == self.entry.code]

    def shared(self, verb: str, person: str, **arguments: Any) -> Any:
        """A verb of another room."""
        people = self.people

        def who(connection: Any) -> Actor:
            return actor(connection, people.called(person), "certificate")

        return people.desk.do(verb, arguments, who)


@pytest.fixture
def watched(store: Store, tmp_path) -> Watched:
    """One entry in force, granted to another department."""
    return Watched(store, tmp_path)


def test_nothing_is_said_while_all_is_as_the_entry_says(watched):
    """And nothing is compared twice for nothing."""
    assert watched.look() == 0
    assert watched.changes() == []


def test_a_shape_that_arrives_otherwise_is_told(watched):
    """Dropped, retyped and new columns, each by name; the consumer hears of it with the day."""
    watched.look()
    watched.arrives(
        schema_of("person", {"id_no": Kind.TEXT, "born": Kind.INT64, "电话": Kind.TEXT}, key=("id_no",))
    )
    assert watched.drifts.look() == 0, "once may be a release on its way"
    assert watched.drifts.look() == 1
    [change] = watched.changes()

    assert change["state"] == "open" and change["since_us"] > 0
    for word in (
        "column 电话 is new",
        "column name does not arrive",
        "column born is int64, the entry says D",
    ):
        assert word in change["what"], change
    for person in ("li-na", "chen-jie"):
        told = [each for each in watched.people.do("notices", person) if each["code"] == watched.entry.code]
        assert [each for each in told if "电话" in each["sentence"] and "since 20" in each["sentence"]], told
    shown = watched.shared("grant.show", "he-jun", grant=watched.grant)
    assert shown["changed"]["since_us"] == change["since_us"]
    [inbox] = watched.shared("share.inbox", "he-jun")["changed"]
    assert (inbox["grant_id"], inbox["what"]) == (watched.grant, change["what"])
    assert watched.look() == 0, "told once"


def test_a_table_that_its_node_holds_is_told_and_ends_by_itself(watched):
    """The node saw it first (SD17.1); once the table flows again the notice is over."""
    watched.report("SCHEMA_HOLD", "column name was dropped or renamed")
    assert watched.look() == 1
    [change] = watched.changes()
    assert change["what"] == "the node holds the table: column name was dropped or renamed"
    watched.report()

    assert watched.look() == 1
    assert watched.changes() == []
    assert watched.shared("grant.show", "he-jun", grant=watched.grant)["changed"] is None


def test_what_the_catalogue_itself_holds_is_no_change(watched):
    """A table without an entry is told at its node."""
    watched.report("NOT_CATALOGUED", "the sharing catalogue has no entry for table person")

    assert watched.look() == 0


def test_the_registrar_deals_with_it(watched):
    """Only the provider's; on record; another change is a notice of its own."""
    watched.report("SCHEMA_HOLD", "its key is now (name)")
    watched.look()
    with pytest.raises(NotAdmitted):
        watched.people.do("handled", "chen-jie", code=watched.entry.code, opinion="不是我们的")
    watched.people.do("handled", "li-na", code=watched.entry.code, opinion="已登记新版本")
    [change] = watched.changes()
    assert (change["state"], change["opinion"]) == ("handled", "已登记新版本")
    assert watched.look() == 0
    with pytest.raises(Refused, match="no change"):
        watched.people.do("handled", "li-na", code=watched.entry.code, opinion="再来一次")
    assert watched.changes("chen-jie") == [] and watched.changes("liu-yang") == [change]

    watched.report("SCHEMA_HOLD", "column born changed its type")
    assert watched.look() == 1
    [change] = watched.changes()
    assert (change["n"], change["state"]) == (2, "open")


def test_what_is_not_shared_need_not_arrive():
    """Its absence is what the catalogue wants."""
    entry = entry_of(
        "3010010/9", "police/hr", "person", ("id_no", "name", "born"), share={"born": "not_shared"}
    )
    shape = schema_of("person", {"id_no": Kind.TEXT, "name": Kind.TEXT}, key=("id_no",))

    assert differences(entry, shape, "") == ""
    assert differences(entry, PERSON, "") == "column born is date, the entry says C"
    assert differences(entry, None, "") == ""
    assert "the key is name, the entry says id_no" in differences(
        entry, schema_of("person", {"id_no": Kind.TEXT, "name": Kind.TEXT}, key=("name",)), ""
    )
