"""Pull over real TLS against a platform that says what the test wants, also what no platform would."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agent.discretion import Discretion
from agent.exchange import Parcel, Reception, StoreLimits
from proto.errors import NotAdmitted, Transient
from proto.states import State
from proto.v1 import exchange_pb2
from tests.support.central import eventually
from tests.support.consumer import Consumer, begin
from tests.support.counting import counted
from tests.support.parcels import CONSUMER, came, gone, in_parts, persons
from tests.support.platform import Platform
from tests.support.proxy import BadNet

pytest_plugins = ["tests.support.consumer"]


def test_nothing_is_granted(consumer: Consumer, platform: Platform) -> None:
    """One idle call, and nothing else."""
    consumer.start()
    visit = platform.visited()
    assert "nothing is granted" in consumer.until(State.IDLE)

    threading.Event().wait(1.5)
    assert (list(visit.hello.received), visit.said, len(platform.visits)) == ([], [], 1)


def test_deliveries_come_in_and_receipts_go_out(consumer: Consumer, platform: Platform) -> None:
    """In order, each after its commit; a new process begins where the rows are."""
    share = platform.share()
    begin(consumer, platform, share)
    platform.deliver(
        share.delivery(persons((1, "张三"), (2, "李四"))), share.delivery(persons((2, "王五")), gone(1))
    )
    platform.received("G-1", 1, 2)
    assert consumer.rows() == [(2, "王五")]
    assert platform.receipts()[-1].seq == 2

    consumer.close()
    consumer.open()
    consumer.start()
    visit = platform.visited(2)
    assert [(r.grant, r.generation, r.seq, r.digest) for r in visit.hello.received] == [
        ("G-1", 1, 2, share.digest)
    ]


def test_what_waits_together_shares_a_commit(consumer: Consumer, platform: Platform) -> None:
    """Deliveries that came while another was committed go in with one commit, and nothing waits for what is to come."""
    one, two = platform.share("G-1", table="visit"), platform.share("G-2")
    begin(consumer, platform, one, two)
    eventually(lambda: len(consumer.received.grants()), 2)
    commit_all, shared = consumer.received.commit_all, []

    def told(parcels: Sequence[Parcel]) -> list[Reception]:
        shared.append(len(parcels))
        return commit_all(parcels)

    consumer.received.commit_all = told  # type: ignore[method-assign]
    with counted(consumer.engine) as asked:
        with consumer.received._lock:
            for number in range(20):
                platform.send(one.delivery(came(number)), two.delivery(persons((number, "张三"))))
            # Some are with the worker, which waits for the lock; the others lie here.
            eventually(lambda: sum(shared) + len(consumer.pull._session._in._held) == 40)
        platform.received("G-1", 1, 20)
        platform.received("G-2", 1, 20)
    assert sum(shared) == 40
    assert asked.commits == len(shared) <= 2
    assert (len(consumer.rows("G-1")), len(consumer.rows("G-2"))) == (20, 20)
    assert [receipt.seq for receipt in platform.receipts() if receipt.grant == "G-2"][-1] == 20


def test_large_deliveries_travel_in_parts(consumer: Consumer, platform: Platform) -> None:
    """Parts of different grants may come by turns."""
    one, two = platform.share("G-1"), platform.share("G-2", table="visit")
    begin(consumer, platform, one, two)
    dice = random.Random(4)
    noise = "".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(400_000))
    first, second = one.delivery(persons((1, noise))), two.delivery(came(*dice.sample(range(10**12), 2000)))
    lanes = [list(in_parts(first, 200_000)), list(in_parts(second, 1000))]
    assert min(map(len, lanes)) > 2
    for group in zip(*lanes, strict=False):
        platform.send(*group)
    shorter = min(map(len, lanes))
    platform.send(*lanes[0][shorter:], *lanes[1][shorter:])

    consumer.until_rows("G-1", [(1, noise)])
    platform.received("G-2", 1, 1)
    assert len(consumer.rows("G-2")) == 2000


def test_a_link_that_breaks_again_and_again(
    tmp_path: Path, platform: Platform, badnet: Callable[[tuple[str, int]], BadNet]
) -> None:
    """Nothing is lost and nothing is there twice (G3, D2)."""
    net = badnet(("127.0.0.1", platform.port))
    consumer = Consumer(tmp_path / "far", net.address, platform.node())
    share = platform.share(table="visit")
    begin(consumer, platform, share)
    for number in range(30):
        share.delivery(came(number))
    served = 0
    for cut in range(6):
        visit = platform.visited(cut + 1)
        platform.send(share.granted())
        start = max((r.seq for r in visit.hello.received), default=0)
        served = max(served, start)
        platform.deliver(*share.sent[start : start + 5])
        # Sometimes before, sometimes after it arrived.
        threading.Event().wait(0.03 * cut)
        net.cut()
    platform.visited(7)
    platform.send(share.granted())
    start = max(r.seq for r in platform.visits[-1].hello.received)
    platform.deliver(*share.sent[start:])

    platform.received("G-1", 1, 30)
    assert [row[0] for row in consumer.rows()] == sorted(range(30), key=lambda n: repr((n, "")))
    consumer.close()


def test_a_held_grant_goes_on_when_a_person_says_so(consumer: Consumer, platform: Platform) -> None:
    """Central hears that it was lifted and from where to go on; a held one is told on every connection (D5, SD40.1)."""
    consumer.pull.discretion = Discretion(["mysql://signature@h/d"])
    share = platform.share()
    begin(consumer, platform, share)
    good = share.delivery(persons((1, "张三")))
    bad = exchange_pb2.Delivery()
    bad.CopyFrom(good)
    bad.signature = b"wrong"
    platform.deliver(bad)
    platform.wait(platform.holds)
    platform.end()
    platform.visited(2)
    platform.send(share.granted())
    platform.wait(lambda: len(platform.holds()) == 2)
    assert platform.holds()[1].code == "SIGNATURE_WRONG"
    assert "signature" in consumer.received.grants()["G-1"].why
    assert "signature" not in platform.holds()[1].sentence and "…" in platform.holds()[1].sentence

    consumer.pull.retry("G-1", "wang")
    platform.visited(3)
    platform.send(share.granted())
    platform.wait(lambda: len(platform.holds()) == 3)
    assert (platform.holds()[2].grant, platform.holds()[2].state) == ("G-1", "")
    platform.deliver(good)
    consumer.until_rows("G-1", [(1, "张三")])


def test_a_certificate_that_is_not_the_platforms(consumer: Consumer, platform: Platform) -> None:
    """Of the right authority but a node's, or of another authority: nothing is received at all."""
    share = platform.share()
    platform.certificate = platform.node("liar").certificate.read_bytes()
    consumer.start()
    assert "not the platform" in consumer.until(State.CREDENTIAL)
    consumer.stop()
    consumer.close()
    platform.certificate = Platform(platform.folder / "stranger").signer.certificate_pem
    consumer.open()
    consumer.start()
    assert "not from an authority we trust" in consumer.until(State.CREDENTIAL)
    consumer.close()

    platform.certificate = platform.signer.certificate_pem
    consumer.open()
    seen = len(platform.visits)
    consumer.start()
    platform.visited(seen + 1)
    platform.send(share.granted())
    platform.deliver(share.delivery(persons((1, "张三"))))
    consumer.until_rows("G-1", [(1, "张三")])


def test_a_delivery_before_its_grant(consumer: Consumer, platform: Platform) -> None:
    """Nothing is known of it: refused, told, not kept."""
    consumer.start()
    platform.visited()
    platform.deliver(platform.share("G-9").delivery(persons((1, "张三"))))

    hold = platform.wait(platform.holds)[0]
    assert (hold.grant, hold.state) == ("G-9", State.DIVERGED)
    assert consumer.received.start() == {}


@pytest.mark.parametrize(
    "other", [{"stream": "../../etc"}, {"table": "\0"}, {"grant": "a\nb"}, {"resource_name": "\0名"}]
)
def test_an_announcement_with_impossible_names(
    consumer: Consumer, platform: Platform, other: dict[str, str]
) -> None:
    """Refused or harmless, and the others go on."""
    good, odd = platform.share(), platform.share("G-2")
    begin(consumer, platform, good)
    said = odd.granted()
    for name, value in other.items():
        setattr(said, name, value)
    platform.send(said)
    platform.deliver(good.delivery(persons((1, "张三"))))

    platform.received("G-1", 1, 1)
    assert consumer.rows() == [(1, "张三")]


def test_end_and_recall_arrive_on_the_open_call(consumer: Consumer, platform: Platform) -> None:
    """Rows go on recall and the count is told; after the end nothing is taken (SD29.2; 召回)."""
    share = platform.share()
    begin(consumer, platform, share)
    platform.deliver(share.delivery(persons((1, "张三"), (2, "李四"))))
    platform.received("G-1", 1, 1)
    platform.send(exchange_pb2.Recall(grant="G-1", recall="C-1", reason="数据有误"))
    platform.wait(platform.recalled)
    assert [(done.recall, done.rows) for done in platform.recalled()] == [("C-1", 2)]
    assert consumer.rows() == []

    platform.send(share.granted("revoked", sentence="协议终止"))
    platform.deliver(share.delivery(persons((3, "迟到"))))
    platform.send(exchange_pb2.Recall(grant="G-1", recall="C-2", reason="再次"))
    platform.wait(lambda: len(platform.recalled()) == 2)
    assert consumer.rows() == []
    assert consumer.received.grants()["G-1"].why == "协议终止"
    assert platform.holds() == []


def test_idle_is_proven(consumer: Consumer, platform: Platform) -> None:
    """Not silence but word that the provider was looked at makes it IDLE."""
    share = platform.share()
    begin(consumer, platform, share)
    platform.deliver(share.delivery(persons((1, "张三"))))
    platform.received("G-1", 1, 1)
    eventually(lambda: consumer.pull.state.read().state, State.RUNNING)

    platform.send(exchange_pb2.Progress(grant="G-1", source_seq=7, proven_us=time.time_ns() // 1000))
    consumer.until(State.IDLE)
    assert consumer.received.grants()["G-1"].source_seq == 7


def test_a_large_transaction_in_parts_is_received_part_by_part(
    consumer: Consumer, platform: Platform
) -> None:
    """Each part has its receipt, so that a window smaller than the transaction stops nothing."""
    share = platform.share(table="visit")
    begin(consumer, platform, share)
    for number in range(20):
        platform.deliver(share.delivery(came(number), continues=True))
        platform.received("G-1", 1, number + 1)
    assert consumer.rows() == []
    platform.deliver(share.delivery(came(20)))

    platform.received("G-1", 1, 21)
    assert len(consumer.rows()) == 21


def test_central_is_away_or_refuses(consumer: Consumer, platform: Platform) -> None:
    """Tried again with backoff; a refusal of the node is a credential."""
    share = platform.share()
    begin(consumer, platform, share)
    platform.end(Transient("maintenance"))
    platform.visited(2)
    platform.refuses = NotAdmitted("this node was revoked")
    platform.end()

    assert "revoked" in consumer.until(State.CREDENTIAL)


def test_no_welcome(consumer: Consumer, platform: Platform) -> None:
    """A call that says nothing is left in time."""
    platform.welcomes = False
    consumer.start()

    assert "welcome" in consumer.until(State.BACKING_OFF)


def test_new_certificate_files_are_taken_up(consumer: Consumer, platform: Platform) -> None:
    """The connection moves once they fit together (G11)."""
    share = platform.share()
    begin(consumer, platform, share)
    spare = platform.node("spare")
    certificate, key = platform.folder / "renewed.pem", platform.folder / "renewed.key"
    platform.authority.issue_node(CONSUMER).write(certificate, key)
    del spare
    shutil.copy(certificate, consumer.tls.certificate)
    threading.Event().wait(0.7)
    assert len(platform.visits) == 1
    shutil.copy(key, consumer.tls.key)
    platform.visited(2)
    platform.send(share.granted())
    platform.deliver(share.delivery(persons((1, "张三"))))

    consumer.until_rows("G-1", [(1, "张三")])


def test_it_stops_at_once(consumer: Consumer, platform: Platform) -> None:
    """While idle, and while it waits for a welcome."""
    consumer.start()
    platform.visited()
    began = time.monotonic()
    consumer.stop()
    assert time.monotonic() - began < 2

    platform.welcomes = False
    consumer.close()
    consumer.open()
    consumer.start()
    platform.visited(2)
    began = time.monotonic()
    consumer.stop()
    assert time.monotonic() - began < 2


def test_a_nearly_full_disk_waits(tmp_path: Path, platform: Platform) -> None:
    """No call is kept open while nothing could be taken; it says so (E3)."""
    consumer = Consumer(tmp_path / "full", platform.target, platform.node())
    consumer.limits = StoreLimits(min_free_bytes=1 << 62)
    consumer.close()
    consumer.open()
    consumer.start()

    assert "must stay" in consumer.until(State.BLOCKED_DISK)
    assert platform.visits == []
    consumer.close()
