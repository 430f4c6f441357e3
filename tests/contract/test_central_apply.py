"""How accepted batches become rows: in order, once, together with the cursor; and what stops a stream."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import select

from central import audit
from central.apply import Applier, Held, Limits
from central.ledger import Ledger, Span
from central.store import now_us, reading, writing
from central.store.tables import GAPS
from proto.batch import Batch
from proto.errors import Poisoned, Refused
from proto.values import Kind
from tests.support.stores import EVENT, Node, event_batch
from tests.support.tables import inserts, schema_of, upserts

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("sqlite", "postgres15", "postgres18")

NUMBERED = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT})
RENAMED_KEY = schema_of("person", {"number": Kind.INT64, "name": Kind.TEXT}, key=("number",))
DAMAGES = {
    "header": "UPDATE {ledger} SET header = :junk WHERE stream = :s AND seq = 2",
    "payload": "UPDATE {ledger} SET payload = :junk WHERE stream = :s AND seq = 2",
    "digest": "UPDATE {ledger} SET digest = :junk WHERE stream = :s AND seq = 2",
    "epoch": "UPDATE {ledger} SET epoch = 7 WHERE stream = :s AND seq = 2",
    "missing": "DELETE FROM {ledger} WHERE stream = :s AND seq = 2",
}


def step_until_held(applier: Applier) -> Poisoned:
    """Apply until the stream stops."""
    with pytest.raises(Poisoned) as caught:
        while True:
            assert applier.step(), "nothing left to apply, and nothing was held"
    return caught.value


def poisoned(node: Node) -> Poisoned:
    """Four batches, the third of which cannot be applied, as far as they go."""
    node.hello()
    node.push([*node.events(1, 2), *node.unfit(), *node.events(4, 4)])
    return step_until_held(node.applier())


def test_rows_and_cursor_move_together(node):
    """One step applies what waits, and says what the platform shows."""
    node.start(3)
    applier = node.applier()

    assert applier.step() is False
    assert applier.applied_seq == 3
    assert node.rows() == ["1", "2", "3"]
    record = node.record()
    assert (record.applied_seq, record.rows, record.position, record.last_commit_us) == (3, 3, "at 3", 2)
    assert 0 < record.accepted_at_us <= record.applied_at_us
    assert applier.step() is False


def test_batches_that_were_just_accepted_are_not_read_again(store, node):
    """They are handed over in memory: the ledger's copy may be gone."""
    batches = node.start(3)
    store.run("DELETE FROM {ledger} WHERE stream = :s", s=node.stream)

    assert node.applier().step(batches) is False
    assert node.rows() == ["1", "2", "3"]


def test_batches_handed_over_out_of_place_are_read_from_the_ledger(store, node):
    """Whatever the caller holds, the order is the ledger's."""
    batches = node.start(4)
    applier = node.applier()

    applier.step(batches[2:])
    assert applier.applied_seq == 4
    other = Node(store.engine, f"{node.name}-other")
    strangers = other.start(2)
    node.push(node.events(5, 6))
    applier.step([*batches[2:], *strangers, *node.sealed[4:]])
    assert node.apply_all() == 6
    assert node.rows() == ["1", "2", "3", "4", "5", "6"]


def test_batches_that_are_not_in_the_ledger_are_not_applied(node):
    """Nobody knows whether the commit of an accept happened: then memory proves nothing."""
    node.start(1)
    not_accepted = node.events(2, 3)

    node.applier().step([*node.sealed[:1], *not_accepted])
    assert node.rows() == ["1"]


def test_a_backlog_is_applied_in_few_transactions(node):
    """Up to the named limits."""
    node.start(20)
    applier = Applier(node.engine, node.stream, "tests", Limits(batches=8))

    assert [applier.step() for _ in range(3)] == [True, True, False]
    limited = Applier(node.engine, node.stream, "tests", Limits(rows=3))
    node.push(node.events(21, 27))
    steps = [limited.step() for _ in range(3)]
    assert (steps, limited.applied_seq) == ([True, True, False], 27)
    assert node.record().rows == 27


def test_parts_become_visible_with_the_last_one(node):
    """Before it, nothing of the transaction is there, whichever way the parts come."""
    node.hello()
    parts = node.seal(*(event_batch(str(n), continues=n < 5) for n in range(1, 6)))
    applier = Applier(node.engine, node.stream, "tests", Limits(reading_bytes=1))
    for part in parts[:-1]:
        node.push([part])
        assert applier.step([part]) is False
        assert (applier.step(), node.rows(), applier.applied_seq) == (False, [], 0)
    node.push(parts[-1:])

    assert applier.step(parts[-1:]) is False
    assert node.rows() == ["1", "2", "3", "4", "5"]
    assert node.record().position == "at 5"


def test_a_transaction_of_very_many_parts_is_found_and_streamed(node):
    """More parts than one look at the ledger shows."""
    node.hello()
    many = 600
    parts = node.seal(*(event_batch(str(n), continues=n < many) for n in range(1, many + 1)))
    node.push(parts[:-1])
    assert node.apply_all() == 0
    node.push(parts[-1:])

    assert node.apply_all() == many
    assert len(node.rows()) == many


def test_a_batch_without_rows_moves_the_position(node):
    """Others' changes passed by at the source."""
    node.hello()
    node.push(node.seal(Batch("further", ())))

    assert node.apply_all() == 1
    assert node.record().position == "further"


def test_a_batch_that_is_not_what_it_says_stops_its_stream_and_no_other(store, node):
    """Nobody can say which table it spoils. What lies before it is applied, and it stays so until a person acts (SD11.3)."""
    error = poisoned(node)

    assert error.what.startswith("batch 3: ")
    assert node.rows() == ["1", "2"]
    record = node.record()
    assert (record.state, record.held_seq, record.applied_seq, record.code) == (
        "QUARANTINE",
        3,
        2,
        "QUARANTINE",
    )
    assert record.sentence == error.what
    again = step_until_held(node.applier("another"))
    assert str(again) == str(error)
    other = Node(store.engine, f"{node.name}-other")
    other.start(2)
    assert other.apply_all() == 2
    assert store.audited(node.stream)[-1] == "apply_held"


def test_a_retry_without_a_cure_is_held_again(store, node):
    """And a retry of nothing changes nothing."""
    poisoned(node)
    Held(store.engine).retry(node.stream, "an operator")

    assert node.record().state == "RUNNING"
    step_until_held(node.applier())
    assert store.audited(node.stream)[-3:] == ["apply_held", "apply_retried", "apply_held"]
    other = Node(store.engine, f"{node.name}-other")
    other.start(1)
    Held(store.engine).retry(other.stream)
    assert store.audited(other.stream) == ["stream_began", "accepted"]


def test_a_skip_is_a_declared_gap(store, node):
    """With the exact number and digest, once, with a name behind it (fault H2)."""
    poisoned(node)
    held, digest = Held(store.engine), node.sealed[2].digest.hex()
    for seq, prefix in ((2, digest), (4, digest), (3, digest[:7]), (3, "0" * 8)):
        with pytest.raises(Refused):
            held.skip(node.stream, seq, prefix, "an operator", "")
    for _ in range(2):
        held.skip(node.stream, 3, digest[:8].upper(), "an operator", "known bad row")

    assert node.apply_all() == 4
    assert node.rows() == ["1", "2", "4"]
    with reading(store.engine) as connection:
        gap = connection.execute(select(GAPS).where(GAPS.c.stream == node.stream)).one()
        audit.verify(connection, node.stream)
    assert (gap.first_seq, gap.last_seq, gap.who, gap.reason) == (3, 3, "an operator", "known bad row")
    assert store.audited(node.stream).count("apply_skipped") == 1
    with pytest.raises(Refused, match="no batch is held"):
        held.skip(node.stream, 4, node.sealed[3].digest.hex(), "an operator", "")


def test_a_skip_takes_the_whole_source_transaction(store, node):
    """Half of a commit is never visible."""
    node.hello()
    node.push(
        [
            *node.seal(event_batch("1"), event_batch("2", continues=True)),
            *node.unfit(continues=True),
            *node.seal(event_batch("4"), event_batch("5")),
        ]
    )
    step_until_held(node.applier())

    assert node.record().held_seq == 3
    assert node.rows() == ["1"]
    Held(store.engine).skip(node.stream, 3, node.sealed[2].digest.hex(), "an operator", "bad")
    assert node.apply_all() == 5
    assert node.rows() == ["1", "5"]


def test_several_shapes_of_a_table_in_one_batch(node):
    """Each delta finds the table as it needs it."""
    node.hello()
    wider = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT, "note": Kind.TEXT})
    afresh = dataclasses.replace(inserts(RENAMED_KEY, ("3", "Zhao")), truncated=True)
    deltas = (upserts(NUMBERED, ("1", "Li")), upserts(wider, ("2", "Wang", "x")), afresh)
    node.push(node.seal(Batch("a", deltas)))

    assert node.apply_all() == 1
    assert node.rows(RENAMED_KEY) == ["Zhao"]


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_batch_is_never_applied(store, node, what):
    """Found when it is read (fault E6); the one before it is applied, and the stream says which one it is."""
    node.start(3)
    values = {"junk": b"junk"} if ":junk" in DAMAGES[what] else {}
    store.run(DAMAGES[what], s=node.stream, **values)
    error = step_until_held(node.applier())

    assert "batch 2" in error.what
    assert node.rows() == ["1"]
    assert (node.record().held_seq, node.record().state) == (2, "QUARANTINE")


def test_a_flipped_bit_is_found_wherever_it_is(store, node):
    """Every byte of header and payload is covered by the digest."""
    batches = node.start(2)
    for column, blob in (("header", batches[1].header), ("payload", batches[1].payload)):
        for place in range(len(blob)):
            damaged = bytearray(blob)
            damaged[place] ^= 1
            store_blob(store, column, bytes(damaged), node.stream)
            with pytest.raises(Poisoned, match="batch 2 is damaged"), reading(store.engine) as connection:
                Ledger().read(connection, node.stream, 1, 1)
        store_blob(store, column, blob, node.stream)
    assert node.apply_all() == 2


def store_blob(store, column, blob, stream):
    """Put it there in a transaction of its own."""
    store.run(f"UPDATE {{ledger}} SET {column} = :b WHERE stream = :s AND seq = 2", b=blob, s=stream)


def test_reading_is_bounded_and_in_order(store, node):
    """At least one batch, then as many as fit."""
    node.start(10)
    size = len(node.sealed[0].header) + len(node.sealed[0].payload)
    with reading(store.engine) as connection:
        ledger = Ledger()
        assert [each.seq for each in ledger.read(connection, node.stream, 4, 1)] == [5]
        assert [each.seq for each in ledger.read(connection, node.stream, 0, 3 * size + 20)] == [1, 2, 3]
        assert ledger.read(connection, node.stream, 0, 10**9) == node.sealed
        assert ledger.read(connection, node.stream, 10, 10**9) == []
        assert ledger.span(connection, node.stream, 10, Span(9, 9, 9)) is None


def test_only_old_applied_batches_are_forgotten(store, node):
    """The last applied one stays, because what follows is chained to it."""
    node.start(5)
    Applier(store.engine, node.stream, "tests", Limits(batches=3)).step()
    with writing(store.engine) as connection:
        later = now_us(connection) + 1_000_000
        assert Ledger().prune(connection, node.stream, later - 3_600_000_000) == 0
        assert Ledger().prune(connection, node.stream, later) == 2
        assert Ledger().prune(connection, node.stream, later) == 0

    assert node.push(node.sealed[:1]) == node.head
    assert node.apply_all() == 5
    assert node.rows(EVENT) == ["1", "2", "3", "4", "5"]


def test_an_unknown_stream_has_nothing_to_apply(node):
    """Before the first hello, and without a row made for it."""
    assert node.applier().step() is False
    assert node.applier().step(node.events(1, 1)) is False
