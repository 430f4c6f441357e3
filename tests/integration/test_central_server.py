"""Central over the wire: real TLS over loopback, on both databases."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from central.daemon.service import SWEEP_S
from central.intake import Intake
from central.rpc.server import DRAIN_S
from proto.batch import SealedBatch, chain
from proto.channel import channel
from proto.codec import zstd  # type: ignore[attr-defined]
from proto.errors import (
    BatchCorrupt,
    Diverged,
    Fenced,
    Refused,
    Transient,
)
from proto.schema import Column, TableSchema
from proto.v1 import batch_pb2, exchange_pb2, node_pb2, status_pb2
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

STREAM = "hr-node/hr"


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on SQLite, where the database does not matter."""
    yield from running(tmp_path, f"sqlite:///{tmp_path / 'central.db'}")


def ids(central: TestCentral, stream: str = STREAM) -> list[int]:
    """The ids in the platform's events table."""
    return [row[0] for row in central.rows(stream)]


def status_of(central: TestCentral, operator: NodeClient, node: str = "hr-node") -> status_pb2.NodeStatus:
    """What an operator sees of a node."""
    reply: status_pb2.NodeStatus = operator.status.GetNode(status_pb2.GetNodeRequest(node=node), timeout=5)
    return reply


def test_batches_are_accepted_and_become_rows(central: TestCentral) -> None:
    """Push to acknowledgement to visible row."""
    node, chain_ = central.node(), Chain(STREAM)
    with node.push(chain_) as push:
        assert push.welcome is not None
        assert push.welcome.window_batches == 64
        push.send(*chain_.events(20))
        push.until_applied(20)
    assert ids(central) == list(range(60))


def test_an_accepted_batch_is_applied_at_once_and_not_at_the_next_sweep(central: TestCentral) -> None:
    """Twenty batches, one after the other: waiting for sweeps would take twenty seconds."""
    node, chain_ = central.node(), Chain(STREAM)
    with node.push(chain_) as push:
        began = time.monotonic()
        for batch in chain_.events(20):
            push.send(batch)
            push.until_applied(batch.seq)
        assert time.monotonic() - began < 20 * SWEEP_S / 2


def test_a_large_batch_travels_in_parts(central: TestCentral) -> None:
    """Parts are put together again, and an empty batch is a batch."""
    node, chain_ = central.node(), Chain(STREAM)
    noise = random.Random(7)
    rows = [(n, noise.randbytes(60).hex()) for n in range(50_000)]
    big = chain_.add(batch_of(inserts(rows)))[0]
    assert len(big.payload) > 2 * 1024 * 1024
    with node.push(chain_) as push:
        push.send(big, *chain_.add(batch_of(position="later")))
        push.until_applied(2)
    assert central.rows(STREAM) == rows


def test_a_repeat_is_answered_and_changes_nothing(central: TestCentral) -> None:
    """The answer was lost: the node sends the same again, on a new call."""
    node, chain_ = central.node(), Chain(STREAM)
    with node.push(chain_) as push:
        push.send(*chain_.events(5))
        push.until_applied(5)
    with node.push(chain_) as push:
        assert push.welcome is not None
        assert (push.welcome.head.seq, push.welcome.head.digest) == (5, chain_.head.digest)
        push.send(*chain_.batches, *chain_.events(1))
        push.until_applied(6)
    assert ids(central) == sorted([*range(15), 15, 16, 17])


def test_a_number_left_out_is_refused_with_the_one_expected(central: TestCentral) -> None:
    """Nothing of what follows is taken."""
    node, chain_ = central.node(), Chain(STREAM)
    with node.push(chain_) as push:
        first, _, third = chain_.events(3)
        push.send(first)
        push.until_accepted(1)
        push.send(third)
        error = push.fate()
    assert isinstance(error, Refused)
    assert "2 is expected" in str(error)
    with node.push(chain_) as push:
        assert push.welcome is not None
        assert push.welcome.head.seq == 1


def flipped(batch: SealedBatch) -> SealedBatch:
    """The batch with one bit of its payload changed."""
    payload = bytearray(batch.payload)
    payload[len(payload) // 2] ^= 0x10
    return replace(batch, payload=bytes(payload))


def test_a_flipped_bit_is_found_and_the_true_batch_is_taken_later(central: TestCentral) -> None:
    """Damage on the way does not spoil the stream."""
    node, chain_ = central.node(), Chain(STREAM)
    with node.push(chain_) as push:
        good, bad = chain_.events(2)
        push.send(good, flipped(bad))
        assert isinstance(push.fate(), BatchCorrupt)
    with node.push(chain_) as push:
        assert push.welcome is not None
        push.send(*chain_.batches[push.welcome.head.seq :])
        push.until_applied(2)
    assert ids(central) == list(range(6))


def test_another_batch_under_a_known_number_freezes_the_stream_until_it_is_released(
    central: TestCentral,
) -> None:
    """A forked history is never merged; a person decides."""
    node, chain_, fork = central.node(), Chain(STREAM), Chain(STREAM)
    with node.push(chain_) as push:
        push.send(*chain_.events(2))
        push.until_applied(2)
    fork.add(batch_of(inserts([(900, "other")])), batch_of(inserts([(901, "past")])))
    for _ in range(2):
        with pytest.raises(Diverged) as caught, node.push(fork):
            pass
        assert caught.value.where == STREAM
        assert caught.value.fix
    shown = status_of(central, central.operator())
    assert (shown.state, shown.streams[0].code) == ("DIVERGED", "DIVERGED")
    Intake(central.engine).release(STREAM, "test", "the node is right")
    with node.push(fork) as push:
        assert push.welcome is not None
        push.send(*fork.add(batch_of(inserts([(902, "next")]))))
        push.until_accepted(3)


def test_a_second_process_with_the_same_identity_is_fenced(central: TestCentral) -> None:
    """The newer epoch wins, the older one is told."""
    node, old, new = central.node(), Chain(STREAM), Chain(STREAM, epoch=2)
    with node.push(old, "old") as push:
        with node.push(new, "new"):
            pass
        push.send(*old.events(1))
        assert isinstance(push.fate(), Fenced)
    with pytest.raises(Fenced), node.push(old, "old"):
        pass


def test_one_held_table_waits_and_everything_else_goes_on(central: TestCentral) -> None:
    """It is kept and shown, with what to do; neither its stream's other tables nor other streams notice (SD11.3)."""
    node, good, bad = central.node(), Chain("hr-node/good"), Chain("hr-node/bad")
    houses = replace(PEOPLE, name="houses")
    other_key = TableSchema("people", (Column("id", Kind.INT64), Column("name", Kind.TEXT)), ("name",))
    with node.push(good) as one, node.push(bad) as two:
        two.send(*bad.add(batch_of(inserts([(1, "a")], PEOPLE)), batch_of(inserts([(2, "b")], other_key))))
        two.until_applied(1)
        two.until_accepted(2)
        one.send(*good.events(10))
        one.until_applied(10)
        operator = central.operator()

        def shown() -> dict[str, str]:
            return {each.stream: each.state for each in status_of(central, operator).streams}

        eventually(lambda: shown().get("hr-node/bad"), "SCHEMA_HOLD")
        assert shown()["hr-node/good"] not in {"SCHEMA_HOLD", "QUARANTINE"}
        lines = operator.status.ExplainNode(status_pb2.ExplainNodeRequest(node="hr-node"), timeout=5).lines
        assert any(
            "hr-node/bad apply: SCHEMA_HOLD" in line and "the platform's move" in line for line in lines
        )
        assert any("hr-node/bad table people: SCHEMA_HOLD, held since" in line for line in lines)
        [bad_stream] = [each for each in status_of(central, operator).streams if each.stream == "hr-node/bad"]
        [table] = bad_stream.held
        assert (table.table, table.held_seq, table.after_seq, table.retrying) == ("people", 2, 1, False)
        assert "exchange-agent snapshot people" in table.fix
        reply = node.desk.Heartbeat(node_pb2.HeartbeatRequest(), timeout=5)
        [told] = [each for each in reply.notices if "the platform holds table people" in each]
        assert "up to batch 1" in told and told.endswith(table.fix)
        two.send(*bad.add(batch_of(inserts([(3, "c")], PEOPLE), inserts([(4, "丁")], houses))))
        two.until_applied(3)
    assert ids(central, "hr-node/good") == list(range(30))
    assert central.rows("hr-node/bad", PEOPLE) == [(1, "a")]
    assert central.rows("hr-node/bad", houses) == [(4, "丁")]


def test_a_restart_midway_loses_and_repeats_nothing(central: TestCentral) -> None:
    """Central stops in order while batches come; the node says hello again and goes on."""
    node, chain_ = central.node(), Chain(STREAM)
    chain_.events(300, rows=1)
    sent = Chain(STREAM)
    with node.push(sent) as push:
        push.send(*chain_.batches[:200])
        push.until_accepted(20)
        began = time.monotonic()
        central.stop()
        assert time.monotonic() - began < DRAIN_S / 2
        assert isinstance(push.fate(), Transient)
        acknowledged = push.accepted
    central.start()
    with node.push(chain_) as push:
        assert push.welcome is not None
        head = push.welcome.head.seq
        assert acknowledged <= head <= 200
        push.send(*chain_.batches[head:])
        push.until_applied(300)
    assert ids(central) == list(range(300))


def test_a_bomb_is_refused_and_memory_stays_flat(lone: TestCentral) -> None:
    """32 KB that claim, or hide, 1 GiB of rows."""
    node = lone.node()
    bomb = _zeros(1024**3)
    process = psutil.Process()
    before = process.memory_info().rss
    operator = lone.operator()
    for stream, claimed in (("hr-node/claims", 1024**3), ("hr-node/hides", 1024 * 1024)):
        with node.push(Chain(stream)) as push:
            push.send(_sealed(stream, bomb, claimed))
            eventually(partial(_state, lone, operator, stream), "QUARANTINE")
    assert process.memory_info().rss - before < 100 * 1024 * 1024


def _state(central: TestCentral, operator: NodeClient, stream: str) -> str:
    return next((each.state for each in status_of(central, operator).streams if each.stream == stream), "")


def _zeros(size: int) -> bytes:
    compressor = zstd.ZstdCompressor(3)
    block = bytes(1024 * 1024)
    return b"".join([*(compressor.compress(block) for _ in range(size // len(block))), compressor.flush()])


def _sealed(stream: str, payload: bytes, claimed: int) -> SealedBatch:
    schema = batch_pb2.TableSchema(name="t", columns=[batch_pb2.ColumnSchema(name="a", kind="int64")])
    header = batch_pb2.BatchHeader(
        format=1,
        position="p",
        schemas=[schema],
        deltas=[batch_pb2.DeltaSections(schema=0, insert_count=1, insert_bytes=claimed)],
        compression=batch_pb2.COMPRESSION_ZSTD,
        raw_bytes=claimed,
        payload_sha256=hashlib.sha256(payload).digest(),
    ).SerializeToString()
    return SealedBatch(stream, 1, 1, chain(bytes(32), stream, 1, 1, header), header, payload)


def test_a_message_with_100_mb_of_names_is_refused_and_the_server_goes_on(lone: TestCentral) -> None:
    """gRPC's own limit answers, as a refusal that is not tried again."""
    node, chain_ = lone.node(), Chain(STREAM)
    unlimited = channel(lone.target, node.tls, options=(("grpc.max_send_message_length", -1),))
    loud = NodeClient.__new__(NodeClient)
    loud.channel = unlimited
    before = psutil.Process().memory_info().rss
    push = NodeClient.push(loud, chain_)
    push.wait_for(lambda: push.welcome is not None)
    names = [batch_pb2.ColumnSchema(name="x" * 10_000_000) for _ in range(10)]
    header = batch_pb2.BatchHeader(schemas=[batch_pb2.TableSchema(columns=names)]).SerializeToString()
    part = exchange_pb2.BatchPart(seq=1, epoch=1, digest=bytes(32), header=header)
    push.send_raw(exchange_pb2.PushRequest(part=part))
    error = push.fate()
    assert isinstance(error, Refused)
    assert "over the limit" in str(error)
    unlimited.close()
    del names, header, part
    with node.push(chain_) as after:
        after.send(*chain_.events(1))
        after.until_applied(1)
    # The client's own three copies of the message are in this process too.
    assert psutil.Process().memory_info().rss - before < 500 * 1024 * 1024
