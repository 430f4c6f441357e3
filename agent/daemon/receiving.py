"""What others share with this node: the thread that receives it, and one for each import of the department's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine

from agent.daemon.lane import Surroundings
from agent.discretion import Discretion
from agent.exchange import Received, Reception
from agent.imports import Importing, Order, Target
from agent.pull import Pull, PullLimits
from agent.settings import ImportSettings, Settings
from agent.status import received_report
from agent.worker import StreamState, run_worker
from proto.errors import Refused
from proto.states import State
from proto.v1 import node_pb2

IMPORT_IDLE_S = 0.5
MOST_TOLD = 2000


def pull_limits(settings: Settings) -> PullLimits:
    """What the settings say about receiving."""
    limits = settings.limits
    return PullLimits(limits.window_batches, limits.window_bytes, settings.central.welcome_timeout_s)


class Receiving:
    """Everything that comes in. Whatever stops here, capture and push go on."""

    def __init__(self, settings: Settings, engine: Engine, around: Surroundings) -> None:
        self.received = Received(engine, settings.node, settings.exchange.store)
        self._around = around
        self._pull = Pull(self.received, around.link, pull_limits(settings))
        self._pull.discretion = Discretion(settings.places, settings.names)
        self._imports = [self._import(each, settings.node) for each in settings.imports]
        self.received.keeps = lambda row: (
            not row.copying and any(each.order.wants(row) for each in self._imports)
        )
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    # Life

    def start(self) -> None:
        """Begin."""
        self._spawn("pull", self._pull.step, self._pull.state, self._pull.close)
        for each in self._imports:
            self._spawn("import", each.step, each.state, each.close)

    def is_alive(self) -> bool:
        """Whether every thread that should run does."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, timeout_s: float) -> bool:
        """End it; what is under way is finished or rolled back. False when it did not end in time."""
        self._stop.set()
        self._pull.stop_waiting()
        for thread in self._threads:
            thread.join(timeout_s)
        ended = not any(thread.is_alive() for thread in self._threads)
        if ended:
            self.received.close()
        return ended

    def change(self, settings: Settings) -> None:
        """Go on under other settings, from the next connection on."""
        self._pull.discretion = Discretion(settings.places, settings.names)
        self._pull.change(pull_limits(settings))

    # What people ask

    def resume(self) -> None:
        """Try again now what was halted."""
        self._pull.resume()
        for each in self._imports:
            each.state.resume()

    def retry(self, grant: str, who: str) -> str:
        """Let a held grant, or an import that stopped, go on."""
        known = self.received.grants().get(grant)
        stopped = [
            each for each in self._imports if grant == each.order.name or (known and each.order.wants(known))
        ]
        held = known is not None and known.held
        if not held and not any(each.state.read().state is State.QUARANTINE for each in stopped):
            what = f"neither grant {grant} nor an import of it is held"
            raise Refused(what, where=self.received.node, fix="exchange-agent received list")
        for each in stopped:
            each.state.try_again()
        if held:
            self._pull.retry(grant, who)
        return f"{grant} goes on; follow it with: exchange-agent received show {grant}"

    @property
    def is_connected(self) -> bool:
        """Whether a call for deliveries is open."""
        return self._pull.is_connected

    @property
    def state(self) -> tuple[str, str, str]:
        """Of the way on which things arrive: state, sentence, and what to do."""
        now = self._pull.state.read()
        return now.state, now.sentence, now.fix

    def standing(self) -> frozenset[tuple[str, State]]:
        """What people should hear of as soon as it changes; asks no database."""
        held = ((row.grant_id, row.state) for row in self.received.grants().values() if row.held)
        return frozenset(held)

    def reports(self) -> list[node_pb2.ReceivedReport]:
        """How each grant is, for the people of this department."""
        pull = self._pull.state.read()
        reports = []
        for row in self.received.grants().values():
            report = received_report(row, pull)
            report.place = _place(row)
            report.imports.extend(self._import_reports(row))
            reports.append(report)
        return reports

    def told(self) -> list[node_pb2.ReceivedReport]:
        """What central hears: not where rows lie or go, nor of what ended, nor more than a heartbeat carries."""
        pull = self._pull.state.read()
        rows = sorted(self.received.grants().values(), key=lambda row: not row.held)
        return [received_report(row, pull) for row in rows if not row.over][:MOST_TOLD]

    def _import_reports(self, row: Reception) -> Sequence[node_pb2.ImportReport]:
        reports = []
        for each in self._imports:
            if each.order.wants(row):
                now, at = each.state.read(), each.at
                mine = at.grant == row.grant_id
                reports.append(
                    node_pb2.ImportReport(
                        name=each.order.name,
                        state=now.state,
                        code=now.code,
                        sentence=now.sentence,
                        fix=now.fix,
                        generation=at.generation if mine else 0,
                        seq=at.seq if mine else 0,
                    )
                )
        return reports

    # Threads

    def _import(self, settings: ImportSettings, node: str) -> Importing:
        def opening() -> Target:
            return Target(settings.url.get_secret_value(), node, settings.room, settings.table)

        return Importing(Order(settings.grant, settings.resource), self.received, opening)

    def _spawn(
        self, name: str, step: Callable[[], bool], state: StreamState, close: Callable[[], None]
    ) -> None:
        def work() -> None:
            structlog.contextvars.bind_contextvars(worker=name)
            try:
                run_worker(name, prepared, self._stop, state, IMPORT_IDLE_S)
                close()
            except BaseException as error:  # noqa: BLE001 - handed to the supervisor, which ends the daemon
                self._around.on_bug(name, error)

        def prepared() -> bool:
            self._around.prepare()
            return step()

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _place(row: Reception) -> str:
    return f"{row.room}.{row.place}" if row.place else ""
