"""What happens by the clock: heartbeats, retention, and watching certificates, disks and what the source keeps for us.

The only file that knows apscheduler. A job that meets an expected failure says so in its state and runs again at its
time; a bug in a job ends the daemon like a bug anywhere else.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from agent.attestations import Attestations
from agent.discretion import Discretion
from agent.link import Link
from proto.channel import Identity
from proto.errors import Credential, Diverged, ExchangeError, Refused
from proto.states import State
from proto.v1 import node_pb2

WARN_DAYS: Final = (30, 14, 7, 1)
VERBS: Final = {
    node_pb2.Command.PAUSE: "pause",
    node_pb2.Command.RESUME: "resume",
    node_pb2.Command.SNAPSHOT: "snapshot",
    node_pb2.Command.RELOAD: "reload",
    node_pb2.Command.DESCRIBE: "describe",
}
REMEMBERED_COMMANDS: Final = 1000
SHAPES_BYTES: Final = 256 * 1024
"""Of descriptions in one heartbeat."""
SLOWEST_PACE_S: Final = 3600
CONNECTED: Final = (State.RUNNING, "connected to central")

_log = structlog.get_logger()


class Threads(BaseExecutor):  # type: ignore[misc]
    """Every run has a thread of its own, because a business database may never answer.

    A pool of some would be full of such runs one day, and the heartbeat would wait behind them; and a pool's threads
    are waited for when the process ends (C2), these are not.
    """

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        thread = threading.Thread(target=self._run, args=(job, run_times), name=job.id, daemon=True)
        thread.start()

    def _run(self, job: Job, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException as error:  # noqa: BLE001 — the scheduler's own fault, and told by it
            self._run_job_error(job.id, error, error.__traceback__)
        else:
            self._run_job_success(job.id, events)


class Jobs:
    """Runs what it is given at its time, never twice at once; *on_bug* hears of what nobody expected."""

    def __init__(self, on_bug: Callable[[str, BaseException], None]) -> None:
        self._on_bug = on_bug
        self._said: dict[str, str] = {}
        self._scheduler = BackgroundScheduler(
            executors={"default": Threads()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    def every(self, seconds: float, name: str, job: Callable[[], None], *, at_once: bool = True) -> None:
        """Run *job* every so many seconds; a second call with the same name changes the pace."""
        now = datetime.now(UTC)
        self._scheduler.add_job(
            self._run,
            "interval",
            args=(name, job),
            id=name,
            name=name,
            seconds=seconds,
            next_run_time=now if at_once else now + timedelta(seconds=seconds),
            replace_existing=True,
        )

    def soon(self, name: str, delay_s: float = 0.0) -> None:
        """Let a job's next turn come earlier, once."""
        try:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=delay_s))
        except JobLookupError:
            # While we stop there are no turns any more, and a job that fails just then asks for none.
            if self._scheduler.running:
                raise

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def stop(self) -> None:
        """Begin nothing more; what runs may finish by itself."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _run(self, name: str, job: Callable[[], None]) -> None:
        try:
            job()
            self._said.pop(name, None)
        except ExchangeError as error:
            # Said once, not every ten seconds until somebody comes.
            if self._said.get(name) != str(error):
                self._said[name] = str(error)
                _log.warning("job_failed", job=name, code=error.code, error=str(error))
        except BaseException as error:  # noqa: BLE001 - handed to the supervisor, which ends the daemon
            self._on_bug(name, error)


class Steering(Protocol):
    """What central may ask of this node, as far as the department allows it."""

    def pause(self, source: str, who: str) -> str:
        """Stop one source."""
        ...

    def resume(self, source: str, who: str) -> str:
        """Let it go on."""
        ...

    def snapshot(self, source: str, table: str, who: str) -> str:
        """Copy a table afresh."""
        ...

    def reload(self) -> str:
        """Read the settings file again."""
        ...

    def describe(self, source: str) -> Sequence[node_pb2.TableShape]:
        """How the tables of one source, or all, are now: structure only."""
        ...


class Hearer(Protocol):
    """Whoever goes by the catalogue's releases."""

    @property
    def release(self) -> int:
        """The one that is gone by; 0 = none."""
        ...

    def heard(self, release: int, digest: str) -> None:
        """The newest at central, and the digest of this node's part of it."""
        ...


class Witness(Protocol):
    """Where checkpoints of the platform's log are kept."""

    def newest(self) -> int:
        """The number of the newest one that is held; 0 = none."""
        ...

    def take(self, found: Sequence[node_pb2.SignedCheckpoint], authorities: bytes) -> None:
        """Keep what follows; raises Diverged when the platform contradicts what is held."""
        ...


class Heart:
    """The sign of life: tells central how the streams are, and does what central asks if the department allows it."""

    def __init__(
        self,
        link: Link,
        node: Steering,
        version: str,
        reports: Callable[[], Sequence[node_pb2.StreamReport]],
    ) -> None:
        self._link, self._node, self._version, self._reports = link, node, version, reports
        self.attestations = Attestations(link.signer)
        """What is said of the streams' reads."""
        self._done: list[int] = []
        self._refused: list[int] = []
        self._obeyed: dict[int, bool] = {}
        self._shapes: dict[tuple[str, str], node_pb2.TableShape] = {}
        self.allowed: frozenset[str] = frozenset()
        """Words of :data:`VERBS` that central may say; the department's settings decide."""
        self.received: Callable[[], Sequence[node_pb2.ReceivedReport]] = tuple
        """How each grant of other departments is here."""
        self.catalogue: Hearer | None = None
        """Who hears of the catalogue's releases."""
        self.discretion = Discretion(())
        """What of all that central is not to know."""
        self.witness: Witness | None = None
        """Holds the platform to its log."""
        self._contradiction = ""
        self.state, self.sentence = State.BACKING_OFF, "not yet connected to central"
        self.notices: Sequence[str] = ()
        """What the platform told the department of its being late."""
        self.pace_s = 0.0
        """How often central wants to hear from us; 0 = it has not said."""

    def beat(self) -> None:
        """One heartbeat. Raises what kept it from central, after saying so in :attr:`state`."""
        reports, told = self._reports(), self._next_shapes()
        held = self._held()
        with _unless_away():
            self.attestations.recall()
        self.attestations.gather(reports)
        try:
            request = node_pb2.HeartbeatRequest(
                version=self._version,
                clock_us=time.time_ns() // 1000,
                streams=reports,
                done_commands=self._done,
                refused_commands=self._refused,
                attestations=self.attestations.next(),
                shapes=list(told.values()),
                received=self.received(),
                release=self.catalogue.release if self.catalogue else 0,
                checkpoint=held or 0,
            )
            self.discretion.keep(request)
            reply = self._link.heartbeat(request)
        except ExchangeError as error:
            refused = isinstance(error, Credential | Refused)
            self.state, self.sentence = State.CREDENTIAL if refused else State.BACKING_OFF, str(error)
            with _unless_away():
                self.attestations.keep()
            raise
        self.state, self.sentence = CONNECTED
        # Central has heard of these now; what it still sends was asked since.
        self._done, self._refused = [], []
        with _unless_away():
            self.attestations.heard(len(request.attestations))
        self._shapes = {place: shape for place, shape in self._shapes.items() if place not in told}
        self.pace_s = float(min(reply.next_s, SLOWEST_PACE_S))
        self.attestations.hurry(reply.prove_s)
        self.notices = tuple(reply.notices)
        if self.catalogue is not None:
            self.catalogue.heard(reply.release, reply.part)
        self._obey(reply.commands)
        if held is not None:
            self._witness(reply.checkpoints)

    def _held(self) -> int | None:
        """None while that cannot be read: then nothing new is taken either."""
        try:
            return self.witness.newest() if self.witness else None
        except ExchangeError:
            return None

    def _witness(self, found: Sequence[node_pb2.SignedCheckpoint]) -> None:
        """Data flow on whatever is found: it is for people to ask the platform."""
        try:
            if self.witness and found:
                self.witness.take(found, self._link.authorities())
                self._contradiction = ""
        except (Diverged, Refused) as error:
            if self._contradiction != str(error):
                _log.error("platform_log_diverged", error=str(error))
            self._contradiction = str(error)
        except ExchangeError as error:
            _log.warning("checkpoint_not_kept", error=str(error))
        if self._contradiction:
            self.state, self.sentence = State.DIVERGED, self._contradiction

    def _next_shapes(self) -> dict[tuple[str, str], node_pb2.TableShape]:
        """As many descriptions as fit into one heartbeat; the others go with the next."""
        told: dict[tuple[str, str], node_pb2.TableShape] = {}
        size = 0
        for place, shape in self._shapes.items():
            size += shape.ByteSize()
            if told and size > SHAPES_BYTES:
                break
            told[place] = shape
        return told

    def _obey(self, commands: Iterable[node_pb2.Command]) -> None:
        for command in commands:
            # Central repeats a command until it heard the outcome; it must not be done twice.
            if command.id not in self._obeyed:
                self._obeyed[command.id] = self._carry_out(command)
                while len(self._obeyed) > REMEMBERED_COMMANDS:
                    del self._obeyed[next(iter(self._obeyed))]
            (self._done if self._obeyed[command.id] else self._refused).append(command.id)

    def _carry_out(self, command: node_pb2.Command) -> bool:
        verb = VERBS.get(command.verb, "")
        source = command.stream.rpartition("/")[2]
        if verb not in self.allowed:
            _log.warning(
                "command_refused", command=command.id, verb=verb or command.verb, reason="not allowed here"
            )
            return False
        try:
            sentence = self._act(verb, source, command)
        except ExchangeError as error:
            _log.warning("command_refused", command=command.id, verb=verb, reason=str(error))
            return False
        _log.info("command_done", command=command.id, verb=verb, source=source, sentence=sentence)
        return True

    def _act(self, verb: str, source: str, command: node_pb2.Command) -> str:
        who = f"{command.who or 'somebody'} at the platform"
        match verb:
            case "pause":
                return self._node.pause(source, who)
            case "resume":
                return self._node.resume(source, who)
            case "snapshot" if not command.table:
                raise Refused("a copy of every table is the department's to order")
            case "snapshot":
                return self._node.snapshot(source, command.table, who)
            case "describe":
                shapes = self._node.describe(source)
                self._shapes |= {(shape.stream, shape.table): shape for shape in shapes}
                return f"{len(shapes)} tables described"
            case _:
                return self._node.reload()


def _unless_away() -> contextlib.suppress:
    """The workers meet the same trouble of the exchange database and say so; what waits is in memory until then."""
    return contextlib.suppress(ExchangeError)


class CertificateWatch:
    """Warns 30, 14, 7 and 1 days before the certificate ends, once each, and every time after that."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity
        self._warned: tuple[str, int] = ("", 0)

    def look(self, now: datetime | None = None) -> None:
        """Warn if it is time to; raises Credential when the certificate cannot be used any more."""
        identity = self._identity()
        left = (identity.not_after - (now or datetime.now(UTC))).total_seconds() / 86400
        due = min((days for days in WARN_DAYS if left <= days), default=0)
        if due and (identity.not_after.isoformat(), due) != self._warned:
            self._warned = (identity.not_after.isoformat(), due)
            _log.warning(
                "certificate_expires_soon", days_left=round(left, 1), not_after=identity.not_after.isoformat()
            )
