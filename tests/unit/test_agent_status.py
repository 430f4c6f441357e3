"""What the agent says of a stream, from what its workers say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.cli.picture import show
from agent.exchange import Horizon, Sizes
from agent.status import View, report
from agent.worker import Snapshot, now_us
from proto.states import State
from proto.v1 import local_pb2

HOUR_US = 3_600_000_000
WORKER = Snapshot(state=State.RUNNING)
VIEW = View(
    stream="hr-node/hr",
    capture=WORKER,
    push=WORKER,
    sizes=Sizes(5, 5000, now_us(), 0, 0),
    captured_seq=12,
    acknowledged_seq=7,
    acknowledged_us=0,
    tables={},
)


def test_a_stream_that_fills_says_when_it_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    """In the report, which is the heartbeat's and --json's as well, and in the picture (SD12.3)."""
    full = replace(VIEW, horizon=Horizon("exchange disk", now_us() + 31 * HOUR_US + HOUR_US // 2))
    said = report(full)
    assert 31 * HOUR_US < said.full_in_us < 32 * HOUR_US
    assert said.horizon.startswith("exchange disk full in 31 h at the present rate; nothing is dropped")
    show(local_pb2.AgentStatus(node="hr-node", streams=[said]))
    assert said.horizon in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("view", [VIEW, replace(VIEW, acknowledged_seq=12, horizon=Horizon("disk", 1))])
def test_a_stream_that_does_not_fill_says_nothing_of_it(view: View) -> None:
    """Without a horizon, and once nothing waits although the last look still found one."""
    said = report(view)
    assert (said.full_in_us, said.horizon) == (0, "")
