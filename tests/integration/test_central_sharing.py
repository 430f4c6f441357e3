"""Sharing over the real wire: rows that a node pushed, people with certificates, a node that vouches, and commands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import grpc
import pytest
from sqlalchemy import update

from central.catalogue.entry import Binding
from central.people import Role
from central.people.office import Office, Person
from central.rpc.client import DeskClient
from central.sharing.clock import keep_time
from central.store import writing
from central.store.grants import GRANTS
from proto.channel import from_rpc
from proto.errors import NotAdmitted
from proto.v1 import desk_pb2, desk_pb2_grpc
from tests.support.central import PEOPLE as PUSHED
from tests.support.central import Chain, NodeClient, TestCentral, batch_of, eventually, inserts, running
from tests.support.sharing import BASIS, Town, build_town
from tests.support.shell import Shell

WITHIN_S = 300
"""From a request to a delivery (SD25.1)."""


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCentral]:
    """One running central."""
    folder = tmp_path_factory.mktemp("central")
    yield from running(folder, f"sqlite:///{folder / 'central.db'}")


@pytest.fixture
def place(central: TestCentral) -> Town:
    """Four departments of this test alone."""
    return build_town(central.engine)


@pytest.fixture
def police(central: TestCentral, place: Town) -> NodeClient:
    """The provider's node."""
    return central.node(place.name("police"))


@pytest.fixture
def town(place: Town, police: NodeClient) -> Town:
    """The same, once the provider's node has pushed a table."""
    chain = Chain(place.stream)
    rows = inserts([(1, "李娜"), (2, "王伟")], PUSHED)
    with police.push(chain) as push:
        push.send(*chain.add(batch_of(rows)))
        push.until_applied(1)
    return place


def pushed(town: Town, **other):
    """An entry on the table that was pushed."""
    return town.entry(("id", "name"), binding=Binding(stream=town.stream, table="people"), **other)


def as_person(central: TestCentral, town: Town, who: str) -> DeskClient:
    """The desk, with that person's own certificate."""
    return DeskClient(central.target, central.person(town.name(who)).tls)


def test_from_a_request_to_rows_with_a_persons_certificate(central, town):
    """No human step between the request and the answer, well under five minutes (SD25.1)."""
    entry = pushed(town)
    began = time.monotonic()
    with as_person(central, town, "civil-admin") as admin, as_person(central, town, "civil-clerk") as clerk:
        asked = town.asked(items=["id", "name"])
        answer = admin.do("share.draft", consumer=town.name("civil"), resource=entry.code, asked=asked)
        found = clerk.do("share.query", grant=answer["grant"], purpose="核对", key={"id": "1"})
    assert found["rows"] == [["1", "李娜"]]
    assert time.monotonic() - began < WITHIN_S
    assert town.records("queried")[-1]["via"] == "certificate"


def test_a_node_speaks_for_people_of_its_own_department(police, town):
    """With its own certificate, naming the person; for nobody else."""
    entry = pushed(town, share={"name": "conditional"})
    request = town.ask(entry, items=["id", "name"])["request"]
    desk = desk_pb2_grpc.DeskStub(police.channel)

    def do(person: str) -> desk_pb2.DeskReply:
        arguments = json.dumps({"request": request, "conditions": {"rows": "name = '李娜'"}})
        reply: desk_pb2.DeskReply = desk.Do(
            desk_pb2.DeskRequest(verb="share.agree", arguments=arguments, person=town.name(person)),
            timeout=20,
        )
        return reply

    with pytest.raises(grpc.RpcError) as caught:
        do("data-li")
    assert isinstance(from_rpc(caught.value), NotAdmitted)
    answer = json.loads(do("police-admin").answer)
    assert answer["state"] == "granted"
    said = town.records("consent_given")[-1]
    assert (said["who"], said["via"]) == (town.name("police-admin"), f"node {town.name('police')}")


def test_who_left_decides_nothing_over_the_wire_either(central, town):
    """The certificate is refused from then on (SD29.3)."""
    with as_person(central, town, "police-admin") as admin:
        assert admin.do("share.inbox")["waiting"] == []
        Office(central.engine).leave(town.name("police-admin"), "test", "调离")
        with pytest.raises(NotAdmitted):
            admin.do("share.inbox")


def test_a_grant_that_ran_out_is_written_down_by_the_running_central(central, town):
    """Its job looks every minute, and at start."""
    grant = town.granted(pushed(town), items=["id", "name"])
    with writing(central.engine) as connection:
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_to_us=1))
    central.stop()
    central.start()
    eventually(lambda: town.permit(grant).state, "expired")
    assert keep_time(central.engine, town.profile).changed == 0


def test_the_whole_way_at_the_command_line(central, town, tmp_path):
    """Ask, see what waits, consent with limits, query, compare, explain, revoke; each says what comes next."""
    shell, entry = Shell(central, tmp_path, town), pushed(town, share={"name": "conditional"})
    law = ("--law", BASIS["title"], "--document-no", BASIS["document_no"], "--article", BASIS["article"])
    node, until = town.name("civil"), str(town.day(30))
    asked = (
        "--business",
        "社会救助核对",
        "--user",
        "救助科",
        "--purpose",
        "核对救助申请人",
        "--until",
        until,
    )
    said = shell.ok(
        "share",
        "civil-admin",
        "request",
        node,
        entry.code,
        "--item",
        "id",
        "--item",
        "name",
        *asked,
        "--mode",
        "query",
    )
    request = said.split()[0]
    assert f"{request} is waiting" in said
    assert f"next: exchange-central share show {request}" in said
    assert request in shell.ok("share", "police-admin", "inbox")
    refused = shell.run(
        "share", "police-admin", "refuse", request, "--opinion", "不便", *law[:2], *law[2:4], "--article", ""
    )
    assert refused.returncode == 1
    assert "basis.article" in refused.stderr
    said = shell.ok("share", "police-admin", "agree", request, "--rows", "id < 100", "--query-rows", "5")
    grant = said.split()[-1]
    assert f"next: exchange-central grant show {grant}" in said
    said = shell.ok("share", "civil-clerk", "query", grant, "--key", "id=2", "--purpose", "核对")
    assert "王伟" in said
    mine = tmp_path / "低保.csv"
    mine.write_text("id,name\n1,李娜\n2,王维\n3,无\n")
    said = shell.ok("share", "civil-clerk", "compare", grant, str(mine), "--purpose", "核对")
    assert "1 of 3 rows agree" in said
    assert ("3     mismatch" in said, "王伟" in said) == (True, False)
    said = shell.ok("share", "data-li", "explain", node, entry.code)
    assert f"{node} can, because grant {grant} (query) is active" in said.splitlines()[-1]
    assert grant in shell.ok("grant", "police-admin", "list")
    changed = shell.ok(
        "grant", "police-admin", "change", grant, "--reason", "最小必要", "--rows", "id < 2", *law
    )
    assert "version 2" in changed
    assert "nothing passes now" in shell.ok(
        "grant", "civil-admin", "revoke", grant, "--reason", "不再需要"
    ) + shell.ok("grant", "civil-admin", "show", grant)
    lines = json.loads(shell.ok("grant", "civil-admin", "history", grant, "--json"))["history"]
    assert [line["state"] for line in lines] == ["active", "active", "revoked"]


def test_what_waits_moves_with_the_role(central, town, tmp_path):
    """The command line of the authority lists a department without an administrator (SD29.3)."""
    shell, office = Shell(central, tmp_path, town), Office(central.engine)
    request = town.ask(pushed(town, share={"name": "conditional"}), items=["id", "name"])["request"]
    said = shell.leave("police-admin")
    assert f"{request}: answer waits, and nobody of {town.codes['police']} may decide it" in said
    assert town.codes["police"] in shell.ok("share", "data-li", "vacancies")
    heir = Person(town.name("police-heir"), "赵六", town.codes["police"], (Role.RESOURCE_ADMIN,), left=False)
    office.add_person(heir, "test")
    assert town.codes["police"] not in shell.ok("share", "data-li", "vacancies")
