"""Servers that take a call and never say a word: seen within seconds, in nobody's way, and no reason to stop slowly."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.local import LocalClient, NotRunning
from agent.worker import StreamState
from demo.system import System
from proto.errors import Transient
from proto.states import State
from proto.v1 import node_pb2
from tests.support.central import eventually
from tests.support.dropfolders import DropfolderRig

pytestmark = pytest.mark.timeout(120)
SOON_S = 12.0
"""Less than any of these drivers waits for a login."""
STOP_S = 10.0


def persons(**more: object) -> list[dict[str, object]]:
    """Made anew each time: a settings file takes no aliases."""
    return [{"table": "person", **more}]


def sections(port: int) -> dict[str, dict[str, Any]]:
    """A source of every kind and driver at a server on this port."""
    at = f"u@127.0.0.1:{port}/d"
    odbc = f"Server=127.0.0.1;Port={port};Database=d;Uid=u"
    found = {
        "postgresql": {"kind": "postgresql", "dsn": f"postgresql://{at}"},
        "mysql": {"kind": "mysql", "dsn": f"mysql://{at}"},
        "journal-postgresql": {"kind": "journal", "url": f"postgresql://{at}"},
        "journal-mysql": {"kind": "journal", "url": f"mysql://{at}"},
        "polling-postgresql": {"kind": "polling", "url": f"postgresql://{at}"},
        "polling-mysql": {"kind": "polling", "url": f"mysql://{at}"},
        "odbc-postgresql": {"kind": "polling", "odbc": f"Driver=PostgreSQL Unicode;{odbc}"},
        "odbc-mysql": {"kind": "polling", "odbc": f"Driver=MariaDB Unicode;{odbc}"},
    }
    polled = {name: persons(watermark="id") for name, each in found.items() if each["kind"] == "polling"}
    return {name: {**each, "tables": polled.get(name) or persons()} for name, each in found.items()}


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server whose kernel takes calls that nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door.getsockname()[1]


def reports(system: System) -> dict[str, node_pb2.StreamReport]:
    """What the agent says of each source; nothing before it listens."""
    with suppress(NotRunning), LocalClient(system.socket_path) as agent:
        return {each.stream.rpartition("/")[2]: each for each in agent.status().streams}
    return {}


def waiting_for(system: System) -> set[str]:
    """The sources that say that they are being opened."""
    return {name for name, each in reports(system).items() if "opening the source for" in each.sentence}


def at_central(system: System) -> dict[str, str]:
    """The state of each source as the platform knows it."""
    (node,) = json.loads(system.central_command("status", "--json"))["nodes"]
    return {each["stream"].rpartition("/")[2]: each["state"] for each in node["streams"]}


def test_a_server_that_never_answers_is_seen_and_stops_nobody(tmp_path: Path, mute: int) -> None:
    """Each kind and driver says so within seconds, a folder beside them is shared, and a stop takes ten seconds."""
    rig = DropfolderRig(tmp_path / "投放", 100)
    rules = [{"name": "id", "kind": "int32"}, {"name": "name", "header": "姓名"}, {"name": "note"}]
    person = {"table": "person", "files": "person-*.csv", "mode": "delta", "rules": rules, "key": ["id"]}
    good = {"kind": "dropfolder", "folder": str(rig.folder), "settle_s": 0, "scan_every_s": 0.1}
    good |= {"tables": [{**person, "operation": {"header": "操作"}}]}
    named = [{"name": name, **each} for name, each in {**sections(mute), "good": good}.items()]
    system = System(tmp_path / "system", "", [], agent_settings={"sources": named})
    system.prepare()
    try:
        system.central.start()
        system.wait_until_listening()
        system.agent.start()
        ill = dict.fromkeys(sections(mute), State.BACKING_OFF.value)
        eventually(lambda: {n: each.state for n, each in reports(system).items() if n != "good"}, ill, SOON_S)
        # A new node reads nothing before the platform was heard once, and says so until then.
        eventually(lambda: waiting_for(system), set(ill), SOON_S)
        with rig.transaction() as writer:
            writer.put("person", (1, "张三", "住址"))
        eventually(lambda: reports(system)["good"].state, "IDLE", SOON_S)
        eventually(lambda: at_central(system), {**ill, "good": "IDLE"}, SOON_S)

        begun_s = time.monotonic()
        assert system.agent.stop() == 0
        assert time.monotonic() - begun_s < STOP_S
    except BaseException:
        print(system.agent.tail(40))
        raise
    finally:
        system.agent.kill()
        system.central.kill()


def test_an_earlier_reason_says_more_than_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed call keeps its sentence while the next one is on its way; an answer ends the impatience."""
    state = StreamState("n/s")
    state.set(State.IDLE)
    with state.asking("connecting", "look"):
        assert state.read().state is State.IDLE
        monkeypatch.setattr("agent.worker.PATIENCE_S", 0)
        said = state.read()
        assert (said.state, said.fix) == (State.BACKING_OFF, "look") and "connecting for" in said.sentence
    assert state.read().state is State.IDLE

    state.set(State.BACKING_OFF, Transient("refused").what)
    with state.asking("connecting", "look"):
        assert state.read().sentence == "refused"
