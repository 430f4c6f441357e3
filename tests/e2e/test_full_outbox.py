"""One stream's outbox is full: its capture waits in a named state, and the streams beside it do not notice."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from demo.system import NODE
from tests.support.central import eventually
from tests.support.manysources import KINDS, Bureaus

pytestmark = pytest.mark.timeout(180)
FULL: Final = "journal"
OTHERS: Final = [kind for kind in KINDS if kind != FULL]
MIB: Final = 1024**2
LIMIT_BYTES: Final = MIB
SOON_S: Final = 30.0


@pytest.fixture
def bureaus(tmp_path, postgres15, mariadb) -> Iterator[Bureaus]:
    """Five bureaus whose first copies have arrived, and outboxes of a mebibyte each."""
    with Bureaus(tmp_path, postgres15, mariadb, outbox_limit_bytes=LIMIT_BYTES) as made:
        made.system.start()
        made.system.wait_until_listening()
        for kind in KINDS:
            made.all[kind].put((1, "张三", "住址不详"))
        made.arrives(*KINDS)
        yield made


def put(bureaus: Bureaus, kind: str, first: int, mib: float) -> None:
    """About so much that cannot be made smaller."""
    noise = random.Random(first)
    for row in range(first, first + int(mib * MIB / 8192)):
        bureaus.all[kind].put((row, f"李四{row}", noise.randbytes(8192).hex()))


def fill(bureaus: Bureaus) -> None:
    """Let the business work until capture waits: what it has read when the outbox is full, it could still commit."""
    rows = itertools.count(100, 20)

    def works() -> bool:
        put(bureaus, FULL, next(rows), 1 / 8)
        return waits(bureaus)

    eventually(works, True, SOON_S)


def waits(bureaus: Bureaus) -> bool:
    """Whether this stream's capture says that its outbox is full."""
    return "MiB wait for central, the limit is 1" in bureaus.reports()[FULL].sentence


def captured(bureaus: Bureaus) -> dict[str, int]:
    """How far each stream's capture is."""
    return {kind: each.captured_seq for kind, each in bureaus.reports().items() if kind in KINDS}


def test_a_stream_that_central_refuses(bureaus):
    """Two pasts: it stops in DIVERGED with a full outbox; the others move more than any outbox holds; the remedy mends it."""
    bureaus.system.central.stop()
    with closing(sqlite3.connect(bureaus.system.home / "central" / "central.db")) as central, central:
        query = "UPDATE central_streams SET head_digest = zeroblob(32) WHERE stream = ?"
        assert central.execute(query, (f"{NODE}/{FULL}",)).rowcount == 1
    bureaus.system.central.start()
    eventually(lambda: bureaus.states()[FULL], "DIVERGED", SOON_S)
    fill(bureaus)
    assert bureaus.states()[FULL] == "DIVERGED"
    stands_at = captured(bureaus)[FULL]
    for kind in OTHERS:
        put(bureaus, kind, 100, 1.5)
    print("others", bureaus.arrives(*OTHERS, within_s=60))
    eventually(lambda: {bureaus.states()[kind] for kind in OTHERS} <= {"IDLE", "RUNNING"}, True, SOON_S)
    assert waits(bureaus) and captured(bureaus)[FULL] == stands_at

    bureaus.system.central_command("stream", "release", f"{NODE}/{FULL}", "--reason", "演练")
    bureaus.system.agent_command("snapshot", "--all", "--source", FULL)
    print("mended", bureaus.arrives(*KINDS, within_s=60))


def test_a_central_that_is_away(bureaus):
    """BLOCKED_DISK for the one whose outbox is full; the others capture on; with central back everything arrives."""
    bureaus.system.central.kill()
    before = captured(bureaus)
    fill(bureaus)
    assert bureaus.states()[FULL] == "BLOCKED_DISK"
    for number in range(2, 5):
        for kind in OTHERS:
            bureaus.all[kind].put((number, f"王五{number}", "新住址"))
    eventually(lambda: all(captured(bureaus)[kind] > before[kind] for kind in OTHERS), True, SOON_S)
    assert {bureaus.states()[kind] for kind in OTHERS} == {"BACKING_OFF"}

    bureaus.system.central.start()
    print("back", bureaus.arrives(*KINDS, within_s=60))
