"""What the agent and central say of each other is true at once, however seldom heartbeats are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.console import socket_of
from agent.local import LocalClient
from demo.system import attempt
from tests.support.central import eventually
from tests.support.office import CENTRAL, Office
from tests.support.postgres import Cluster

AT_ONCE_S = 8.0
"""A hundredth of the pace of heartbeats here; the machine may be busy."""


@pytest.fixture
def office(postgres15: Cluster, tmp_path: Path) -> Iterator[Office]:
    """An office whose central wants to hear from it every quarter of an hour."""
    with Office(postgres15, tmp_path) as made:
        made.edit(lambda settings: settings.update(heartbeat_s=900), made.system.central_config)
        made.system.start()
        made.arrives("person", "house")
        yield made


def link_state(office: Office) -> str:
    """What ``status`` says of the link."""
    with LocalClient(socket_of(office.system.agent_config)) as agent:
        return agent.status().link_state


def state_at_central(office: Office) -> str:
    """What the platform's people see."""
    done = attempt(CENTRAL, "status", "--json", "-c", str(office.system.central_config))
    return str(json.loads(done.stdout)["nodes"][0]["streams"][0]["state"])


def test_the_link_is_shown_as_it_is(office):
    """Away and back again, without waiting for the next heartbeat; what changes here is seen there."""
    eventually(lambda: link_state(office), "RUNNING", AT_ONCE_S)
    office.system.central.kill()
    eventually(lambda: link_state(office), "BACKING_OFF", AT_ONCE_S)
    office.system.central.start()
    office.until("IDLE")
    assert link_state(office) == "RUNNING"

    office.do("pause")
    eventually(lambda: state_at_central(office), "PAUSED", AT_ONCE_S)
    office.do("resume")
    eventually(lambda: state_at_central(office) in {"RUNNING", "IDLE"}, True, AT_ONCE_S)
