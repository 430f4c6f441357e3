"""Pull over the wire: real TLS over loopback, on both databases."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select, update

from central.apply import Held
from central.delivery import recall
from central.delivery.recalls import chain_of, open_recalls
from central.store import now_us, reading, writing
from central.store.grants import GRANTS
from central.store.tables import AUDIT
from proto.channel import MAX_PART_BYTES, from_rpc
from proto.errors import Refused
from proto.signing import Verifier
from proto.v1 import exchange_pb2, exchange_pb2_grpc, node_pb2, status_pb2
from tests.support.central import TestCentral, eventually, inserts, running
from tests.support.deliveries import Receiver
from tests.support.fences import BAD, Fence
from tests.support.pulling import PEOPLE, STREAM, Provider, Pull, caught_up, civil, figure, granted
from tests.support.shares import change_grant
from tests.support.stores import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


def test_what_is_granted_arrives_and_goes_on_arriving(central):
    """A first copy, then each change; a consumer that comes back goes on where it was (SD12.1, D2)."""
    provider = Provider(central)
    provider.people(1, 100)
    grant, _ = granted(central, "civil")
    client = civil(central)
    with Pull(client.channel, "civil") as pull:
        caught_up(central, pull, grant)
        provider.people(101, 110)
        caught_up(central, pull, grant)
        assert pull.state_of(grant) == "active"
    receiver = pull.receivers[grant]
    provider.people(111, 120)
    with Pull(client.channel, "civil", [receiver]) as again:
        caught_up(central, again, grant)
        assert receiver.generation == 1, "a consumer that came back was copied afresh"


def test_a_grant_made_while_the_call_is_open_is_told(central):
    """Within about a second, with what it brings."""
    provider = Provider(central)
    provider.people(1, 3)
    with Pull(civil(central).channel, "civil") as pull:
        grant, _ = granted(central, "civil")
        pull.wait_for(lambda: pull.state_of(grant) == "active", 3)
        caught_up(central, pull, grant)
        assert pull.granted[grant][-1].table == "people"


def test_a_held_table_is_told_and_delivered_after_its_retry(central):
    """The consumer learns that it waits; nothing else has to happen for the rest to come, once (SD11.3, SD12.2)."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    fence = Fence(Store(central.url, central.engine), STREAM, PEOPLE, "name")
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        fence.up()
        provider.people(4, 6, BAD)
        provider.people(7, 9)
        pull.wait_for(lambda: "holds table people since" in pull.granted[grant][-1].sentence)
        assert (pull.state_of(grant), len(pull.receivers[grant].table.rows)) == ("active", 3)
        eventually(lambda: figure(central, grant).standing.code, "TABLE_HELD")
        fence.down()
        Held(central.engine).retry_table(STREAM, "people")
        eventually(lambda: len(pull.receivers[grant].table.rows), 9)
        pull.wait_for(lambda: not pull.granted[grant][-1].sentence)
        caught_up(central, pull, grant)
        assert pull.receivers[grant].generation == 1


def test_a_revoked_grant_ends_within_five_seconds(central):
    """Told, and nothing that was made ready leaves after it; granted again it goes on where it was (D3, G10)."""
    provider = Provider(central)
    grant, _ = granted(central, "civil", at_end="withdraw")
    with Pull(civil(central).channel, "civil", window=1000) as pull:
        provider.people(1, 3)
        caught_up(central, pull, grant)
        pull.reads.clear()
        noise = random.Random(1)
        for number in range(30):
            rows = [(100 + number * 20 + n, noise.randbytes(25_000).hex()) for n in range(20)]
            provider.change(inserts(rows, PEOPLE))
        eventually(lambda: figure(central, grant).seq > 3)
        with writing(central.engine) as connection:
            change_grant(connection, grant, state="revoked", sentence="数据用途不符")
        revoked_s = time.monotonic()
        eventually(lambda: figure(central, grant).standing.code, "NOT_GRANTED", 5)
        booked = figure(central, grant).seq
        pull.reads.set()
        pull.wait_for(lambda: pull.state_of(grant) == "revoked" or pull.ended, 5)
        assert time.monotonic() - revoked_s < 5
        told = len(pull.deliveries)
        provider.people(4, 5)
        if not pull.ended:
            assert pull.granted[grant][-1].withdraw
        with writing(central.engine) as connection:
            change_grant(connection, grant, state="active", sentence="")
        receiver = pull.receivers[grant]
        assert receiver.seq < booked, "nothing was left to be withdrawn"
        if not pull.ended:
            assert len(pull.deliveries) == told
            caught_up(central, pull, grant)
    with Pull(civil(central).channel, "civil", [receiver]) as again:
        caught_up(central, again, grant)
    assert receiver.generation == 1


def test_a_grant_ends_with_its_last_day_on_the_open_call(central):
    """With no human action, and what comes later does not flow (SD29.2)."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        with writing(central.engine) as connection:
            ends = now_us(connection) + 1_500_000
            connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(valid_to_us=ends))
        pull.wait_for(lambda: pull.state_of(grant) == "expired", 5)
        provider.people(4, 5)
        eventually(lambda: figure(central, grant).standing.state, "PAUSED")
        assert len(pull.receivers[grant].table.rows) == 3


def test_one_grant_waits_and_the_others_go_on(central):
    """A hold is shown with the consumer's own words, and lifted by an empty one (D5)."""
    provider = Provider(central)
    provider.people(1, 3)
    held, _ = granted(central, "civil")
    free, _ = granted(central, "civil", items=("id",))
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, held)
        caught_up(central, pull, free)
        hold = exchange_pb2.PullHold(
            grant=held, state="BLOCKED_DISK", code="BLOCKED_DISK", sentence="磁盘将满"
        )
        pull.send(hold=hold)
        eventually(lambda: figure(central, held).standing.sentence, "磁盘将满")
        provider.people(4, 5)
        caught_up(central, pull, free)
        assert len(pull.receivers[held].table.rows) == 3
        pull.send(hold=exchange_pb2.PullHold(grant=held))
        caught_up(central, pull, held)


def test_a_recall_is_told_until_it_is_answered(central):
    """On the open call, and again on the next one (召回)."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    client = civil(central)
    with Pull(client.channel, "civil") as pull:
        caught_up(central, pull, grant)
        with writing(central.engine) as connection:
            number = recall(connection, grant, "li-na", "数据有误")
        pull.wait_for(lambda: bool(pull.recalls), 3)
        assert (pull.recalls[0].recall, pull.recalls[0].reason) == (number, "数据有误")
        pull.wait_for(lambda: pull.state_of(grant) == "recalled", 3)
    with Pull(client.channel, "civil", pull.receivers.values()) as again:
        again.wait_for(lambda: bool(again.recalls), 3)
        again.send(recalled=exchange_pb2.Recalled(grant=grant, recall=number, rows=3))
        eventually(lambda: asked(central), [])


def asked(central: TestCentral) -> list[str]:
    """Recalls that were not answered."""
    with reading(central.engine) as connection:
        return [each.recall for each in open_recalls(connection, ["civil"])]


def test_the_newest_call_of_a_node_wins(central):
    """The older one is ended and says why."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    client = civil(central)
    with Pull(client.channel, "civil") as older:
        caught_up(central, older, grant)
        with Pull(client.channel, "civil", older.receivers.values()) as newer:
            assert "newer call" in str(older.fate(5))
            provider.people(4, 5)
            caught_up(central, newer, grant)


def test_nothing_runs_ahead_of_its_receipts(central):
    """By more than the consumer's window; a receipt makes room (D1)."""
    provider = Provider(central)
    grant, _ = granted(central, "civil")
    with Pull(civil(central).channel, "civil", acknowledges=False, window=2) as pull:
        for number in range(1, 8):
            provider.people(number, number)
        pull.wait_for(lambda: len(pull.deliveries) == 2)
        provider.people(8, 9)
        eventually(lambda: figure(central, grant).behind > 0)
        assert len(pull.deliveries) == 2
        pull.acknowledges = True
        pull.send(receipt=pull.receivers[grant].received)
        caught_up(central, pull, grant)


def test_a_large_delivery_travels_in_parts(central):
    """Of at most a mebibyte each."""
    provider = Provider(central)
    grant, _ = granted(central, "civil")
    with Pull(civil(central).channel, "civil") as pull:
        provider.people(1, 1)
        caught_up(central, pull, grant)
        noise = random.Random(1)
        provider.change(inserts([(n, noise.randbytes(50_000).hex()) for n in range(10, 90)], PEOPLE))
        caught_up(central, pull, grant)
        assert max(len(each.payload) for each in pull.deliveries) <= MAX_PART_BYTES
        assert max(each.payload_bytes for each in pull.deliveries) > MAX_PART_BYTES


def test_another_node_gets_nothing_of_it(central):
    """The consumer is the certificate's node, whatever a hello says."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    receiver = Receiver(grant, "tax", Verifier((central.folder / "platform.pem").read_bytes()))
    with Pull(central.node("tax").channel, "tax", [receiver]) as pull:
        with Pull(civil(central).channel, "civil") as right:
            caught_up(central, right, grant)
        assert pull.granted == {}
        assert pull.deliveries == []


def test_an_operator_sees_each_grant(central):
    """State, how far, how late, why: in status and in explain (SD12.5)."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil", limits={"rows_per_day": 3})
    operator = central.operator()
    said = node_pb2.ReceivedReport(grant=grant, state="BLOCKED_DISK", sentence="磁盘已满", fix="free space")
    civil(central).desk.Heartbeat(node_pb2.HeartbeatRequest(received=[said]), timeout=5)
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        provider.people(4, 5)
        eventually(lambda: figure(central, grant).standing.code, "DAY_IS_SPENT")
        [shown] = operator.status.GetNode(status_pb2.GetNodeRequest(node="civil")).deliveries
        assert (shown.grant, shown.state, shown.rows, shown.behind) == (grant, "PAUSED", 3, 1)
        assert shown.lag_us > 0
        lines = operator.status.ExplainNode(status_pb2.ExplainNodeRequest(node="civil")).lines
        assert any(grant in line and "3 of 3 rows a day" in line for line in lines)
        assert (shown.received.state, shown.received.whose_move) == ("BLOCKED_DISK", "consumer")
        [leg] = [line for line in lines if line.startswith(f"{grant} receive:")]
        assert "磁盘已满" in leg and leg.endswith("the consumer's move: free space")
    eventually(lambda: figure(central, grant).acked_seq, 1)


MARKER_US = 1_764_000_000_000_000


def test_that_nothing_came_is_told(central):
    """A grant whose table did not change hears how far its provider's stream was followed, and was proven read."""
    provider = Provider(central)
    provider.people(1, 3)
    grant, _ = granted(central, "civil")
    with Pull(civil(central).channel, "civil") as pull:
        caught_up(central, pull, grant)
        provider.change(inserts([(1, "别的表")]))
        pull.wait_for(lambda: grant in pull.progress and pull.progress[grant].source_seq == 2, 25)
        assert pull.progress[grant].proven_us == 0
        provider.prove(MARKER_US)
        pull.wait_for(lambda: pull.progress[grant].proven_us == MARKER_US, 25)


@pytest.mark.parametrize(
    "request_",
    [
        exchange_pb2.PullRequest(receipt=exchange_pb2.Received(grant="G1")),
        exchange_pb2.PullRequest(hello=exchange_pb2.PullHello(protocol=99)),
    ],
    ids=["no hello", "another protocol"],
)
def test_a_call_begins_with_a_hello_of_our_protocol(central, request_):
    """Anything else is refused."""
    stub = exchange_pb2_grpc.ExchangeStub(civil(central).channel)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Pull(iter([request_])))
    assert isinstance(from_rpc(caught.value), Refused)


def delivered_rows(central: TestCentral) -> int:
    """As many rows as the log says were delivered to the consumer."""
    with reading(central.engine) as connection:
        chain = (AUDIT.c.chain == chain_of("civil"), AUDIT.c.event == "delivered")
        return sum(
            json.loads(facts)["rows"] for facts in connection.scalars(select(AUDIT.c.facts).where(*chain))
        )
