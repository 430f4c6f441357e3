"""What central takes, what it refuses, and what it keeps of a refusal: on every database it may stand on."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
from sqlalchemy import func, select

from central import audit
from central.apply import Held
from central.intake import Intake, OutOfOrder
from central.store import reading
from central.store.tables import AUDIT, EVIDENCE, GAPS
from proto.batch import Head
from proto.errors import BatchCorrupt, Diverged, Fenced, Gap, Refused, Transient, way_out
from tests.support.stores import Node, event_batch

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("sqlite", "postgres15", "postgres18")


def older_copy(node: Node, upto: int, epoch: int = 2) -> Node:
    """The same node, restored from a copy made when it had *upto* batches."""
    return dataclasses.replace(node, epoch=epoch, incarnation="restored", sealed=node.sealed[:upto])


def test_a_new_stream_begins_at_nothing(store, node):
    """The first hello makes the stream; batches are taken, and both ends then have one head."""
    assert node.hello() == Head()
    assert node.push(node.events(1, 3)) == node.head
    assert node.hello() == node.head
    assert store.audited(node.stream) == ["stream_began", "accepted"]


def test_a_repeat_is_answered_and_not_taken_twice(store, node):
    """A lost answer makes the node send again; central knows the batches by number and digest."""
    first = node.start(2)
    more = node.events(3, 3)

    assert node.push(first) == first[-1].head
    assert node.push([*first, *more]) == node.head
    assert node.record().rows == 0
    assert node.apply_all() == 3
    assert node.rows() == ["1", "2", "3"]


def test_another_batch_under_a_known_number_freezes_the_stream(store, node):
    """Both digests and the batch that came second are kept."""
    node.start(3)
    other = Node(store.engine, node.name)
    other.sealed = node.sealed[:1]
    (forged,) = other.seal(event_batch("forged"))

    with pytest.raises(Diverged, match="batch 2 came again"):
        node.push([forged])
    with pytest.raises(Diverged, match="batch 2 came again"):
        node.push(node.events(4, 4))
    record = node.record()
    assert (record.state, record.accepted_seq) == ("DIVERGED", 3)
    assert json.loads(record.evidence)["digest"] == forged.digest.hex()
    with reading(store.engine) as connection:
        kept = connection.execute(select(EVIDENCE).where(EVIDENCE.c.chain == node.stream)).one()
    assert (kept.header, kept.payload) == (forged.header, forged.payload)


def test_a_gap_in_numbers_names_the_expected_one(store, node):
    """Nothing is taken, and the stream is not frozen."""
    node.start(1)
    _, third = node.events(2, 3)

    with pytest.raises(OutOfOrder, match="batch 3 came, 2 is expected"):
        node.push([third])
    assert node.push(node.sealed) == node.head


def test_all_batches_of_one_call_are_taken_or_none(node):
    """A damaged last one keeps the good first one out."""
    node.start(1)
    second, third = node.events(2, 3)
    damaged = dataclasses.replace(third, payload=third.payload[:-1] + b"!")

    with pytest.raises(BatchCorrupt):
        node.push([second, damaged])
    assert node.record().accepted_seq == 1
    assert node.push([second, third]).seq == 3


def test_a_batch_of_another_stream_or_a_later_epoch_is_refused(store, node):
    """The place of a batch is checked before its digest is believed."""
    node.start(1)
    stranger = Node(store.engine, node.name, epoch=9)
    stranger.sealed = list(node.sealed)
    with pytest.raises(BatchCorrupt, match="another stream or epoch"):
        node.push(stranger.events(2, 2))
    (second,) = node.events(2, 2)
    with pytest.raises(BatchCorrupt, match="another stream or epoch"):
        node.push([dataclasses.replace(second, stream=f"{node.name}/other")])


def test_nobody_speaks_for_another_nodes_stream(store, node):
    """The refusal is in the registry's chain, because the stream is not the caller's."""
    before = len(store.audited(audit.REGISTRY))

    with pytest.raises(Refused, match="does not own"):
        Intake(store.engine).hello("somebody", node.greeting())
    assert store.audited(audit.REGISTRY)[before:] == ["refused"]
    assert store.audited(node.stream) == []


@pytest.mark.parametrize("stream", ["N/x", "n1", "n1/", "n1/x/y", "n1/X", "n1/" + "x" * 32, "n1/x_y", ""])
def test_a_strange_name_is_refused(store, stream):
    """Names become names of schemas and of files."""
    hello = Node(store.engine, "n1").greeting()
    hello.stream = stream

    with pytest.raises(Refused):
        Intake(store.engine).hello("n1", hello)


@pytest.mark.parametrize(
    "bad", [{"epoch": 2**63}, {"oldest_seq": 2**64 - 1}, {"incarnation": ""}, {"incarnation": "x" * 65}]
)
def test_a_hello_out_of_bounds_is_refused(node, bad):
    """What cannot be kept is not taken."""
    hello = node.greeting()
    for name, value in bad.items():
        setattr(hello, name, value)

    with pytest.raises(Refused, match="out of bounds"):
        Intake(node.engine).hello(node.name, hello)


def test_the_newer_process_takes_over_and_the_older_is_fenced(store, node):
    """Also in the middle of a push; and the older one cannot come back."""
    node.start(1)
    newer = dataclasses.replace(node, epoch=2, incarnation="second", sealed=list(node.sealed))
    assert newer.hello() == node.head

    with pytest.raises(Fenced):
        node.push(node.events(2, 2))
    with pytest.raises(Fenced):
        node.hello()
    twin = dataclasses.replace(newer, incarnation="twin")
    with pytest.raises(Fenced):
        twin.hello()
    assert newer.push(newer.events(2, 2)).epoch == 2
    assert newer.hello() == newer.head
    assert "writer_changed" in store.audited(node.stream)


def test_a_fenced_process_does_not_stop_the_rightful_one(node):
    """Its past is central's, so it is a second process; it is turned away, and told what to do if it is not."""
    node.start(3)
    newer = dataclasses.replace(node, epoch=2, incarnation="second")
    newer.hello()

    with pytest.raises(Fenced, match="epoch 1") as caught:
        older_copy(node, upto=3, epoch=1).hello()
    assert newer.hello() == newer.head
    assert way_out(node.stream) in caught.value.fix


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_older_copy_is_no_second_process_whatever_its_epoch(node, epoch):
    """E7: an exchange database restored and started as often as before; it stops alone, the rightful writer goes on."""
    node.start(3)
    node.apply_all()
    newer = dataclasses.replace(node, epoch=2, incarnation="second")
    newer.hello()

    with pytest.raises(Diverged, match="older copy") as caught:
        older_copy(node, upto=2, epoch=epoch).hello()
    assert caught.value.fix == way_out(node.stream)
    assert newer.hello() == newer.head
    assert node.record().state == "RUNNING"
    Intake(node.engine).release(node.stream, "an operator", "it is the right one")
    copy = older_copy(node, upto=2, epoch=epoch)
    assert copy.hello() == copy.head


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_node_that_comes_back_empty_has_diverged(node, epoch):
    """Its exchange database was lost: a person decides, whatever its epoch says."""
    node.epoch = 2
    node.start(2)

    with pytest.raises(Diverged, match="the node is empty"):
        older_copy(node, upto=0, epoch=epoch).hello()
    with pytest.raises(Diverged, match="the node is empty"):
        node.hello()
    assert node.record().state == "DIVERGED"


def test_a_node_restored_from_an_older_copy_has_diverged(node):
    """Both heads are kept as evidence."""
    node.start(3)

    with pytest.raises(Diverged, match="ends at 2, behind central's 3"):
        older_copy(node, upto=2).hello()
    evidence = json.loads(node.record().evidence)
    assert (evidence["node_seq"], evidence["central_seq"]) == (2, 3)
    assert evidence["node_digest"] == node.sealed[1].digest.hex()


def test_equal_numbers_with_different_digests_have_diverged(node):
    """The same length is not the same past."""
    node.start(2)
    other = older_copy(node, upto=1)
    other.events(7, 7)

    with pytest.raises(Diverged, match="batch 2 has another digest"):
        other.hello()


def test_a_central_that_lost_batches_gets_them_again(store, node):
    """Restored from a backup: what the outbox still has closes the hole (fault P6)."""
    node.hello()
    assert node.push(node.events(1, 3)[:1]).seq == 1
    assert node.hello(oldest_seq=2).seq == 1
    assert node.push(node.sealed[1:]) == node.head


def test_batches_that_neither_end_has_are_a_gap(store, node):
    """The outbox was pruned, central was restored: the stream is frozen and says what is gone."""
    node.hello()
    node.push(node.events(1, 5)[:1])

    with pytest.raises(Gap, match="batches 2 to 3 are gone"):
        node.hello(oldest_seq=4)
    assert node.record().state == "GAP"
    with pytest.raises(Gap):
        node.hello(oldest_seq=1)


def test_a_stream_unknown_to_central_must_come_whole(store, node):
    """Central is new or lost everything; the frozen stream is there for people to see."""
    node.events(1, 5)

    with pytest.raises(Gap, match="before 4 are gone"):
        node.hello(oldest_seq=4)
    assert node.record().state == "GAP"
    whole = Node(store.engine, f"{node.name}-whole")
    whole.events(1, 2)
    assert whole.hello(oldest_seq=1) == Head()
    assert whole.push(whole.sealed).seq == 2


def test_a_released_stream_goes_on_where_the_node_is(store, node):
    """After an older copy: what central had beyond it is a declared gap, and numbers go on at the node's."""
    node.start(4)
    node.apply_all()
    restored = older_copy(node, upto=2)
    with pytest.raises(Diverged):
        restored.hello()

    Intake(store.engine).release(node.stream, "an operator", "restored on purpose")
    assert restored.hello() == restored.head
    assert restored.push(restored.events(13, 13)).seq == 3
    assert restored.apply_all() == 3
    assert node.rows() == ["1", "13", "2", "3", "4"]
    with reading(store.engine) as connection:
        gap = connection.execute(select(GAPS).where(GAPS.c.stream == node.stream)).one()
        audit.verify(connection, node.stream)
    assert (gap.first_seq, gap.last_seq) == (3, 4)
    assert store.audited(node.stream)[-4:] == ["refused", "stream_released", "head_adopted", "accepted"]


def test_a_release_also_bridges_a_gap(store, node):
    """The node's head is adopted, although central never saw what lies between."""
    node.events(1, 5)
    with pytest.raises(Gap):
        node.hello(oldest_seq=4)

    Intake(store.engine).release(node.stream, "an operator", "copied afresh")
    assert node.hello(oldest_seq=4) == node.head
    assert node.push(node.events(6, 6)).seq == 6
    assert node.apply_all() == 6
    assert node.rows() == ["6"]


def test_a_release_waits_until_everything_accepted_is_applied(store, node):
    """What was acknowledged is never thrown away."""
    node.start(2)
    restored = older_copy(node, upto=1)
    with pytest.raises(Diverged):
        restored.hello()
    Intake(store.engine).release(node.stream, "an operator", "on purpose")

    with pytest.raises(Transient, match="applied 0 of 2"):
        restored.hello()
    node.apply_all()
    assert restored.hello() == restored.head


def test_a_release_needs_a_stream_whose_apply_is_not_held(store, node):
    """First the batch, then the stream."""
    node.hello()
    node.push(node.seal(event_batch("1", continues=False)))
    store.run("UPDATE {applied} SET state = 'QUARANTINE', held_seq = 1 WHERE stream = :s", s=node.stream)

    with pytest.raises(Refused, match="batch 1 cannot be applied"):
        Intake(store.engine).release(node.stream, "an operator", "hurry")
    Held(store.engine).retry(node.stream, "an operator")
    Intake(store.engine).release(node.stream, "an operator", "no hurry")
    Intake(store.engine).release(node.stream, "an operator", "twice")
    assert store.audited(node.stream).count("stream_released") == 1


def test_unknown_streams_take_nothing(node):
    """Accept and release need a hello before."""
    with pytest.raises(Refused, match="no such stream"):
        node.push(node.events(1, 1))
    with pytest.raises(Refused, match="no such stream"):
        Intake(node.engine).release(node.stream, "an operator", "")


def test_every_refusal_is_in_the_audit_log(store, node):
    """With its code, and the chain stays whole."""
    node.start(1)
    with pytest.raises(OutOfOrder):
        node.push(node.events(2, 3)[1:])
    with pytest.raises(Fenced):
        dataclasses.replace(node, incarnation="twin").hello()

    assert store.audited(node.stream)[-2:] == ["refused", "refused"]
    with reading(store.engine) as connection:
        assert audit.verify(connection, node.stream) == 4


def test_two_pushes_of_one_stream_at_once_are_taken_once(store, node):
    """The head's row is locked: one goes first, the other finds its batches there."""
    node.hello()
    batches = node.events(1, 20)
    heads: list[Head] = []
    threads = [threading.Thread(target=lambda: heads.append(node.push(batches))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heads == [node.head] * 4
    with reading(store.engine) as connection:
        accepted = select(func.count()).where(AUDIT.c.chain == node.stream, AUDIT.c.event == "accepted")
        assert connection.execute(accepted).scalar_one() == 1
