"""The acts of the demonstration: a bureau's database, a node and a central, a first copy, a day's work, a kill, a proof."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any, Final

from agent.local import LocalClient
from agent.local.client import NotRunning
from demo.books import Books, Equality, against, place
from demo.bureaus.bureau import Bureau, Looking, Work
from demo.second import SecondAct
from demo.show import Flow, Show
from demo.system import SOURCE, CommandFailed, System, attempt, command
from demo.work import DayAtWork
from proto.v1.node_pb2 import StreamReport, TableReport

COPY_TIMEOUT_S: Final = 120.0
LOOK_S: Final = 0.25
KILL_AT_S, RESTART_AT_S, FLOW_S = 4.0, 6.5, 12.0
CATCH_UP_S: Final = 30.0


NewBureau = Callable[[Path, str, Path], Bureau]
"""Makes a bureau from a folder, the account's password and the file it will stand in."""


class Demonstration:
    """Plays the acts one after another; :meth:`close` ends every process it started."""

    def __init__(self, home: Path, show: Show, new_bureau: NewBureau) -> None:
        self._show = show
        self._home = home
        self._password = secrets.token_urlsafe(12)
        self.bureau = new_bureau(home, self._password, home / "nodes" / "capture.password")
        source = self.bureau.source
        self.system = System(home / "nodes", "", source["tables"], source_settings=source)
        self.second = SecondAct(self.system, self.bureau, show)
        self.transactions = 0
        self.kills = 0
        self._last = StreamReport()

    def play(self) -> bool:
        """Both acts; whether every side has in the end what it should have, and nothing else."""
        self._show.title()
        self._bureau()
        self._nodes()
        self._check()
        self._first_copy()
        with closing(self.bureau.working()) as working:
            self._day(working)
            equal = self._proof()
            self._show.verdict(equal, self.transactions, self.bureau.unit, self.kills)
            return self.second.play(working) and equal

    def where(self) -> None:
        """Everything a person needs to look around while it all keeps running."""
        config, system = self.system.agent_config, self.system
        self._show.step("一切仍在运行", "Everything keeps running")
        self._show.fact("业务 business", self.bureau.place())
        self._show.fact("交换 exchange", place(system.exchange_database))
        self._show.fact("中心 central", place(system.central_database))
        self._show.fact("配置 settings", f"{config}\n{system.central_config}")
        self._show.fact("日志 logs", f"{system.agent.log}\n{system.central.log}")
        self._show.fact("agent", f"{command('exchange-agent')} status --watch -c {config}")
        self._show.fact("central", f"{command('exchange-central')} status --watch -c {system.central_config}")
        self.second.where()
        self._show.fact("pid", f"agent {system.agent.pid}, central {system.central.pid}")
        self._show.say("按 Ctrl-C 停止并清理。", "Press Ctrl-C to stop and clean up.", style="bold")

    def close(self) -> None:
        """End everything that runs."""
        self.second.close()
        for daemon in (self.system.agent, self.system.central):
            if daemon.running:
                daemon.stop()
        self.bureau.close()

    def _bureau(self) -> None:
        self._show.step("人口局的业务数据", "A population bureau's own records")
        self.bureau.open(self._show)

    def _nodes(self) -> None:
        self._show.step("中心与前置节点", "Central and a department's node: two processes, mutual TLS")
        with self._show.waiting("签发证书，启动中心", "issuing certificates, starting central"):
            password = self._home / "nodes" / "capture.password"
            password.write_text(self._password)
            password.chmod(0o600)
            self.system.prepare()
            self.system.central.start()
            # Its very first start takes a while: Python compiles what it was installed with.
            self.system.wait_until_listening()
        self._show.fact(
            "exchange-central", f"pid {self.system.central.pid} · 127.0.0.1:{self.system.port} · SQLite"
        )
        self._show.fact("settings", str(self.system.agent_config))

    def _check(self) -> None:
        self._show.step("exchange-agent check", "What is missing, and the SQL that mends it")
        with self._show.waiting("检查", "checking"):
            missing = self._show.findings(self._findings())
        self.system.raise_if_ended()
        if not missing:
            return
        self._show.say("照它所说去做，再查一次：", "What it says is done, and we look again:")
        self.bureau.mend(missing, self.system.agent_config, self._show)
        with self._show.waiting("检查", "checking"):
            missing = self._show.findings(self._findings())
        if missing:
            raise CommandFailed(f"exchange-agent check still says {missing[0]['sentence']}")

    def _findings(self) -> list[dict[str, Any]]:
        done = attempt(command("exchange-agent"), "check", "--json", "-c", str(self.system.agent_config))
        try:
            found: list[dict[str, Any]] = json.loads(done.stdout)
        except ValueError:
            raise CommandFailed(f"exchange-agent check: {done.stdout}{done.stderr}") from None
        return found

    def _first_copy(self) -> None:
        self._show.step("首次复制", "The first copy, while the bureau is open")
        self.system.agent.start()
        begun = time.monotonic()
        follow_copy(self._report, self.system, self.bureau.tables, self._show)
        took = time.monotonic() - begun
        with self.system.books() as books:
            rows = sum(books.counts(table)[1] for table in self.bureau.tables)
        rate = f"{rows / took:,.0f}"
        self._show.say(
            f"{rows:,} 行到达中心，{took:.1f} 秒（{rate} 行/秒）。",
            f"{rows:,} rows at central in {took:.1f} s, {rate} rows/s.",
        )

    def _day(self, working: Work) -> None:
        self._show.step("一天的工作", "A day's work: births, moves, corrections, deaths")
        with closing(self.bureau.looking()) as looking, self.system.books() as books:
            work = DayAtWork(working, self.bureau.pace_s)
            work.start()
            try:
                self._watch(work, looking, books)
            finally:
                work.stop()
            self.transactions = work.day.done
            self._catch_up(looking, books)
        self.bureau.afterwards(self._show)

    def _watch(self, work: DayAtWork, looking: Looking, books: Books) -> None:
        begun, killed, restarted, line_at = time.monotonic(), False, False, 0.0
        with self._show.live() as live:
            while (now := time.monotonic() - begun) < FLOW_S and work.error is None:
                if now > KILL_AT_S and not killed:
                    killed = True
                    self._kill()
                if now > RESTART_AT_S and not restarted:
                    restarted = True
                    self._restart()
                flow = self._flow(work, looking, books, now)
                if self._show.watched:
                    live.update(self._show.flow(flow), refresh=True)
                elif now >= line_at:
                    line_at = now + 2
                    self._show.flow_line(flow)
                _pause.wait(LOOK_S)

    def _kill(self) -> None:
        pid = self.system.agent.pid
        self.system.agent.kill()
        self.kills += 1
        self._show.say(
            f"kill -9 {pid}：代理被强行终止，人口局照常工作。",
            "The agent is gone; the bureau works on.",
            "red",
        )

    def _restart(self) -> None:
        self.system.agent.start()
        self._show.say(
            "代理重新启动，从断点继续。", "The agent is back and goes on where the data says it was.", "green"
        )

    def _flow(self, work: DayAtWork, looking: Looking, books: Books, now: float) -> Flow:
        report = self._report()
        self._last = report or self._last
        starting = "STARTING" if self.system.agent.running else "KILLED"
        rows = [(table, looking.count(table), *books.counts(table)) for table in self.bureau.tables]
        return Flow(
            rows,
            work.day.done,
            self.bureau.unit,
            report.state if report else starting,
            report.sentence if report else "",
            books.captured_seq(),
            self._last.acknowledged_seq,
            books.applied_seq(),
            self._last.source_lag_us / 1_000_000,
            now,
        )

    def _catch_up(self, looking: Looking, books: Books) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        with self._show.waiting("等待全部到达", "waiting until everything has arrived"):
            while not looking.is_read(books) or books.applied_seq() < books.captured_seq():
                self.system.raise_if_ended()
                if time.monotonic() > deadline:
                    return  # the proof will show what is missing
                _pause.wait(0.1)

    def _proof(self) -> bool:
        self._show.step("证明", "The proof: every row of every table, on all three sides")
        with self._show.waiting("逐行比对", "comparing row by row"):
            tables = self._compare()
        self._show.proof(tables)
        return all(each.holds for each in tables)

    def _report(self) -> StreamReport | None:
        """What the running agent says; None when it is not there to say anything."""
        try:
            with LocalClient(self.system.socket_path) as agent:
                return next(
                    (stream for stream in agent.status().streams if stream.stream.endswith(SOURCE)), None
                )
        except NotRunning:
            return None

    def _compare(self) -> list[Equality]:
        known = self.bureau.known()
        if known is None:
            return self.system.compare()
        with self.system.books() as books:
            return against(known, self.system.source, books)


_pause = Event()


def follow_copy(
    ask: Callable[[], StreamReport | None], system: System, tables: Sequence[str], show: Show
) -> None:
    """Move the bars until everything is at central."""
    deadline, line_at = time.monotonic() + COPY_TIMEOUT_S, time.monotonic()
    with system.books() as books, show.copying() as bars:
        while not system.is_copied(books):
            system.raise_if_ended()
            if time.monotonic() > deadline:
                raise CommandFailed(f"the first copy did not end: {system.agent.tail()}")
            done = [(each.table, each.rows_copied, each.rows_expected) for each in _tables(ask())]
            if show.watched or time.monotonic() > line_at:
                line_at = time.monotonic() + 1
                bars.move(done)
            _pause.wait(LOOK_S)
        bars.finish([(table, *books.counts(table)) for table in tables])


def _tables(report: StreamReport | None) -> list[TableReport]:
    return list(report.tables) if report else []
