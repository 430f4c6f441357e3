"""What a node signs about its reads: a statement a table, kept while the way is cut, never of a held table."""

from __future__ import annotations

import pytest

from agent.attestations import ATTESTATION, PACE_US, THINNED_US, Attestations
from central.ca import make_authority
from proto.signing import Signer, Verifier
from proto.v1 import node_pb2

START_US = 1_764_000_000_000_000


@pytest.fixture
def signer(tmp_path) -> Signer:
    """A node's key."""
    make_authority("市大数据局 CA").issue_node("police").write(tmp_path / "n.pem", tmp_path / "n.key")
    return Signer.load(tmp_path / "n.pem", tmp_path / "n.key")


@pytest.fixture
def attestations(signer) -> Attestations:
    """With that key."""
    return Attestations(lambda: signer)


def _report(read_us: int, rows: int = 0, **states: str) -> node_pb2.StreamReport:
    tables = [node_pb2.TableReport(table=table, state=state) for table, state in states.items()]
    return node_pb2.StreamReport(
        stream="police/hr", read_us=read_us, rows=rows, captured_seq=7, tables=tables
    )


def _heard(attestations: Attestations) -> list[node_pb2.ReadStatement]:
    said = attestations.next()
    attestations.heard(len(said))
    return [node_pb2.ReadStatement.FromString(each.statement) for each in said]


def test_a_quiet_source_is_spoken_of_as_well(attestations):
    """Looked, nothing changed: that is the proof of being on time (SD23.1)."""
    attestations.gather([_report(START_US, 5, 人口="IDLE")])
    attestations.gather([_report(START_US + 1, 5, 人口="IDLE")])
    attestations.gather([_report(START_US + PACE_US, 5, 人口="IDLE")])
    [first] = _heard(attestations)
    attestations.gather([_report(START_US + 2 * PACE_US, 8, 人口="RUNNING")])
    [second] = _heard(attestations)
    assert (first.proven_us, first.rows, first.seq) == (START_US + PACE_US, 5, 7)
    assert (second.since_us, second.proven_us, second.rows) == (first.proven_us, START_US + 2 * PACE_US, 3)


@pytest.mark.parametrize("state", ["SCHEMA_HOLD", "QUARANTINE", "SNAPSHOT", "PAUSED"])
def test_a_table_that_is_not_read_is_not_vouched_for(attestations, state):
    """The other tables of the same stream are."""
    attestations.gather([_report(START_US, 1, 人口=state, 婚姻="RUNNING")])
    assert [each.table for each in _heard(attestations)] == ["婚姻"]


def test_a_source_that_was_never_read_to_its_end_says_nothing(attestations):
    """Zero is not a moment."""
    attestations.gather([_report(0, 0, 人口="RUNNING")])
    assert attestations.waiting == 0


def test_while_the_way_is_cut_statements_wait_thinned_out(attestations):
    """A week without central is a thousand statements, not twenty thousand; the newest is always among them."""
    for step in range(0, 2 * 3600 * 1_000_000, PACE_US):
        attestations.gather([_report(START_US + step, step // PACE_US, 人口="IDLE")])
    found = _heard(attestations)
    assert len(found) == 2 * 3600 * 1_000_000 // THINNED_US
    assert found[-1].proven_us == START_US + 2 * 3600 * 1_000_000 - PACE_US
    assert sum(each.rows for each in found) == 239
    assert [each.since_us for each in found[1:]] == [each.proven_us for each in found[:-1]]


def test_what_was_not_heard_is_said_again_with_the_key_of_then(attestations, signer):
    """A certificate that was renewed meanwhile must not make old statements worthless."""
    attestations.gather([_report(START_US, 1, 人口="IDLE")])
    first, again = attestations.next(), attestations.next()
    assert [each.statement for each in first] == [each.statement for each in again]
    Verifier(signer.certificate_pem).demand(ATTESTATION, again[0].statement, again[0].signature)


def test_a_clock_that_was_set_back_does_not_silence_the_node(attestations):
    """What was said by the old clock is no measure for the new one."""
    day_us = 86_400_000_000
    attestations.gather([_report(START_US + day_us, 1, 人口="IDLE")])
    assert len(_heard(attestations)) == 1
    attestations.gather([_report(START_US, 1, 人口="IDLE")])
    attestations.gather([_report(START_US + 2 * PACE_US, 1, 人口="IDLE")])
    assert [each.proven_us for each in _heard(attestations)] == [START_US + 2 * PACE_US]


def test_a_short_limit_is_spoken_of_more_often(attestations):
    """While the way is cut as well: what is thinned out would look like the department's own silence."""
    attestations.hurry(2)
    for second in range(0, 12, 1):
        attestations.gather([_report(START_US + second * 1_000_000, 1, 人口="IDLE")])
    times = [(each.proven_us - START_US) // 1_000_000 for each in _heard(attestations)]
    assert times == [0, 2, 4, 6, 8, 10]
    attestations.hurry(0)
    attestations.gather([_report(START_US + 15_000_000, 1, 人口="IDLE")])
    assert attestations.waiting == 0


def test_where_looking_proves_nothing_a_table_speaks_for_itself_alone(attestations):
    """A file of one table is no read of another."""
    report = _report(0, 1, 人口="RUNNING", 婚姻="RUNNING")
    report.tables[0].read_us = START_US
    attestations.gather([report])
    assert [(each.table, each.proven_us) for each in _heard(attestations)] == [("人口", START_US)]
