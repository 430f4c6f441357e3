"""Signed reads that central has not heard outlive the process, on every home of an exchange database (SD23.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent.attestations import PACE_US, THINNED_US, Attestations
from agent.exchange import Statements, migrate, open_exchange
from central.ca import make_authority
from proto.signing import Signer
from proto.v1 import node_pb2

pytest_plugins = ["tests.support.exchanges"]
START_US = 1_764_000_000_000_000


@pytest.fixture
def memory(exchange_url: str) -> Iterator[Statements]:
    """One that holds nothing yet."""
    engine = open_exchange(exchange_url, "police")
    migrate(engine)
    yield Statements(engine)
    engine.dispose()


@pytest.fixture
def begin(memory: Statements, tmp_path) -> Callable[[], Attestations]:
    """What a process that begins has."""
    make_authority("市大数据局 CA").issue_node("police").write(tmp_path / "n.pem", tmp_path / "n.key")
    signer = Signer.load(tmp_path / "n.pem", tmp_path / "n.key")

    def begun() -> Attestations:
        made = Attestations(lambda: signer)
        made.memory = memory
        return made

    return begun


def _read(attestations: Attestations, start: int, count: int) -> None:
    for step in range(start, start + count):
        table = node_pb2.TableReport(table="人口", state="IDLE")
        read_us = START_US + step * PACE_US
        report = node_pb2.StreamReport(stream="police/hr", read_us=read_us, captured_seq=7, tables=[table])
        attestations.gather([report])


def _said(attestations: Attestations) -> list[int]:
    found = [node_pb2.ReadStatement.FromString(each.statement) for each in attestations.next()]
    return [(each.proven_us - START_US) // PACE_US for each in found]


def test_a_restart_amid_a_cut_loses_no_proof(begin, memory):
    """Kept at every heartbeat that failed; the newest of ten minutes takes the place of the one before it."""
    every = THINNED_US // PACE_US
    before = begin()
    before.recall()
    for step in range(3 * every):
        _read(before, step, 1)
        before.keep()
    kept = _said(before)
    assert kept == [every - 1, 2 * every - 1, 3 * every - 1]
    assert len(memory.recall()) == len(kept)

    after = begin()
    after.recall()
    _read(after, 4 * every, 1)
    assert _said(after) == [*kept, 4 * every]


def test_what_central_heard_is_forgotten(begin, memory):
    """And only that."""
    every = THINNED_US // PACE_US
    attestations = begin()
    attestations.recall()
    _read(attestations, 0, 3 * every)
    attestations.keep()
    attestations.heard(2)
    assert [n for n, _ in memory.recall()] == [3]
    attestations.heard(1)
    assert memory.recall() == []


def test_a_database_that_came_late_is_read_before_anything_is_forgotten(begin):
    """Statements of this process take their place behind those of the one before."""
    before = begin()
    before.recall()
    _read(before, 0, 1)
    before.keep()

    after = begin()
    _read(after, 1, 1)
    after.keep()
    after.recall()
    assert _said(after) == [0, 1]
    after.keep()
    again = begin()
    again.recall()
    assert _said(again) == [0, 1]


def test_a_node_whose_way_is_open_writes_nothing(begin, memory):
    """There is nothing to outlive."""
    attestations = begin()
    attestations.recall()
    _read(attestations, 0, 1)
    attestations.heard(1)
    attestations.keep()
    assert memory.recall() == []
