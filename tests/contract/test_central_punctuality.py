"""Who is on time: from what nodes signed, reproducible from the log alone, and what follows from being late."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import insert, select, update

from central.ca import Authority, make_authority
from central.catalogue.published import newest_release, published
from central.people.verb import DECISIONS
from central.store import now_us, open_store, reading, writing
from central.store.catalogue import RELEASED, RELEASES
from central.store.supervision import ALIVE, MAINTENANCE, OUTAGES, READS
from central.store.tables import AUDIT
from central.supervision import restrictions as steps
from central.supervision.clock import keep_dates
from central.supervision.punctuality import Punctualities, shares
from central.supervision.reads import Reads, reads_in_log, reads_of
from central.supervision.restrictions import Case, Step
from central.supervision.sheet import chain_of
from central.supervision.spans import Span
from central.supervision.timeliness import Judgement, Punctuality
from central.supervision.uptime import agree_maintenance, live
from proto.errors import Refused, Transient
from proto.signing import SignatureWrong
from tests.support.counting import counted
from tests.support.proving import HOUR_US, MINUTE_US, POLICY, PROFILE, Node
from tests.support.shares import credit_code, entry_of, put_in_force
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One for all nodes here."""
    return make_authority("市大数据局 CA")


@pytest.fixture
def node(store: Store, authority: Authority, tmp_path) -> Node:
    """A node of its own for each test."""
    return Node(store, authority, tmp_path)


def test_looked_and_nothing_changed_is_on_time(node):
    """A proven read counts whether or not a row changed (SD23.1)."""
    node.says(10 * MINUTE_US, rows=0)
    assert node.stands().state == Punctuality.ON_TIME


def test_as_many_reads_go_on_record_as_judging_needs(node):
    """One a quarter of the limit, not one a heartbeat."""
    for minutes in range(120, 0, -2):
        node.says(minutes * MINUTE_US)
    assert node.logged() == list(range(120, 0, -16))


def test_the_last_word_before_a_silence_is_never_lost(node):
    """A department is judged by all it showed, also when the next heartbeat never came."""
    node.says(60 * MINUTE_US, 50 * MINUTE_US)
    assert node.logged() == [60]
    assert node.reads.settle() >= 1
    assert node.logged() == [60, 50]


def test_the_log_alone_gives_the_same_answer(node):
    """Every read of it with its signature, checked with the certificate that stands in the same chain (SD23.2)."""
    for minutes in (300, 200, 100, 40, 20):
        node.says(minutes * MINUTE_US, skew_us=7 * MINUTE_US)
    with reading(node.store.engine) as connection:
        found = reads_in_log(connection, node.name)
        assert found == {(node.stream, "人口"): reads_of(connection, node.stream, "人口")}
        events = connection.scalars(select(AUDIT.c.event).where(AUDIT.c.chain == chain_of(node.name))).all()
    assert events[0] == "signer_seen"
    assert len(events) == 6


def test_a_clock_that_runs_ahead_proves_nothing_about_times_to_come(node):
    """Its skew is taken off, and no read is later than its arrival."""
    node.says(-5 * HOUR_US)
    assert abs(node.stands().age_us) < HOUR_US / 2


def test_what_was_not_signed_by_the_node_is_refused(node, authority, tmp_path):
    """Neither another's key nor another's stream counts (SD23.1)."""
    other = Node(node.store, authority, tmp_path)
    with pytest.raises(SignatureWrong):
        node.reads.take(node.name, node.issued.certificate, node.now, [other.signed(node.now)])
    with pytest.raises(Refused, match="another node's stream"):
        node.reads.take(
            node.name, node.issued.certificate, node.now, [node.signed(node.now, stream=other.stream)]
        )
    assert node.stands().state == Punctuality.UNKNOWN


def test_a_cut_way_is_the_networks_and_not_the_departments(node):
    """It had read in time; the statements came later and say so."""
    node.says(10 * HOUR_US)
    node.says(*(minutes * MINUTE_US for minutes in range(590, 0, -30)))
    with reading(node.store.engine) as connection:
        found = shares(connection, published(connection, node.code), Span(node.now - 10 * HOUR_US, node.now))
    assert found.department_us == 0
    assert found.network_us > 8 * HOUR_US


def test_an_outage_of_the_platform_is_found_and_excused(node):
    """From the sign of life that nobody gave (SD28.5)."""
    with writing(node.store.engine) as connection:
        connection.execute(update(ALIVE).values(at_us=now_us(connection)))
    live(node.store.engine)
    assert live(node.store.engine) is None
    with writing(node.store.engine) as connection:
        connection.execute(update(ALIVE).values(at_us=node.now - 3 * HOUR_US))
    outage = live(node.store.engine)
    assert outage is not None
    assert outage.length_us >= 3 * HOUR_US
    node.says(3 * HOUR_US)
    assert node.stands().state == Punctuality.ON_TIME
    assert node.stands().age_us < HOUR_US / 2


def test_agreed_maintenance_is_never_counted(node):
    """And is on record, with who agreed."""
    with writing(node.store.engine) as connection:
        span = Span(node.now - 5 * HOUR_US, node.now - HOUR_US)
        agree_maintenance(connection, credit_code(1), span, "机房搬迁", {"who": "chen-yu"})
    node.says(5 * HOUR_US)
    assert node.stands().age_us < 2 * HOUR_US


@pytest.mark.parametrize(("now", "to"), list(itertools.product(Step, repeat=2)))
def test_only_the_listed_moves_are_possible(store, now, to):
    """A restriction comes step by step, and goes in one."""
    resource = f"R{next(_numbers)}"
    with writing(store.engine) as connection:
        path = {Step.NONE: (), Step.WARNED: (Step.WARNED,), Step.PROPOSED: (Step.WARNED, Step.PROPOSED)}
        before = Step.NONE
        for step in path.get(now, (Step.WARNED, Step.PROPOSED, Step.ACTIVE)):
            steps._write(
                connection,
                [steps._Move(steps.Restriction(resource, "D", step, 1, ""), before, {"who": ""}, "")],
            )
            before = step
        going = steps._Move(steps.Restriction(resource, "D", to, 2, ""), now, {"who": ""}, "")
        if to in steps.NEXT[now]:
            steps._write(connection, [going])
        else:
            with pytest.raises(Refused, match="cannot go from"):
                steps._write(connection, [going])


def _late(limits: float) -> Case:
    age = int(limits * HOUR_US)
    state = Punctuality.ON_TIME if limits <= 0.8 else Punctuality.LATE
    return Case(
        f"R{next(_numbers)}", "人口基本信息", credit_code(1), Judgement(state, HOUR_US, 1, age), "reads:p 7"
    )


def test_warned_proposed_confirmed_and_lifted_by_itself(store):
    """Each step on record with one sentence and its evidence (SD28.2, SD28.4)."""
    case = _late(3.5)
    with writing(store.engine) as connection:
        decided = [steps.advance(connection, case, POLICY, 1) for _ in range(3)]
        assert [each.step if each else None for each in decided] == [Step.WARNED, Step.PROPOSED, None]
        assert steps.restricted(connection, case.department) == []
        steps.confirm(connection, case.resource, {"who": "authority"}, 2)
        assert "closed to the department" in steps.restricted(connection, case.department)[0]
        [found] = [
            each for each in steps.restrictions(connection, case.department) if each.resource == case.resource
        ]
        assert "promises to be read every 1.0 h and was last read 3.5 h ago" in found.sentence
        on_time = replace(case, judgement=Judgement(Punctuality.ON_TIME, HOUR_US, 1, 0))
        lifted = steps.advance(connection, on_time, POLICY, 3)
        assert lifted is not None
        assert lifted.step is Step.NONE
        rows = connection.execute(select(AUDIT).where(AUDIT.c.chain == DECISIONS).order_by(AUDIT.c.n)).all()
    mine = [(row.event, json.loads(row.facts)) for row in rows if case.resource in row.facts]
    assert [event for event, _ in mine] == [
        "restriction_warned",
        "restriction_proposed",
        "restriction_active",
        "restriction_lifted",
    ]
    assert mine[1][1]["evidence"] == "reads:p 7"
    assert mine[2][1]["who"] == "authority"


def test_a_profile_may_restrict_without_the_authority(store):
    """Where its text says so (SD28.2)."""
    policy = POLICY.model_copy(update={"restricts_automatically": True})
    case = _late(5)
    with writing(store.engine) as connection:
        found = [steps.advance(connection, case, policy, 1) for _ in range(3)]
    assert [each.step if each else None for each in found] == [Step.WARNED, Step.PROPOSED, Step.ACTIVE]


def test_a_look_moves_what_is_late(node):
    """The whole way: a silent department is warned by the clock, and free again with its next read."""
    with writing(node.store.engine) as connection:
        connection.execute(OUTAGES.delete())
        connection.execute(MAINTENANCE.delete())
    node.says(90 * MINUTE_US)
    look = Punctualities(node.store.engine, PROFILE, node.reads).look
    assert [each.step for each in look() if each.resource == node.code] == [Step.WARNED]
    node.says(0)
    assert [each.step for each in look() if each.resource == node.code] == [Step.NONE]


def test_many_warnings_at_once_are_few_transactions(store, authority, tmp_path):
    """A node that falls silent makes all its resources late in the same look: what that costs does not grow with them."""
    node = Node(store, authority, tmp_path)
    entries = [
        entry_of(f"{node.code}-{n}", node.stream, f"表{n}", ["id"], update_limit="PT1H", name=f"资源{n}")
        for n in range(60)
    ]
    with writing(store.engine) as connection:
        put_in_force(connection, *entries)
        connection.execute(OUTAGES.delete())
        connection.execute(MAINTENANCE.delete())
    said = [node.signed(node.now - 90 * MINUTE_US, table=f"表{n}") for n in range(60)]
    node.reads.take(node.name, node.issued.certificate, node.now, said)
    mine, look = {each.code for each in entries}, Punctualities(store.engine, PROFILE, node.reads).look
    with counted(store.engine) as asked:
        moved = {each.resource: each for each in look()}
    assert {moved[code].step for code in mine} == {Step.WARNED}
    assert (asked.commits, len(asked.statements)) < (8, 40), asked.statements
    with reading(store.engine) as connection:
        warned = [json.loads(row.facts) for row in decisions(connection) if row.event == "restriction_warned"]
        rows = connection.execute(
            select(READS.c.table_name, READS.c.record).where(READS.c.stream == node.stream)
        )
        records = {row.table_name: row.record for row in rows}
    evidence = {each["resource"]: each["evidence"] for each in warned if each["resource"] in mine}
    assert evidence == {f"{node.code}-{n}": f"{chain_of(node.name)} {records[f'表{n}']}" for n in range(60)}
    assert look() == []


def test_central_processes_do_not_stand_in_each_others_way(store, authority, tmp_path):
    """Heartbeats of one node, the settling of its last words and two clocks at once: all of it once on record."""
    node = Node(store, authority, tmp_path)
    node.says(300 * MINUTE_US)
    # The very first record of a chain is one of two that came together, and the other comes again at its next turn.
    keep_dates(store.engine, POLICY)
    others = [Reads(store.engine, POLICY.log_share) for _ in range(2)]
    looks = [Punctualities(store.engine, PROFILE, each).look for each in others]
    faults: list[BaseException] = []

    def beat(minutes: range) -> None:
        for ago in minutes:
            node.says(ago * MINUTE_US)

    works = [
        *(partial(beat, range(start, 0, -20)) for start in (295, 290, 285)),
        *(each.settle for each in others),
        *looks,
        partial(keep_dates, store.engine, POLICY),
        partial(keep_dates, store.engine, POLICY),
    ]

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    with reading(store.engine) as connection:
        assert reads_in_log(connection, node.name) == {
            (node.stream, "人口"): reads_of(connection, node.stream, "人口")
        }
        mine = [row for row in decisions(connection) if node.code in row.facts]
    assert [row.event for row in mine][:1] in ([], ["restriction_warned"])
    assert len([row for row in mine if row.event == "restriction_warned"]) <= 2


def test_what_the_catalogue_holds_no_more_cannot_be_late(node):
    """A warning ends with the entry."""
    node.says(90 * MINUTE_US)
    look = Punctualities(node.store.engine, PROFILE, node.reads).look
    assert [each.step for each in look() if each.resource == node.code] == [Step.WARNED]
    with writing(node.store.engine) as connection:
        here = RELEASED.c.code == node.code
        connection.execute(update(RELEASED).where(here).values(until_release=1))
        connection.execute(insert(RELEASES), {**RELEASE, "release": newest_release(connection) + 1})
    assert [each.step for each in look() if each.resource == node.code] == [Step.NONE]
    with reading(node.store.engine) as connection:
        assert "holds the resource no more" in decisions(connection)[-1].facts


RELEASE = {"at_us": 1, "who": "test", "note": "", "document": b"", "signature": b""}


def decisions(connection):
    """What is on record of what people and the clock decided."""
    return connection.execute(select(AUDIT).where(AUDIT.c.chain == DECISIONS).order_by(AUDIT.c.n)).all()


def test_a_platform_whose_database_is_away_says_nothing_of_itself(store):
    """The sign of life is written in the database, or not at all; the silence is then the platform's (SD28.5)."""
    away = open_store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(Transient):
        live(away)
    away.dispose()
    with writing(store.engine) as connection:
        connection.execute(update(ALIVE).values(at_us=now_us(connection) - 60_000_000))
    found = live(store.engine)
    assert found is not None
    assert found.length_us >= 60_000_000
    assert live(store.engine) is None
