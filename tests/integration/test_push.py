"""Push against the real central over real TLS, through a network that is made bad."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from agent.exchange.outbox import OutboxDamaged
from agent.push import Push, PushLimits
from central.intake import Intake
from proto.states import State
from tests.support.central import eventually
from tests.support.department import NODE, QUICK, STREAM, Department, everything_once, rows_at


def test_what_waits_and_what_comes_arrives_once_and_in_order(department, central):
    """The outbox first, then batches as they are committed."""
    department.write(5)
    department.start()
    department.until_acknowledged()
    department.write(20)

    everything_once(department, central)


def test_a_committed_batch_is_acknowledged_at_once(department):
    """Nothing polls: from commit to acknowledgement takes milliseconds."""
    department.start()
    department.write(1)
    department.until_acknowledged()
    took = []
    for _ in range(20):
        department.write(1)
        began, head = time.monotonic(), department.head
        while department.push.facts().acknowledged_seq < head:
            threading.Event().wait(0.001)
        took.append(time.monotonic() - began)

    assert sorted(took)[10] < 0.2


def test_without_memory_everything_is_read_from_the_outbox(tmp_path, net, tls, central):
    """What was not handed over in memory is found where it was committed."""
    department = Department(tmp_path, net.address, tls, PushLimits(memory_bytes=0))
    department.start()
    department.write(30)

    everything_once(department, central)
    department.close()


def test_large_batches_travel_in_parts(department, central):
    """A batch over one message arrives whole."""
    department.start()
    noise = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(1_500_000))
    department.write(1, rows=1, note=noise)

    everything_once(department, central)
    assert rows_at(central)[0][1] == noise


def test_a_link_that_breaks_again_and_again_loses_and_repeats_nothing(department, net, central):
    """Every connection resumes exactly after what central holds (G3, G5, G8)."""
    department.start()
    for _ in range(8):
        department.write(10)
        threading.Event().wait(0.05)
        net.cut()

    everything_once(department, central)


@pytest.mark.parametrize("chunks", [1, 3, 5, 7, 9])
def test_an_answer_that_never_comes_is_asked_for_again(department, net, central, chunks):
    """The request arrived, its answer did not: unknown becomes known by asking (G2, G3)."""
    department.start()
    department.write(1)
    department.until_acknowledged()
    net.black_hole_after_request(chunks)
    department.write(12)
    department.until(State.BACKING_OFF)
    net.heal()
    net.cut()

    everything_once(department, central)


def test_a_black_hole_is_noticed_and_left(department, net, central):
    """A connection that looks alive and carries nothing ends after the progress deadline."""
    department.start()
    department.write(1)
    department.until_acknowledged()
    net.black_hole()
    department.write(1)

    sentence = department.until(State.BACKING_OFF, within_s=10)
    assert "acknowledged nothing" in sentence
    net.heal()
    everything_once(department, central)


def test_a_far_away_central_is_no_trouble(department, net, central):
    """Latency costs time, not connections."""
    net.delay(0.1)
    department.start()
    department.write(20)

    everything_once(department, central)


def test_a_slow_link_gets_what_it_can_carry(department, net, central):
    """At 100 KB/s a batch of many parts arrives over the connection it began on (G4)."""
    department.push.change(PushLimits(progress_s=5))
    department.start()
    department.write(1)
    department.until_acknowledged()
    net.drip(100_000)
    dice = random.Random(4)
    noise = "".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(200_000))
    with capture_logs() as logs:
        department.write(1, rows=1, note=noise)
        department.until_acknowledged(within_s=60)

    assert [log for log in logs if log["event"] == "push_disconnected"] == []
    net.heal()
    everything_once(department, central)


def test_central_restarts_midway(department, central):
    """Push waits, comes back by itself, and goes on after what central holds."""
    department.start()
    department.write(10)
    department.until_acknowledged()
    central.stop()
    department.write(10)
    department.until(State.BACKING_OFF)
    central.start()

    everything_once(department, central)


def test_the_window_is_kept(tmp_path, net, tls, central):
    """Without acknowledgements no more than the window leaves."""
    department = Department(tmp_path, net.address, tls, PushLimits(window_batches=8, progress_s=60))
    department.start()
    department.write(1)
    department.until_acknowledged()
    net.down.swallow = True
    department.write(40)
    eventually(lambda: department.push.facts().unacknowledged, 8)
    threading.Event().wait(0.5)

    assert department.push.facts().unacknowledged == 8
    eventually(lambda: len(rows_at(central)), 9 * 3)
    department.close()


def test_a_restart_of_the_agent_goes_on(department, central):
    """A new process has a new epoch; numbers and digests go on."""
    department.start()
    department.write(5)
    department.until_acknowledged()
    department.close()
    department.open()
    department.start()
    department.write(5)

    everything_once(department, central)


def test_a_clean_stop_notes_what_central_has(department):
    """The next start knows it without asking."""
    department.start()
    department.write(5)
    department.until_acknowledged()
    began = time.monotonic()
    department.stop()

    assert time.monotonic() - began < 5
    assert department.exchange.checkpoint().acknowledged_seq == 5


def test_an_outbox_restored_from_an_older_copy_is_refused(department, tmp_path):
    """Central knows more than we do: it stops, and sends nothing (E7)."""
    department.start()
    department.write(3)
    department.until_acknowledged()
    department.close()
    shutil.copytree(department.folder, tmp_path / "backup")
    department.open()
    department.start()
    department.write(3)
    department.until_acknowledged()
    department.close()
    shutil.rmtree(department.folder)
    shutil.copytree(tmp_path / "backup", department.folder)
    department.open()
    # The copy's epoch is behind as well; a later one shows that the heads themselves are compared.
    department.exchange.close()
    department.open()
    department.exchange.close()
    department.open()
    department.start()

    assert "DIVERGED" in department.until(State.DIVERGED)


def test_another_history_under_the_same_name_is_refused(department, tmp_path, net, tls, central):
    """Same numbers, other batches: both ends compare digests before anything is sent (G6)."""
    department.start()
    department.write(3)
    department.until_acknowledged()
    department.close()
    (tmp_path / "other").mkdir()
    other = Department(tmp_path / "other", net.address, tls)
    for _ in range(3):
        other.exchange.close()
        other.open()
    other.write(6, note="another history")
    other.start()

    assert "batch 3 is another one at central" in other.until(State.DIVERGED)
    other.close()
    assert len(rows_at(central)) == 9


def test_a_damaged_batch_stays_a_reason_after_central_said_welcome(department, central):
    """Central says welcome to what lies damaged here as well; only when it needs the batch no more is that over (E6)."""
    department.write(3)
    department.close()
    with closing(sqlite3.connect(department.folder / "exchange.db")) as connection, connection:
        connection.execute(
            "UPDATE exchange_outbox SET payload = CAST(payload || x'00' AS BLOB) WHERE seq = 3"
        )
    department.open()
    gate = Door()
    push = Push(department.exchange, department.link, QUICK, gate)
    with pytest.raises(OutboxDamaged, match="batch 3 in the outbox"):
        while push.step():
            pass

    gate.is_shut = True
    assert push.step() and push.facts().connected
    assert "batch 3" in str(push.disagreement)
    push.close()
    Intake(central.engine).release(STREAM, "test", "the disk was replaced")
    assert push.step() and push.disagreement is None
    push.close()


class Door:
    """Lets batches leave while it is open."""

    is_shut = False

    def is_open(self) -> bool:
        """Whether it is."""
        return not self.is_shut

    def heard(self, release: int, part: str) -> None:
        """Nobody wants to know."""


def test_an_outbox_that_forgot_what_central_needs_is_a_gap(department, another_central):
    """A central that was restored to nothing needs batches that are gone: named, never skipped (P6)."""
    department.start()
    department.write(6)
    department.until_acknowledged()
    department.stop()
    assert department.exchange.prune(keep_us=0) > 0
    department.close()
    department.target, department.tls = another_central.target, another_central.node(NODE).tls
    department.open()
    department.start()

    assert "GAP" in department.until(State.GAP)


def test_a_revoked_node_says_so(department, central):
    """CREDENTIAL, and not a tight loop of attempts."""
    department.start()
    department.write(1)
    department.until_acknowledged()
    central.registry.revoke(NODE, "test", "left the building")

    assert department.until(State.CREDENTIAL, within_s=15)
    assert department.push.state.read().retry_us > 0


def test_new_certificate_files_are_taken_up_without_loss(department, central):
    """Files are replaced one after the other; the connection moves when they fit together (G11)."""
    department.start()
    department.write(5)
    department.until_acknowledged()
    before = department.push._session
    issued = central.authority.issue_node(NODE)
    central.register(NODE, issued)
    spare = central.files(issued, "renewed")
    shutil.copy(spare.certificate, department.tls.certificate)
    threading.Event().wait(0.7)
    assert department.push._session is before
    shutil.copy(spare.key, department.tls.key)
    eventually(lambda: department.push._session not in (before, None))
    department.write(5)

    everything_once(department, central)


def test_nothing_leaves_while_paused(department, central):
    """Pause holds batches back; resume sends them."""
    department.start()
    department.write(2)
    department.until_acknowledged()
    department.push.pause()
    department.until(State.PAUSED)
    department.write(3)
    threading.Event().wait(0.7)
    assert department.push.facts().acknowledged_seq == 2
    department.push.resume()

    everything_once(department, central)
