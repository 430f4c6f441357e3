"""Systems and customised products over the real wire: mutual TLS, a real agent with its socket, a real delivery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from central.catalogue.entry import Binding
from central.ledger.tableholds import let_go
from central.people import Office, Role
from central.people.office import Person
from central.store import writing
from proto.channel import from_rpc
from proto.errors import ExchangeError
from proto.frames import rows as rows_of
from proto.v1 import desk_pb2, desk_pb2_grpc
from proto.values import Kind
from tests.support.central import (
    PEOPLE,
    Chain,
    NodeClient,
    TestCentral,
    batch_of,
    eventually,
    inserts,
    running,
)
from tests.support.department_process import ReceivingAgent
from tests.support.fences import hold_by_hand
from tests.support.pulling import Pull
from tests.support.sharing import Town, build_town
from tests.support.shell import Shell
from tests.support.stores import Store

SYSTEM = "低保核对"
NAMED = [f"system:{SYSTEM}"]


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCentral]:
    """One running central."""
    folder = tmp_path_factory.mktemp("central")
    yield from running(folder, f"sqlite:///{folder / 'central.db'}")


@pytest.fixture
def town(central: TestCentral) -> Town:
    """Four departments of this test alone; the police has pushed a table."""
    made = build_town(central.engine)
    pushes(central, made, "police", (1, "李娜"), (2, "王伟"))
    return made


def pushes(central: TestCentral, town: Town, node: str, *people: tuple[int, str]) -> None:
    """A node of the town brings its table."""
    chain = Chain(f"{town.name(node)}/hr")
    with central.node(town.name(node)).push(chain) as push:
        push.send(*chain.add(batch_of(inserts(list(people), PEOPLE))))
        push.until_applied(1)


def offered(town: Town, **other):
    """An entry on the table that was pushed."""
    fields = {"modes": ("interface",), "binding": Binding(stream=town.stream, table="people"), **other}
    return town.entry(("id", "name"), **fields)


def served(town: Town):
    """A resource, and a grant of it to a system."""
    entry = offered(town)
    return entry, town.granted(entry, mode="interface", users=NAMED, items=["id", "name"])


def calls(node: NodeClient, **said: str) -> desk_pb2.DeskReply:
    """One call with that certificate."""
    reply: desk_pb2.DeskReply = desk_pb2_grpc.DeskStub(node.channel).Do(
        desk_pb2.DeskRequest(verb="share.query", **said), timeout=20
    )
    return reply


def asked(resource: str, **other) -> str:
    return json.dumps({"resource": resource, "key": {"id": "1"}, "purpose": "核对低保申请", **other})


def refused(node: NodeClient, **said: str) -> ExchangeError:
    """What the call is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        calls(node, **said)
    return from_rpc(caught.value)


def test_any_client_with_the_nodes_certificate_asks_for_a_system(central, town):
    """Mutual TLS, no person; who is not named is refused with a sentence and stands in the log (SD24.1, SD26.1)."""
    entry, grant = served(town)
    civil = central.node(town.name("civil"))
    answer = json.loads(calls(civil, arguments=asked(entry.code), system=SYSTEM).answer)
    assert (answer["rows"], answer["grant"]) == ([["1", "李娜"]], grant)
    assert town.records("queried")[-1]["who"] == f"system:{SYSTEM}"

    error = refused(civil, arguments=asked(entry.code), system="婚姻登记")
    assert error.what == "NOT_GRANTED: system:婚姻登记 is none of the grant's users"
    assert error.fix == f"these may ask: system:{SYSTEM}"
    record = town.records("refused")[-1]
    assert (record["who"], record["where"]) == ("system:婚姻登记", grant)


def test_the_certificate_says_whose_system_it_is(central, town):
    """Not another department's node, and no person's certificate, whatever name the call carries (SD35.1)."""
    entry, grant = served(town)
    named = json.dumps({"grant": grant, "key": {"id": "1"}, "purpose": "核对"})
    error = refused(central.node(town.name("health")), arguments=named, system=SYSTEM)
    assert error.what == "NOT_GRANTED: the grant is another department's"
    person = central.person(town.name("civil-clerk"))
    error = refused(person, arguments=asked(entry.code), system=SYSTEM)
    assert "with the certificate of its department's node" in error.what
    civil = central.node(town.name("civil"))
    for who in ({}, {"system": SYSTEM, "person": town.name("civil-clerk")}):
        assert "for whom it speaks" in refused(civil, arguments=asked(entry.code), **who).what


def test_a_local_system_asks_with_one_command(central: TestCentral, town: Town, tmp_path: Path) -> None:
    """Through the agent's socket, so that the key stays with the agent; a table for people, JSON for programs."""
    entry, grant = served(town)
    name = town.name("civil")
    issued = central.authority.issue_node(name)
    central.register(name, issued)
    agent = ReceivingAgent(tmp_path / "node", central.target, central.files(issued, name), node=name)
    agent.start()
    purpose = ("--purpose", "核对低保申请")

    found = agent.do("query", entry.code, "--system", SYSTEM, "--key", "id=2", *purpose, "--json")
    assert json.loads(found)["rows"] == [["2", "王伟"]]
    shown = agent.do("query", entry.code, "--system", SYSTEM, "--where", "id < 9", "--most", "1", *purpose)
    assert "李娜" in shown and f"1 rows under {grant}" in shown and "ask more narrowly" in shown, shown
    assert "mind:" not in shown
    store = Store(central.url, central.engine)
    held = hold_by_hand(store, entry.binding.stream, entry.binding.table)
    shown = agent.do("query", entry.code, "--system", SYSTEM, "--key", "id=2", *purpose)
    assert "mind: the platform holds table" in shown and "王伟" in shown, shown
    with writing(central.engine) as connection:
        let_go(connection, held)
    for words, wanted in (
        (("--system", "婚姻登记", "--key", "id=1"), f"these may ask: system:{SYSTEM}"),
        (("--system", SYSTEM, "--key", "id"), "is not COLUMN=VALUE"),
        (("--system", SYSTEM, "--where", "phone = '1'"), "no such column"),
        (("--system", SYSTEM), "asks for every row"),
    ):
        code, said, complaint = agent.ask("query", entry.code, *words, *purpose)
        assert code != 0 and said == "", words
        assert wanted in complaint and len(complaint.splitlines()) == 1, complaint
    town.do("data-li", "grant.suspend", grant=grant, reason="裁定：暂停")
    code, _, complaint = agent.ask("query", entry.code, "--system", SYSTEM, "--key", "id=1", *purpose)
    assert code != 0 and "裁定：暂停" in complaint, complaint
    agent.close()


def test_an_office_is_what_person_add_says(central: TestCentral, town: Town, tmp_path: Path) -> None:
    """Who only asks needs no role; whoever belongs elsewhere is told who may; grants are listed by mode (Art. 29)."""
    shell, new = Shell(central, tmp_path, town), town.name("zhao-min")
    entry = offered(town, modes=("query", "interface"))
    town.granted(entry, mode="interface", users=NAMED, items=["id", "name"])
    grant = town.granted(entry, items=["id", "name"])
    joining = ("add", new, "--name", "赵敏", "--department", town.codes["civil"])
    asking = ("query", grant, "--key", "id=2", "--purpose", "核对")
    assert "may act as one who asks under a grant" in shell.people(*joining)
    done = shell.run("share", "zhao-min", *asking)
    assert (done.returncode, "these may ask: 救助科" in done.stderr) == (1, True), done.stderr
    shell.people(*joining, "--office", "救助科")
    assert [word for word in shell.people("list").splitlines() if new in word and "救助科" in word]
    assert "王伟" in shell.ok("share", "zhao-min", *asking)
    listed = shell.ok("grant", "civil-admin", "list", "--mode", "query", "--resource", entry.code)
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("G")] == [grant]
    page = shell.ok("share", "civil-admin", "explain", town.name("civil"), entry.code, "--mode", "interface")
    assert f"users system:{SYSTEM}" in page
    assert page.rstrip().endswith(f"these may ask: system:{SYSTEM}")


def test_a_customised_product_is_pulled_like_an_exchange(central, town):
    """A derived table that the authority fills and captures, once every source's provider has agreed (SD24.2, SD28.1)."""
    source = town.entry(("id", "name"), binding=Binding(stream=town.stream, table="people"))
    pushes(central, town, "data", (1, "低保边缘家庭"))
    derived = Binding(stream=f"{town.name('data')}/hr", table="people")
    made = {"provider": town.codes["data"], "provider_name": "济南市大数据局", "sources": (source.code,)}
    product = offered(town, modes=("custom",), **made, binding=derived)
    joins_data(town)
    name = town.name("civil")
    with Pull(central.node(name).channel, name) as pull:
        request = town.ask(product, mode="custom", items=["id", "name"])["request"]
        for who in ("police-admin", "data-admin"):
            assert town.do(who, "share.agree", request=request)["state"] == "waiting"
        grant = town.do("data-li", "share.agree", request=request)["grant"]
        eventually(lambda: received(pull, grant), [(1, "低保边缘家庭")])
        town.do("data-li", "grant.revoke", grant=grant, reason="产品下线")
        eventually(lambda: pull.state_of(grant), "revoked")


def joins_data(town: Town) -> None:
    """The authority's department has a resource administrator too: it provides the product."""
    admin = Person(
        town.name("data-admin"), "data-admin", town.codes["data"], (Role.RESOURCE_ADMIN,), left=False
    )
    Office(town.engine).add_person(admin, "test")


def received(pull: Pull, grant: str) -> list[tuple[object, ...]]:
    """What the consumer has under *grant*."""
    if grant not in pull.receivers:
        return []
    found = b"".join(pull.receivers[grant].table.rows.values())
    return sorted(rows_of(found, (Kind.INT64, Kind.TEXT)))
