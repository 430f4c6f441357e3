"""From a decision at the desk to the rows at the consumer: what is granted flows, what is taken back stops."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from central.catalogue.entry import Binding
from central.sharing.clock import keep_time
from central.store import now_us, writing
from central.store.grants import GRANTS
from proto.frames import rows as rows_of
from proto.values import Kind
from tests.support.central import PEOPLE, Chain, TestCentral, batch_of, eventually, inserts, running
from tests.support.lateness import warn
from tests.support.pulling import Pull
from tests.support.sharing import BASIS, DAY_US, Town, build_town

STOPS_WITHIN_S = 5.0
WORKS_WITHIN_S = 300.0


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCentral]:
    """One running central."""
    folder = tmp_path_factory.mktemp("central")
    yield from running(folder, f"sqlite:///{folder / 'central.db'}")


class Place:
    """A town whose police pushes people and whose civil affairs bureau pulls."""

    def __init__(self, central: TestCentral) -> None:
        self.town: Town = build_town(central.engine)
        self._chain = Chain(self.town.stream)
        self._push = central.node(self.town.name("police")).push(self._chain)
        self._push.__enter__()
        self.add((1, "李娜"), (2, "王伟"))
        self.pull = Pull(central.node(self.town.name("civil")).channel, self.town.name("civil"))
        self.pull.__enter__()

    def add(self, *people: tuple[int, str]) -> None:
        """New people, visible on the platform."""
        [batch] = self._chain.add(batch_of(inserts(list(people), PEOPLE)))
        self._push.send(batch)
        self._push.until_applied(batch.seq)

    def entry(self, **other):
        """A resource on them."""
        binding = Binding(stream=self.town.stream, table="people")
        return self.town.entry(("id", "name"), binding=binding, **other)

    def received(self, grant: str) -> list[tuple[object, ...]]:
        """What the consumer has under *grant*."""
        if grant not in self.pull.receivers:
            return []
        found = b"".join(self.pull.receivers[grant].table.rows.values())
        return sorted(rows_of(found, (Kind.INT64, Kind.TEXT)))

    def close(self) -> None:
        """Hang up."""
        self.pull.hang_up()
        self._push.__exit__()


@pytest.fixture
def place(central: TestCentral) -> Iterator[Place]:
    """One of this test alone."""
    made = Place(central)
    yield made
    made.close()


def asked(place: Place, **other):
    return place.town.asked(mode="exchange", items=["id", "name"], **other)


def granted(place: Place, entry) -> str:
    return place.town.granted(entry, mode="exchange", items=["id", "name"])


def test_a_request_becomes_a_working_delivery_with_no_human_step(place):
    """Unconditional: asked for, and there, within five minutes; in fact within seconds (SD25.1)."""
    began = time.monotonic()
    grant = granted(place, place.entry())
    eventually(lambda: place.received(grant), [(1, "李娜"), (2, "王伟")])
    assert time.monotonic() - began < WORKS_WITHIN_S
    place.add((3, "张三"))
    eventually(lambda: len(place.received(grant)), 3)


def test_conditions_hold_on_the_way(place):
    """Rows and masks as the provider agreed (SD25.2)."""
    entry = place.entry(share={"name": "conditional"})
    request = place.town.ask(entry, mode="exchange", items=["id", "name"])["request"]
    conditions = {"rows": "id < 2", "masks": {"name": {"mask": "keep", "first": 1, "last": 0}}}
    grant = place.town.do("police-admin", "share.agree", request=request, conditions=conditions)["grant"]
    eventually(lambda: place.received(grant), [(1, "李*")])


def test_a_suspended_grant_stops_and_goes_on(place):
    """Nothing passes while it is held; what came meanwhile follows (D3)."""
    grant = granted(place, place.entry())
    eventually(lambda: len(place.received(grant)), 2)
    place.town.do("data-li", "grant.suspend", grant=grant, reason="裁定：暂停")
    began = time.monotonic()
    eventually(lambda: place.pull.state_of(grant), "suspended")
    assert time.monotonic() - began < STOPS_WITHIN_S
    place.add((3, "张三"))
    place.town.do("data-li", "grant.resume", grant=grant, reason="裁定：恢复")
    eventually(lambda: len(place.received(grant)), 3)


def test_a_restriction_stops_what_flows_and_lets_go_of_it(place, central):
    """By the platform's own clock, of hosted resources only; what came meanwhile follows (SD28.3)."""
    hosted, plain = place.entry(storage="hosted"), place.entry()
    request = place.town.ask(hosted, mode="exchange", items=["id", "name"])["request"]
    for who in ("police-admin", "data-li"):
        answer = place.town.do(who, "share.agree", request=request)
    grant, other = answer["grant"], granted(place, plain)
    eventually(lambda: [len(place.received(each)) for each in (grant, other)], [2, 2])

    own = place.town.entry(provider=place.town.codes["civil"])
    warn(central.engine, place.town.codes["civil"], own.code, "婚姻登记 逾期 3 天", "active")
    eventually(lambda: place.pull.state_of(grant), "suspended")
    place.add((3, "张三"))
    eventually(lambda: len(place.received(other)), 3)
    assert_passed_by(place, grant, 3)
    assert len(place.received(grant)) == 2

    place.town.do("data-li", "case.reject", resource=own.code, reason="已补报")
    eventually(lambda: len(place.received(grant)), 3)


def test_a_narrowed_grant_takes_rows_back(place):
    """What lies outside now is gone at the consumer (D4)."""
    grant = granted(place, place.entry())
    eventually(lambda: len(place.received(grant)), 2)
    narrower = {"reason": "最小必要", "basis": BASIS, "conditions": {"rows": "id > 1"}}
    place.town.do("police-admin", "grant.change", grant=grant, **narrower)
    eventually(lambda: place.received(grant), [(2, "王伟")])


def test_a_directed_grant_delivers_until_it_is_revoked(place):
    """To this recipient only, what nobody else may have; the record names the article (SD05.4)."""
    closed = {"id": "not_shared", "name": "not_shared"}
    told = {"consumer": place.town.name("civil"), "asked": asked(place), "basis": BASIS}
    # What one entry of a table closes, no ordinary grant on it shows: the witness is directed as well.
    grant, witness = (
        place.town.do("data-li", "share.direct", resource=place.entry(share=closed).code, **told)["grant"]
        for _ in range(2)
    )
    eventually(lambda: [len(place.received(each)) for each in (grant, witness)], [2, 2])
    place.town.do("data-li", "grant.revoke", grant=grant, reason="法律修订")
    began = time.monotonic()
    eventually(lambda: place.pull.state_of(grant), "revoked")
    assert time.monotonic() - began < STOPS_WITHIN_S
    place.add((3, "张三"))
    eventually(lambda: len(place.received(witness)), 3)
    assert len(place.received(grant)) == 2


def test_an_expiring_grant_goes_on_and_an_expired_one_does_not(place, central):
    """Warned, it still delivers; after its last moment nothing flows, with no human action (SD29.2, P8)."""
    grant = granted(place, place.entry())
    eventually(lambda: len(place.received(grant)), 2)
    _ends(central, grant, 5 * DAY_US)
    keep_time(central.engine, place.town.profile)
    assert place.town.permit(grant).state == "expiring"
    place.add((3, "张三"))
    eventually(lambda: len(place.received(grant)), 3)
    _ends(central, grant, 0)
    eventually(lambda: "run out" in place.pull.granted[grant][-1].sentence)
    place.add((4, "李四"))
    assert_passed_by(place, grant, 4)
    assert len(place.received(grant)) == 3


def assert_passed_by(place: Place, grant: str, people: int) -> None:
    """Everybody went to the same consumer on another grant, so what did not come under *grant* will not come."""
    witness = granted(place, place.entry())
    assert witness != grant
    eventually(lambda: len(place.received(witness)), people)


def _ends(central: TestCentral, grant: str, in_us: int) -> None:
    with writing(central.engine) as connection:
        here = GRANTS.c.grant_id == grant
        connection.execute(update(GRANTS).where(here).values(valid_to_us=now_us(connection) + in_us))
