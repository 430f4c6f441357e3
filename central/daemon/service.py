"""Central as a service: database, appliers, server, jobs, in this order; and back.

Every part gets what it needs from its constructor, here and nowhere else. Nothing is lost whenever it dies: stopping
in order only spares the nodes a repeat.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog

from central.appliers import Appliers
from central.apply import Applier
from central.catalogue.describing import ask_everybody
from central.catalogue.drifting import Drifts
from central.catalogue.node_part import NodeParts
from central.counted import settle
from central.daemon.chores import certificate_ends, checkpoint, forget_old, settings_in_force
from central.daemon.disk import Guarded, Room
from central.daemon.office import check_job_of, desk_of, profile_of, signer_of
from central.delivery import Depot, Post
from central.delivery.figures import delivery_status
from central.intake import Intake
from central.jobs import Expiry, Job, Jobs, sparing
from central.log.checkpoints import Checkpoints
from central.log.visitors import Visitors
from central.registry import Registry
from central.rpc.assembly import Budget
from central.rpc.desk import DeskService
from central.rpc.exchange import ExchangeService, Window
from central.rpc.identity import Doorkeeper
from central.rpc.node import NodeService
from central.rpc.pull import Exchange, PullService
from central.rpc.server import Server, Services
from central.rpc.status import StatusService
from central.settings import Settings
from central.sharing.clock import keep_time
from central.sharing.directed import directed_items
from central.status import Board, explain
from central.status.facts import behind
from central.store import migrate, open_store
from central.supervision.clock import keep_dates
from central.supervision.notices import notices
from central.supervision.punctuality import Punctualities
from central.supervision.reads import Reads
from central.supervision.uptime import live
from proto.errors import ExchangeError, Transient
from proto.process import Notifier

DESK_THREADS: Final = 4
"""For admission, heartbeats and status: they must not stand in line behind batches."""
SWEEP_S: Final = 1.0
DATABASE_RETRY_S: Final = 0.5
APPLIERS_STOP_S: Final = 3.0
THREADS_STOP_S: Final = 1.0
JOBS_STOP_S: Final = 5.0
"""Longer than a turn of any of them usually takes; what takes minutes is made of small transactions."""
ALIVE_S: Final = 5.0
PUNCTUALITY_S: Final = 5.0
SHARING_S: Final = 60.0
DRIFT_S: Final = 20.0
CHECKPOINT_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 24 * _HOUR_S
_log = structlog.get_logger()


class Daemon:
    """One central process. Built whole before anything is started; raises what is wrong with the settings."""

    def __init__(self, settings: Settings, notifier: Notifier | None = None) -> None:
        limits = settings.limits
        self._settings = settings
        self._notifier = notifier or Notifier()
        # A copy of a table without a key takes a second connection.
        threads = limits.intake_threads + limits.apply_threads + 2 * limits.delivery_threads + DESK_THREADS
        self._engine = open_store(settings.database.get_secret_value(), threads)
        self._registry = Registry(self._engine)
        self._room = Room.of(settings)
        self._appliers = Appliers(self._applier, limits.apply_threads, limits.handover_bytes)
        # The same after a restart, so that its streams are its own again at once. No two processes share an address.
        self._owner = f"{socket.gethostname()} {settings.listen}"
        self._signer = signer_of(settings)
        post = Post(self._engine, self._signer, profile_of(settings).calendar.zone)
        self._depot = Depot(post, self._appliers.listen, limits.delivery_threads, self._owner)
        self._desk = desk_of(settings, self._engine)
        profile = profile_of(settings)
        self._policy = profile.supervision
        self._reads = Reads(self._engine, self._policy.log_share)
        self._punctualities = Punctualities(self._engine, profile, self._reads)
        binds = profile.catalogue.uncatalogued == "hold"
        self._parts = NodeParts(self._engine, self._signer, binds, directed_items)
        deliveries = partial(delivery_status, self._engine)
        self._board = Board(
            self._engine,
            settings.heartbeat_s,
            self._appliers.trouble,
            (deliveries, partial(notices, self._engine)),
        )
        self._intake_pool = ThreadPoolExecutor(limits.intake_threads, "intake")
        self._desk_pool = ThreadPoolExecutor(DESK_THREADS, "desk")
        self._jobs = Jobs(self._job_list())
        self.port = 0
        """Where it listens, once it does."""

    def run(self, stop: threading.Event) -> bool:
        """Serve until *stop*; True when everything ended in time."""
        try:
            if self._reach_database(stop):
                self._room_look()
                settings_in_force(self._engine, self._settings, profile_of(self._settings))
                self._appliers.start()
                self._depot.start()
                asyncio.run(self._serve(stop))
        finally:
            clean = self._end()
        _log.info("central_stopped", clean=clean)
        return clean

    def _reach_database(self, stop: threading.Event) -> bool:
        """Bring the database up to date, waiting while it is just starting itself; False when stopped meanwhile."""
        told = ""
        while not stop.is_set():
            try:
                migrate(self._engine)
            except Transient as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("database_unreachable", error=told)
                stop.wait(DATABASE_RETRY_S)
            else:
                return True
        return False

    async def _serve(self, stop: threading.Event) -> None:
        closing = asyncio.Event()
        door = Doorkeeper(self._registry, Visitors(self._engine), _runner(self._desk_pool))
        services, settings = self._services(door, closing), self._settings
        server = Server(services, settings.tls.files, settings.listen, settings.reflection)
        self.port = await server.start()
        self._jobs.start()
        _log.info("central_started", listen=settings.listen, port=self.port)
        self._notifier.ready(f"listening on {settings.listen}")
        _call_when_set(stop, asyncio.get_running_loop(), closing)
        try:
            # A loop that meets a bug ends the process, loudly; systemd starts it anew.
            async with asyncio.TaskGroup() as tasks:
                turning = (self._sweep(server), door.patrol(), self._feed_watchdog(), self._look_at_grants())
                loops = [tasks.create_task(each) for each in turning]
                await closing.wait()
                for loop in loops:
                    loop.cancel()
        finally:
            closing.set()
            self._notifier.stopping("letting open calls end")
            await server.stop()

    def _services(self, door: Doorkeeper, closing: asyncio.Event) -> Services:
        desk, limits = _runner(self._desk_pool), self._settings.limits
        certificate = self._signer.certificate_pem if self._signer else b""
        push = ExchangeService(
            door,
            Guarded(Intake(self._engine), self._room),
            self._appliers,
            _runner(self._intake_pool),
            (Window(limits.window_batches, limits.window_bytes), Budget(limits.gathering_bytes), closing),
            self._parts.told_now,
        )
        return Services(
            exchange=Exchange(push, PullService(door, self._depot, desk, certificate, closing)),
            node=NodeService(
                door,
                (self._registry, self._reads, self._parts, self._told, Checkpoints(self._engine)),
                desk,
                self._settings.heartbeat_s,
            ),
            status=StatusService(door, (self._board, self._registry, explain), desk, closing),
            desk=DeskService(door, self._desk, desk),
        )

    async def _sweep(self, server: Server) -> None:
        """Find work that nobody woke us for, count for the rates, and let health say whether the database answers."""
        desk = _runner(self._desk_pool)
        healthy = True
        while True:
            try:
                self._appliers.sweep(await desk(behind, self._engine))
                await desk(self._board.sample)
                works = True
            except ExchangeError as error:
                works = False
                if healthy:
                    _log.warning("database_unreachable", error=str(error))
            if works is not healthy:
                healthy = works
                await server.say(serving=works)
            await asyncio.sleep(SWEEP_S)

    async def _look_at_grants(self) -> None:
        """Tell consumers of new, changed and ended grants, and find what other central processes applied."""
        desk = _runner(self._desk_pool)
        while True:
            # While the database does not answer nothing is delivered either; the sweep says so in the log.
            with suppress(ExchangeError):
                await desk(self._depot.look)
            await asyncio.sleep(SWEEP_S)

    async def _feed_watchdog(self) -> None:
        interval_s = self._notifier.watchdog_interval_s
        while interval_s is not None:
            if self._appliers.alive and self._depot.alive:
                self._notifier.alive()
            await asyncio.sleep(interval_s)

    def _told(self, node: str) -> Sequence[str]:
        return notices(self._engine, node).get(node, ())

    def _applier(self, stream: str) -> Applier:
        return Applier(self._engine, stream, self._owner)

    def _job_list(self) -> tuple[Job, ...]:
        settings = self._settings
        expiry = Expiry(lambda: certificate_ends(settings.tls.certificate, self._registry))
        return (
            Job("disk", self._room_look, 5.0),
            Job("alive", partial(live, self._engine), ALIVE_S, at_start=True),
            Job("punctuality", sparing(self._punctualities.look), PUNCTUALITY_S),
            Job("dates", partial(keep_dates, self._engine, self._policy), _HOUR_S, at_start=True),
            Job("sharing", partial(keep_time, self._engine, profile_of(settings)), SHARING_S, at_start=True),
            Job("refusals", partial(settle, self._engine), 30.0),
            Job(
                "retention",
                partial(forget_old, self._engine, settings.ledger.keep_days, settings.ledger.held_days),
                _HOUR_S,
            ),
            Job("certificates", expiry.check, _HOUR_S, at_start=True),
            Job("shapes", partial(ask_everybody, self._engine), _DAY_S),
            Job("drift", Drifts(self._engine, profile_of(settings)).look, DRIFT_S),
            Job("catalogue check", check_job_of(settings, self._engine).run, _DAY_S),
            Job("checkpoint", partial(checkpoint, self._engine, self._signer), CHECKPOINT_S, at_start=True),
        )

    def _room_look(self) -> None:
        try:
            self._room.look()
        except ExchangeError as error:
            # Intake refuses by itself from now on; this line is for the log of the platform.
            _log.warning("disk_nearly_full", error=str(error))

    def _end(self) -> bool:
        clean = self._depot.stop(APPLIERS_STOP_S)
        clean = self._appliers.stop(APPLIERS_STOP_S) and clean
        clean = self._jobs.stop(JOBS_STOP_S) and clean
        for pool in (self._intake_pool, self._desk_pool):
            pool.shutdown(wait=False, cancel_futures=True)
        clean = _threads_ended(("intake", "desk"), THREADS_STOP_S) and clean
        self._engine.dispose()
        return clean


def _runner(pool: ThreadPoolExecutor) -> Callable[..., Awaitable[Any]]:
    async def run(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)

    return run


def _call_when_set(stop: threading.Event, loop: asyncio.AbstractEventLoop, closing: asyncio.Event) -> None:
    def wait() -> None:
        stop.wait()
        if not loop.is_closed():
            loop.call_soon_threadsafe(closing.set)

    threading.Thread(target=wait, name="stop", daemon=True).start()


def _threads_ended(prefixes: tuple[str, ...], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    ours = [thread for thread in threading.enumerate() if thread.name.startswith(prefixes)]
    for thread in ours:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in ours)
