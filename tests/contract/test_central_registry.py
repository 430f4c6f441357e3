"""Who may speak to central, what nodes say about themselves and what is asked of them, on every database."""

from __future__ import annotations

import itertools

import pytest

from central import audit
from central.registry import Registry
from central.store import now_us, reading
from proto.errors import NotAdmitted, Refused
from proto.v1 import node_pb2
from tests.support.stores import Node, Store

pytest_plugins = ["tests.support.stores"]

DAY_US = 86_400_000_000
_prints = itertools.count(1)


def fingerprint() -> str:
    """One nobody else uses."""
    return f"{next(_prints):064x}"


def in_a_day(store: Store) -> int:
    """By the database's clock."""
    with reading(store.engine) as connection:
        return now_us(connection) + DAY_US


def known(store: Store, node: Node) -> tuple[Registry, str]:
    """A registry in which *node* has one certificate."""
    registry, mark = Registry(store.engine), fingerprint()
    registry.add(node.name, mark, in_a_day(store), "an operator")
    return registry, mark


def test_a_known_certificate_is_admitted(store, node):
    """Under its own name only."""
    registry, mark = known(store, node)

    assert registry.admit(mark, f"urn:exchange:node:{node.name}") == node.name
    for uri in ("urn:exchange:node:other", f"urn:exchange:operator:{node.name}", ""):
        with pytest.raises(NotAdmitted):
            registry.admit(mark, uri)
    with pytest.raises(NotAdmitted):
        registry.admit(fingerprint(), f"urn:exchange:node:{node.name}")
    with pytest.raises(NotAdmitted):
        registry.admit_operator(mark, f"urn:exchange:operator:{node.name}")


def test_operators_are_admitted_as_operators(store, node):
    """The two roles never mix."""
    registry, mark = Registry(store.engine), fingerprint()
    registry.add_operator(node.name, mark, in_a_day(store))

    assert registry.admit_operator(mark, f"urn:exchange:operator:{node.name}") == node.name
    with pytest.raises(NotAdmitted):
        registry.admit(mark, f"urn:exchange:node:{node.name}")
    registry.revoke_operator(node.name, "another", "left")
    with pytest.raises(NotAdmitted):
        registry.admit_operator(mark, f"urn:exchange:operator:{node.name}")


def test_a_certificate_runs_out_by_the_databases_clock(store, node):
    """Not by ours."""
    registry, mark = Registry(store.engine), fingerprint()
    registry.add(node.name, mark, in_a_day(store) - DAY_US - 1)

    with pytest.raises(NotAdmitted, match="run out"):
        registry.admit(mark, f"urn:exchange:node:{node.name}")


def test_a_revoked_node_is_shut_out_with_all_its_certificates(store, node):
    """Until it is added again with a new one."""
    registry, first = known(store, node)
    registry.add(node.name, second := fingerprint(), in_a_day(store))
    registry.revoke(node.name, "an operator", "stolen disk")
    registry.revoke(node.name, "an operator", "twice changes nothing")

    record = registry.node(node.name)
    assert record is not None
    assert (record.revoked, record.not_after_us) == (True, 0)
    for mark in (first, second):
        with pytest.raises(NotAdmitted):
            registry.admit(mark, f"urn:exchange:node:{node.name}")
    with pytest.raises(Refused, match="revoked"):
        registry.add(node.name, first, in_a_day(store))
    registry.add(node.name, third := fingerprint(), in_a_day(store))
    assert registry.admit(third, f"urn:exchange:node:{node.name}") == node.name
    with pytest.raises(Refused, match="no such node"):
        registry.revoke("nobody", "", "")


def test_two_certificates_at_once_are_enough(store, node):
    """For a change without a pause; an expired or retired one makes room, a repeat needs none."""
    registry, first = known(store, node)
    registry.add(node.name, fingerprint(), in_a_day(store) - 2 * DAY_US)
    registry.add(node.name, second := fingerprint(), in_a_day(store))
    registry.add(node.name, second, in_a_day(store))

    with pytest.raises(Refused, match="2 usable certificates"):
        registry.add(node.name, fingerprint(), in_a_day(store))
    registry.retire(first, "an operator", "replaced")
    registry.add(node.name, fingerprint(), in_a_day(store))
    with pytest.raises(NotAdmitted):
        registry.admit(first, f"urn:exchange:node:{node.name}")
    assert registry.admit(second, f"urn:exchange:node:{node.name}") == node.name


@pytest.mark.parametrize("name", ["", "N", "1a", "a_b", "a/b", "-a", "a" * 32, "a\n", "ä"])
def test_a_strange_name_is_not_added(store, name):
    """Names are the same everywhere, so they are short and plain."""
    with pytest.raises(Refused, match="is not a name"):
        Registry(store.engine).add(name, fingerprint(), 1)


def test_what_a_node_says_is_kept_with_our_time(store, node):
    """And how far its clock is from ours."""
    registry, _ = known(store, node)
    skew_us = 5_000_000
    report = node_pb2.HeartbeatRequest(version="1.2", clock_us=in_a_day(store) - DAY_US + skew_us)
    registry.seen(node.name, report)

    record = registry.node(node.name)
    assert record is not None
    assert record.report == report
    assert abs(record.clock_skew_us - skew_us) < 2_000_000
    assert record.last_seen_us > record.added_us
    assert record in registry.nodes()
    assert registry.node("nobody") is None


def test_a_command_waits_until_it_is_answered(store, node):
    """Asked once, answered once, both in the audit log."""
    registry, _ = known(store, node)
    asked = node_pb2.Command(verb=node_pb2.Command.SNAPSHOT, stream=node.stream, table="person")
    first = registry.request_command(node.name, asked, "an operator")
    second = registry.request_command(node.name, node_pb2.Command(verb=node_pb2.Command.PAUSE))

    waiting = registry.pending_commands(node.name)
    assert [(each.id, each.verb, each.table) for each in waiting] == [(first, 3, "person"), (second, 1, "")]
    registry.finish_commands("somebody", [first], [])
    registry.finish_commands(node.name, [first], [first])
    assert [each.id for each in registry.pending_commands(node.name)] == [second]
    registry.finish_commands(node.name, [], [second, 999_999_999])
    assert registry.pending_commands(node.name) == []
    assert store.audited(audit.REGISTRY)[-4:] == ["command_requested"] * 2 + ["command_finished"] * 2


def test_a_command_that_makes_no_sense_is_refused(store, node):
    """Before it reaches a node."""
    registry, _ = known(store, node)
    for command in (
        node_pb2.Command(),
        node_pb2.Command.FromString(b"\x10\x4d"),  # a verb of a later release
        node_pb2.Command(verb=node_pb2.Command.PAUSE, stream="other/hr"),
    ):
        with pytest.raises(Refused):
            registry.request_command(node.name, command)
    with pytest.raises(Refused, match="no such node"):
        registry.request_command("nobody", node_pb2.Command(verb=node_pb2.Command.PAUSE))


def test_commands_do_not_pile_up_without_limit(store, node):
    """A node that never answers is not asked for ever."""
    registry, _ = known(store, node)
    pause = node_pb2.Command(verb=node_pb2.Command.PAUSE)
    for _ in range(100):
        registry.request_command(node.name, pause)

    with pytest.raises(Refused, match="100 commands wait"):
        registry.request_command(node.name, pause)
