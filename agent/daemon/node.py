"""A node: its lanes, its link to central, its clock and its local door, put together and steered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import make_url

from agent.daemon.catalogue import Catalogue
from agent.daemon.lane import Lane, Surroundings
from agent.daemon.receiving import Receiving
from agent.discretion import Discretion
from agent.exchange import Ballast, Catalogued, Exchange, Statements, Witness, migrate, open_exchange
from agent.jobs import CONNECTED, CertificateWatch, Heart, Jobs
from agent.link import Address, Link
from agent.local import LocalServer
from agent.reload import plan
from agent.settings import Settings
from agent.worker import Backoff
from proto.errors import Halt, Refused, Transient
from proto.process import load_settings, set_level
from proto.states import State
from proto.v1 import desk_pb2, local_pb2, node_pb2

HEARTBEAT: Final = "heartbeat"
CATALOGUE: Final = "catalogue"
NOTICE_EVERY_S: Final = 0.5
PRUNE_EVERY_S: Final = 60.0
WATCH_EVERY_S: Final = 15.0
BALLAST_EVERY_S: Final = 15.0
CERTIFICATE_EVERY_S: Final = 3600.0
CATALOGUE_EVERY_S: Final = 60.0
"""When a part that could not be kept is tried again; another one is fetched as soon as a heartbeat tells of it."""
CAPTURE_STOP_S: Final = 5.5
PUSH_STOP_S: Final = 3.8
"""Together below the ten seconds within which a stop is done (C2)."""

_log = structlog.get_logger()


def version_of_us() -> str:
    """The version that is installed."""
    try:
        return version("exchange-node")
    except PackageNotFoundError:
        return "unknown"


class Node:
    """What runs on a department's server. *on_bug* hears of a worker that died of something nobody expected."""

    def __init__(self, path: Path, settings: Settings, on_bug: Callable[[str, BaseException], None]) -> None:
        self.settings = settings
        self._path = path
        self._started_us = time.time_ns() // 1000
        self._engine = open_exchange(settings.exchange.url.get_secret_value(), settings.node)
        self._prepared = threading.Event()
        self._preparing, self._reloading = threading.Lock(), threading.Lock()
        central = settings.central
        self._link = Link(Address(central.address, central.files, central.server_name, central.keepalive_s))
        self._catalogue = Catalogue(
            self._link, Catalogued(self._engine, settings.node), settings.node, central.ca
        )
        around = Surroundings(self._link, self._prepare, on_bug, self._catalogue)
        self._lanes = {
            source.name: Lane(
                settings,
                source,
                Exchange(self._engine, settings.stream(source.name), settings.exchange.store),
                around,
            )
            for source in settings.sources
        }
        self._receiving = Receiving(settings, self._engine, around)
        self._room = self._receiving.received.room
        self._ballast = Ballast(self._engine, self._room)
        for room in (self._room, *(lane.exchange.room for lane in self._lanes.values())):
            room.when_full = self._ballast.drop
        self._heart = Heart(self._link, self, version_of_us(), self.reports)
        self._heart.received = self._receiving.told
        self._heart.witness = Witness(self._engine)
        self._heart.attestations.memory = Statements(self._engine)
        self._tell_heart(settings)
        self._heart.catalogue = self._catalogue
        self._jobs = Jobs(on_bug)
        self._catalogue.fetch_soon = lambda: self._jobs.soon(CATALOGUE)
        self._catalogue.changed = self._rebind
        self._pace_s = float(central.heartbeat_s)
        self._beating, self._told = False, self._standing()
        self._again = Backoff()
        self._door = LocalServer(settings.socket, self)

    # Life

    def start(self) -> None:
        """Begin everything. Raises Refused when the exchange database or the socket is not for us."""
        try:
            self._prepare()
        except (Transient, Halt) as error:
            # The workers try again by themselves, and say so where people look.
            _log.warning("exchange_not_ready", error=str(error))
        self._door.start()
        for lane in self._lanes.values():
            lane.start()
        self._receiving.start()
        self._keep_time()
        self._jobs.start()

    def is_alive(self) -> bool:
        """Whether every worker's thread runs."""
        return self._receiving.is_alive() and all(lane.is_alive() for lane in self._lanes.values())

    def stop(self) -> bool:
        """End everything in order; False when something did not end in time. Safe either way."""
        self._jobs.stop()
        first = [self._receiving.stop, *(lane.stop_capture for lane in self._lanes.values())]
        ended = _all_end(first, CAPTURE_STOP_S)
        ended &= _all_end([lane.stop_push for lane in self._lanes.values()], PUSH_STOP_S)
        self._door.stop()
        self._link.close()
        if ended:
            self._engine.dispose()
        return ended

    # What people ask (agent.local.Control), and central as far as it is allowed (agent.jobs.Steering)

    def status(self) -> local_pb2.AgentStatus:
        """Everything worth knowing now."""
        link = (self._heart.state, self._heart.sentence)
        connected = self._receiving.is_connected or any(lane.is_connected for lane in self._lanes.values())
        if link[0] is State.BACKING_OFF and connected:
            # An open session knows better than a heartbeat that failed before it.
            link = CONNECTED
        pull_state, pull_sentence, pull_fix = self._receiving.state
        catalogue_state, catalogue_sentence, catalogue_fix = self._catalogue.standing
        kept = [f"{lane.name}: {lane.kept_back}" for lane in self._lanes.values() if lane.kept_back]
        return local_pb2.AgentStatus(
            node=self.settings.node,
            version=version_of_us(),
            started_us=self._started_us,
            central=self.settings.central.address,
            link_state=link[0],
            link_sentence=link[1],
            exchange=_place(self.settings),
            free_disk_bytes=self._room.free_bytes() or 0,
            streams=self.reports(),
            received=self._receiving.reports(),
            pull_state=pull_state,
            pull_sentence=pull_sentence,
            pull_fix=pull_fix,
            notices=self._heart.notices,
            release=self._catalogue.release,
            catalogue_state=catalogue_state,
            catalogue_sentence="; ".join([catalogue_sentence, *(f"kept back of {each}" for each in kept)]),
            catalogue_fix=catalogue_fix,
        )

    def reports(self) -> Sequence[node_pb2.StreamReport]:
        """How each stream is."""
        return [lane.report() for lane in self._lanes.values()]

    def pause(self, source: str, who: str) -> str:
        """Stop one source, or all."""
        return self._each(source, lambda lane: lane.pause(who), "paused")

    def resume(self, source: str, who: str) -> str:
        """Let one source, or all and what is received, go on."""
        if not source:
            self._receiving.resume()
        return self._each(source, lambda lane: lane.resume(who), "resumed")

    def snapshot(self, source: str, table: str, who: str) -> str:
        """Copy a table, or all tables of a source, afresh."""
        lane = self._lane(source)
        lane.order_copy(table, who)
        then = (
            f"once it goes on: exchange-agent resume {lane.name}"
            if lane.is_paused
            else "follow it with status"
        )
        return f"{table or 'every table'} of {lane.name} will be copied afresh; {then}"

    def describe(self, source: str) -> Sequence[node_pb2.TableShape]:
        """How the tables of one source, or all, are now; nothing outside the settings is looked at (SD40.2)."""
        return [shape for lane in self._meant(source) for shape in lane.describe()]

    def reload(self) -> str:
        """Read the settings file again: all of it is checked, then what may change while running does (P9)."""
        with self._reloading:
            new = load_settings(self._path, Settings)
            decided = plan(self.settings, new)
            self._apply(decided.settings)
            _log.info("settings_reloaded", applied=decided.applied, refused=decided.refused)
            return decided.sentence

    def quarantine(self, source: str) -> Iterable[local_pb2.QuarantineEntry]:
        """What is held back."""
        return [
            local_pb2.QuarantineEntry(
                id=entry.id,
                source=lane.name,
                table=entry.table,
                code=entry.code,
                what=entry.what,
                fix=entry.fix,
                rows=entry.rows,
                since_us=entry.since_us,
                position=entry.position,
            )
            for lane in self._meant(source)
            for entry in lane.exchange.quarantine()
        ]

    def retry(self, source: str, table: str, who: str) -> str:
        """Apply a table's held changes again."""
        self._lane(source).retry(table, who)
        return f"{table} flows again"

    def skip(self, request: local_pb2.SkipQuarantineRequest) -> str:
        """Leave one held entry out for good."""
        if not request.who or not request.reason.strip():
            raise Refused("leaving changes out needs a name and a reason", fix="add --reason")
        lane = self._lane(request.source)
        lane.exchange.skip(request.table, request.id, request.who, request.reason)
        return f"entry {request.id} of {request.table} is left out, on record"

    def retry_received(self, grant: str, who: str) -> str:
        """Let a held grant, or an import of it, go on."""
        return self._receiving.retry(grant, who)

    def ask(self, request: desk_pb2.DeskRequest) -> desk_pb2.DeskReply:
        """What a person of the department decides, or a system asks, at central's desk, through this node's identity."""
        return self._link.do(request)

    def verbs(self) -> desk_pb2.VerbsReply:
        """What can be done there."""
        return self._link.verbs()

    # Inside

    def _prepare(self) -> None:
        """Bring the exchange database up to date, once, and know what it keeps of the catalogue."""
        with self._preparing:
            if not self._prepared.is_set():
                migrate(self._engine)
                self._prepared.set()
            self._catalogue.recall()

    def _keep_time(self) -> None:
        self._jobs.every(self._pace_s, HEARTBEAT, self._beat)
        self._jobs.every(NOTICE_EVERY_S, "notice", self._notice, at_once=False)
        fetch = self._once_prepared(self._catalogue.fetch)
        self._jobs.every(CATALOGUE_EVERY_S, CATALOGUE, fetch, at_once=False)
        self._jobs.every(BALLAST_EVERY_S, "ballast", self._ballast.keep)
        self._jobs.every(CERTIFICATE_EVERY_S, "certificate", CertificateWatch(self._link.identity).look)
        for lane in self._lanes.values():
            self._jobs.every(PRUNE_EVERY_S, f"retention {lane.name}", self._once_prepared(lane.prune))
            self._jobs.every(WATCH_EVERY_S, f"room {lane.name}", self._once_prepared(lane.watch_room))
            self._jobs.every(WATCH_EVERY_S, f"source {lane.name}", self._once_prepared(lane.watch_source))

    def _once_prepared(self, job: Callable[[], None]) -> Callable[[], None]:
        return lambda: job() if self._prepared.is_set() else None

    def _rebind(self) -> None:
        for lane in self._lanes.values():
            lane.rebind()

    def _apply(self, settings: Settings) -> None:
        for source in settings.sources:
            self._lanes[source.name].change(settings, source)
        self._receiving.change(settings)
        set_level(settings.log_level)
        self._tell_heart(settings)
        changed = settings.central.heartbeat_s != self.settings.central.heartbeat_s
        self.settings = settings
        if changed:
            self._pace_s = float(settings.central.heartbeat_s)
            self._jobs.every(self._pace_s, HEARTBEAT, self._beat)

    def _tell_heart(self, settings: Settings) -> None:
        self._heart.allowed = frozenset(settings.allow_commands)
        self._heart.discretion = Discretion(settings.places, settings.names)

    def _beat(self) -> None:
        """A heartbeat, and from then on at the pace that central asked for; tried again sooner after a failure."""
        self._beating, self._told = True, self._standing()
        try:
            self._heart.beat()
        except Transient:
            self._jobs.soon(HEARTBEAT, min(self._again.after_failure(), self._pace_s))
            raise
        finally:
            self._beating = False
        self._again.reset()
        if self._heart.pace_s and self._heart.pace_s != self._pace_s:
            self._pace_s = self._heart.pace_s
            self._jobs.every(self._pace_s, HEARTBEAT, self._beat, at_once=False)

    def _standing(self) -> list[object]:
        return [self._receiving.standing(), *(lane.standing() for lane in self._lanes.values())]

    def _notice(self) -> None:
        """What changed for the worse or the better is told at once, and so is the state of the link."""
        if not self._beating and self._standing() != self._told:
            self._jobs.soon(HEARTBEAT)

    def _each(self, source: str, act: Callable[[Lane], None], word: str) -> str:
        lanes = self._meant(source)
        for lane in lanes:
            act(lane)
        return f"{word}: {', '.join(lane.name for lane in lanes)}"

    def _meant(self, source: str) -> list[Lane]:
        return [self._lane(source)] if source else list(self._lanes.values())

    def _lane(self, source: str) -> Lane:
        if not source and len(self._lanes) == 1:
            return next(iter(self._lanes.values()))
        lane = self._lanes.get(source)
        if lane is None:
            several = not source and self._lanes
            what = "there are several sources" if several else f"there is no source {source}".rstrip()
            raise Refused(what, where=self.settings.node, fix=f"name one of: {', '.join(self._lanes)}")
        return lane


def _all_end(stops: Sequence[Callable[[float], bool]], timeout_s: float) -> bool:
    """Stop all at the same time, so that the slowest decides how long it takes."""
    results: list[bool] = []
    threads = [threading.Thread(target=lambda stop=stop: results.append(stop(timeout_s))) for stop in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(results) == len(stops) and all(results)


def _place(settings: Settings) -> str:
    url = make_url(settings.exchange.url.get_secret_value())
    return f"{url.get_backend_name()} {url.host or ''}{'/' if url.host else ''}{url.database or ''}"
