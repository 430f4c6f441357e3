"""Heartbeats with the real central: what it asks is done once, if the department allows it; and the local door."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from agent.exchange import Statements, Witness, migrate, open_exchange
from agent.jobs import CertificateWatch, Heart, Jobs
from agent.link import Address, Link
from agent.local import LocalClient, LocalServer, NotRunning
from central import audit
from central.catalogue.gathering import shapes_of
from central.log.checkpoints import mark
from central.store import reading, writing
from central.store.log import CHECKPOINTS
from proto.channel import Identity, TlsFiles
from proto.errors import Credential, ExchangeError, Refused, Transient
from proto.signing import Signer
from proto.states import State
from proto.v1 import desk_pb2, local_pb2, node_pb2
from tests.support.central import TestCentral, eventually
from tests.support.department import NODE

Verb = node_pb2.Command.Verb


class Steered:
    """A node that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def status(self) -> local_pb2.AgentStatus:
        """Its name."""
        return local_pb2.AgentStatus(node=NODE)

    def pause(self, source: str, who: str) -> str:
        """Told to pause."""
        self.told.append(("pause", source, who))
        return f"paused: {source}"

    def resume(self, source: str, who: str) -> str:
        """Told to resume something that is not there."""
        raise Refused(f"there is no source {source}", fix="name one of: hr")

    def snapshot(self, source: str, table: str, who: str) -> str:
        """Told to copy."""
        self.told.append(("snapshot", source, table, who))
        return "copying"

    def reload(self) -> str:
        """Told to reload."""
        self.told.append(("reload",))
        return "nothing changed"

    def describe(self, source: str) -> list[node_pb2.TableShape]:
        """Told to describe; two tables that do not fit into one heartbeat."""
        self.told.append(("describe", source))
        columns = [{"name": f"column_{n}", "kind": "text", "source_type": "x" * 100} for n in range(2000)]
        return [
            node_pb2.TableShape(stream=f"{NODE}/hr", table=table, columns=columns)
            for table in ("person", "house")
        ]

    def quarantine(self, source: str) -> Iterable[local_pb2.QuarantineEntry]:
        """One entry."""
        return [local_pb2.QuarantineEntry(id=7, source=source, table="person", rows=3)]

    def retry(self, source: str, table: str, who: str) -> str:
        """Told to try again."""
        self.told.append(("retry", source, table))
        return "flows again"

    def retry_received(self, grant: str, who: str) -> str:
        """Told to let a grant go on."""
        self.told.append(("retry_received", grant))
        return "goes on"

    def ask(self, request: desk_pb2.DeskRequest) -> desk_pb2.DeskReply:
        """Nobody is asked."""
        raise Refused(f"there is no desk for {request.verb}")

    def verbs(self) -> desk_pb2.VerbsReply:
        """There are none."""
        return desk_pb2.VerbsReply()

    def skip(self, request: local_pb2.SkipQuarantineRequest) -> str:
        """Told to leave out."""
        self.told.append(("skip", request.table, request.who, request.reason))
        return "left out"


@pytest.fixture
def node() -> Steered:
    """A node that remembers what it was told."""
    return Steered()


@pytest.fixture
def link(central: TestCentral, tls: TlsFiles) -> Iterator[Link]:
    """The node's way to central."""
    made = Link(Address(central.target, tls))
    yield made
    made.close()


@pytest.fixture
def heart(link: Link, node: Steered) -> Heart:
    """A heart that may pause, resume and copy on central's word."""
    made = Heart(link, node, "1.2.3", lambda: [node_pb2.StreamReport(stream=f"{NODE}/hr", state="IDLE")])
    made.allowed = frozenset({"pause", "resume", "snapshot"})
    return made


def command(verb: node_pb2.Command.Verb, table: str = "") -> node_pb2.Command:
    """What an operator asks of the stream."""
    return node_pb2.Command(verb=verb, stream=f"{NODE}/hr", table=table)


def test_descriptions_go_with_the_next_heartbeats(heart, node, central):
    """Structure only, as many as fit at a time, once; and only where the department allows it (SD40.2)."""
    central.registry.request_command(NODE, command(Verb.DESCRIBE))
    heart.beat()
    heart.beat()
    assert node.told == [] and central.registry.pending_commands(NODE) == []
    heart.allowed = frozenset({"describe"})
    central.registry.request_command(NODE, command(Verb.DESCRIBE))
    for known in ([], ["person"], ["house", "person"], ["house", "person"]):
        heart.beat()
        with reading(central.engine) as connection:
            assert sorted(table for _, table in shapes_of(connection, [f"{NODE}/hr"])) == known
    assert node.told == [("describe", "hr")]


def test_a_platform_whose_log_goes_back_is_shown(heart, central, tmp_path):
    """Each heartbeat brings the checkpoints since the last; a log that lost some turns the link's state (SD26.2)."""
    engine = open_exchange(f"sqlite:///{tmp_path}/exchange.db", NODE)
    migrate(engine)
    witness = heart.witness = Witness(engine)
    signer = Signer.load(central.folder / "platform.pem", central.folder / "platform.key")
    newest = 0
    for _ in range(3):
        with writing(central.engine) as connection:
            audit.record(connection, audit.REGISTRY, "tried")
        newest = mark(central.engine, signer)
        heart.beat()
        assert witness.newest() == newest
    states = [str(heart.state)]

    with writing(central.engine) as connection:
        connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.n == newest))
    for _ in range(2):
        heart.beat()
        states.append(str(heart.state))
        assert f"went back to checkpoint {newest - 1}" in heart.sentence
    witness.accept("王芳: 恢复备份")
    heart.beat()
    assert [*states, str(heart.state)] == ["RUNNING", "DIVERGED", "DIVERGED", "RUNNING"]
    engine.dispose()


def test_what_central_asks_is_done_once(heart, node, central):
    """Central repeats a command until it heard the outcome; it is done the first time only."""
    central.registry.request_command(NODE, command(Verb.PAUSE), "王芳")
    central.registry.request_command(NODE, command(Verb.SNAPSHOT, "person"))
    for _ in range(3):
        heart.beat()

    assert node.told == [
        ("pause", "hr", "王芳 at the platform"),
        ("snapshot", "hr", "person", "somebody at the platform"),
    ]
    assert central.registry.pending_commands(NODE) == []
    assert heart.state is State.RUNNING
    assert heart.pace_s == central.settings.heartbeat_s


@pytest.mark.parametrize(
    ("verb", "table"),
    [(Verb.RELOAD, ""), (Verb.SNAPSHOT, ""), (Verb.RESUME, "")],
    ids=["not allowed", "every table", "no such source"],
)
def test_what_the_department_does_not_allow_is_refused(heart, node, central, verb, table):
    """Central learns that it was refused and stops asking; nothing happened here."""
    central.registry.request_command(NODE, command(verb, table))
    with capture_logs() as logs:
        heart.beat()
    heart.beat()

    assert node.told == []
    assert [log["event"] for log in logs if "command" in log["event"]] == ["command_refused"]
    assert central.registry.pending_commands(NODE) == []


def test_a_node_that_is_not_admitted_says_so(heart, central):
    """The link has a state like everything else."""
    heart.beat()
    central.registry.revoke(NODE, "test", "left")

    with pytest.raises(Refused):
        heart.beat()
    assert heart.state is State.CREDENTIAL


@pytest.mark.parametrize("refused", [False, True])
def test_reads_that_central_did_not_hear_of_are_kept(link, node, central, tmp_path, refused):
    """Whether it is away or does not admit the node: a restart meanwhile loses no proof (SD23.1)."""
    engine = open_exchange(f"sqlite:///{tmp_path}/exchange.db", NODE)
    migrate(engine)
    table = node_pb2.TableReport(table="人员", state="IDLE", read_us=time.time_ns() // 1000)
    report = node_pb2.StreamReport(stream=f"{NODE}/hr", state="IDLE", tables=[table])
    heart = Heart(link, node, "1.2.3", lambda: [report])
    heart.attestations.memory = Statements(engine)
    if refused:
        central.registry.revoke(NODE, "test", "left")
    else:
        central.stop()
    with pytest.raises(ExchangeError):
        heart.beat()
    assert len(Statements(engine).recall()) == 1
    engine.dispose()


def test_a_central_that_is_away_comes_back(heart, central):
    """The next heartbeat goes over a fresh connection."""
    heart.beat()
    central.stop()
    with pytest.raises(Transient):
        heart.beat()
    assert str(heart.state) == "BACKING_OFF"
    central.start()
    heart.beat()

    assert str(heart.state) == "RUNNING"


def test_a_certificate_is_warned_about_four_times():
    """At 30, 14, 7 and 1 days, once each."""
    end = datetime(2030, 1, 1, tzinfo=UTC)
    watch = CertificateWatch(lambda: Identity("f", "urn:exchange:node:hr", end - timedelta(days=90), end))
    warned = []
    for days in (40, 29, 28, 13, 12, 6.5, 6, 0.9, 0.8):
        with capture_logs() as logs:
            watch.look(end - timedelta(days=days))
        if logs:
            warned.append(days)

    assert warned == [29, 13, 6.5, 0.9]


def test_a_job_that_fails_is_said_once_and_a_bug_is_told(central):
    """Expected failures do not fill the log; what nobody expected reaches the supervisor."""
    bugs: list[str] = []
    count = [0]

    def away() -> None:
        count[0] += 1
        raise Transient("central is away")

    def broken() -> None:
        raise KeyError("nobody thought of this")

    jobs = Jobs(lambda name, error: bugs.append(f"{name} {type(error).__name__}"))
    with capture_logs() as logs:
        jobs.every(0.05, "away", away)
        jobs.every(60, "broken", broken)
        jobs.start()
        eventually(lambda: count[0] > 5 and bugs == ["broken KeyError"])
    jobs.stop()

    assert [log["error"] for log in logs if log["event"] == "job_failed"] == ["TRANSIENT: central is away"]


@pytest.fixture
def door(tmp_path: Path, node: Steered) -> Iterator[Path]:
    """An open socket."""
    path = tmp_path / "run" / "agent.sock"
    server = LocalServer(path, node)
    server.start()
    yield path
    server.stop()


def test_the_door_is_for_its_owner_alone(door, node):
    """Mode 0600, and every call reaches the node."""
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(door.stat().st_mode)
    with LocalClient(door) as agent:
        assert agent.status().node == NODE
        assert agent.pause("hr") == "paused: hr"
        assert agent.quarantine("hr")[0].id == 7
        assert agent.retry("hr", "person") == "flows again"
        agent.skip(local_pb2.SkipQuarantineRequest(table="person", who="王芳", reason="重复"))
        agent.snapshot("hr", "person")
        agent.reload()
        with pytest.raises(Refused, match="there is no source tax") as refused:
            agent.resume("tax")

    assert refused.value.fix == "name one of: hr"
    assert node.told[2] == ("skip", "person", "王芳", "重复")


def test_a_second_door_on_the_same_socket_is_refused(door, node):
    """A living agent keeps its socket; one left over from a crash is taken over."""
    with pytest.raises(Refused, match="another exchange-agent"):
        LocalServer(door, node)


def test_a_socket_left_over_from_a_crash_is_taken_over(tmp_path, node):
    """Nobody answers there, so it is ours."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with LocalClient(path) as agent, pytest.raises(NotRunning):
        agent.status()
    server = LocalServer(path, node)
    server.start()
    with LocalClient(path) as agent:
        assert agent.status().node == NODE
    server.stop()

    assert not path.exists()


def test_a_certificate_that_cannot_be_used_is_named_before_anything_is_sent(central, tls, tmp_path):
    """The key of another certificate would only look like a closed socket to gRPC."""
    other = central.files(central.authority.issue_node(NODE), "other")
    link = Link(Address(central.target, TlsFiles(tls.ca, tls.certificate, other.key)))

    with pytest.raises(Credential, match="does not belong"):
        link.heartbeat(node_pb2.HeartbeatRequest())
