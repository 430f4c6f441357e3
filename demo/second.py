"""The second act: another department asks for the register, gets some columns of some rows for a time, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from threading import Event
from typing import Any, Final

from central.policy import profile_named
from demo import pictures
from demo.arrivals import Arrivals
from demo.books import Books
from demo.bureaus.bureau import Bureau, Looking, Work
from demo.desk import Desk
from demo.pictures import Arrival, Ending
from demo.receiver import Receiver
from demo.show import Show
from demo.system import CommandFailed, System, command
from demo.through import ThroughGrant
from demo.town import (
    ASKED,
    ASKING,
    AUDITOR,
    AUTHORITY,
    CODES,
    CONSUMER,
    DEPARTMENTS,
    DISTRICT,
    MASKS,
    OFFICIALS,
    PERSON,
    PLACES,
    PROVIDER,
    PURPOSE,
    REGISTRAR,
    REVOKED_BY,
    ROWS,
    fill_in,
    items_in,
)
from demo.work import DayAtWork
from replica.replica import TableDigest

LOOK_S: Final = 0.4
KILL_AT_S, RESTART_AT_S, FLOW_S = 4.0, 5.5, 11.0
AFTERWARDS_S: Final = 3.0
ARRIVE_S: Final = 60.0
ASKED_DAYS, GRANTED_DAYS = 180, 90
_pause = Event()


class SecondAct:
    """Plays on what the first act left running; :meth:`close` ends the second node."""

    def __init__(self, system: System, bureau: Bureau, show: Show) -> None:
        self._system, self._bureau, self._show = system, bureau, show
        self._desk = Desk(system, show)
        self.receiver = Receiver(system)
        self.grant = ""
        self.kills = 0
        self._terms: dict[str, Any] = {}

    def play(self, work: Work) -> bool:
        """All of it; whether the consumer has exactly what was granted."""
        self._people()
        self._catalogue()
        self._ask()
        return self._share(work)

    def where(self) -> None:
        """How to look around on this side."""
        central, agent = command("exchange-central"), command("exchange-agent")
        config = self._system.central_config
        self._show.fact("民政局 exchange", f"sqlite3 {self.receiver.database}")
        self._show.fact("民政局 agent", f"{agent} received show {self.grant} -c {self.receiver.config}")
        self._show.fact(
            "授权 grant", f"{central} grant -c {config} --as {PROVIDER.person} history {self.grant}"
        )
        self._show.fact(
            "为什么 why", f"{central} share -c {config} --as {ASKING.person} explain {CONSUMER} {PERSON}"
        )
        self._show.fact(
            "目录 catalogue", f"{central} catalogue -c {config} --as {REGISTRAR.person} show {PERSON}"
        )
        self._show.fact("审计 audit", f"{central} audit show delivery:{CONSUMER} -c {config}")

    def close(self) -> None:
        """End its process."""
        self.receiver.close()

    def _people(self) -> None:
        self._show.step("民政局加入", "A civil affairs bureau joins, with a node of its own")
        added = [
            ("department", "add", code, "--name", name, "--region", "370100")
            for code, name in DEPARTMENTS.items()
        ]
        self._desk.manage(*added, ("node", "add", CONSUMER, "--out", str(self.receiver.folder)))
        placed = [("department", "place", node, code) for node, code in PLACES.items()]
        self._desk.manage(*placed, *(each.adding for each in OFFICIALS))
        self._show.typed(" ".join(("exchange-agent", *self.receiver.joining)), whole=False)
        self.receiver.join()
        self.receiver.daemon.start()
        self._show.fact("exchange-agent", f"pid {self.receiver.daemon.pid} · 只接收 receives only · SQLite")

    def _catalogue(self) -> None:
        self._show.step(
            "编目、审核、发布", "Catalogue: registered, audited, verified, released with a signature"
        )
        sheet = self._system.home / "目录.xlsx"
        self._desk.decide(
            REGISTRAR, "catalogue", "draft", "--from-db", self._system.stream, "--out", str(sheet)
        )
        fill_in(sheet)
        self._show.say(
            "登记员填写工作簿：含义、共享类型、依据。", "The registrar fills it in: meaning, share type, law."
        )
        self._desk.decide(REGISTRAR, "catalogue", "import", str(sheet))
        self._desk.decide(REGISTRAR, "catalogue", "submit", *CODES)
        self._desk.decide(AUDITOR, "catalogue", "audit", *CODES)
        self._desk.decide(AUTHORITY, "catalogue", "verify", PERSON, "--opinion", "依据充分")
        self._desk.decide(AUDITOR, "catalogue", "publish", *CODES)
        self._desk.decide(AUTHORITY, "catalogue", "release", "--note", "首次发布")
        self._show.picture(pictures.items(items_in(sheet, PERSON)))

    def _ask(self) -> None:
        self._show.step("申请与授权", "Asked for, and granted: some columns of some rows, for a time, masked")
        items = [word for column in ASKED for word in ("--item", column)]
        why = ("--business", "社会救助", "--user", "救助科", "--purpose", PURPOSE)
        until = ("--until", str(_today() + timedelta(days=ASKED_DAYS)))
        said = self._desk.decide(ASKING, "share", "request", CONSUMER, PERSON, *items, *why, *until)
        request = said.split()[0]
        masks = [word for mask in MASKS for word in ("--mask", mask)]
        until = ("--until", str(_today() + timedelta(days=GRANTED_DAYS)))
        said = self._desk.decide(PROVIDER, "share", "agree", request, "--rows", ROWS, *masks, *until)
        self.grant = said.split()[-1]
        found = self._desk.learn(ASKING, "grant", "show", self.grant)
        self._terms = found["terms"]
        self._show.picture(pictures.grant(found, ROWS))

    def _share(self, work: Work) -> bool:
        looking, begun = self._bureau.looking(), work.done
        try:
            with self._system.books() as books:
                self._flow(work, looking)
                through = ThroughGrant(self._system, self._bureau, "person", self._terms)
                granted = self._settled(through, looking, books)
                self._end()
                self._afterwards(work, lambda: through.digest() != granted)
                self._arrived(looking, books)
            found = Ending(granted, self.receiver.digest(through.schema), through.digest())
            return self._proof(found, work.done - begun)
        finally:
            looking.close()

    def _flow(self, work: Work, looking: Looking) -> None:
        self._show.step(
            "数据实时到达", "It arrives, in the consumer's own exchange database, and goes on arriving"
        )
        day, arrivals = DayAtWork(work, self._bureau.pace_s), Arrivals()
        day.start()
        try:
            self._watch(day, looking, arrivals)
        finally:
            day.stop()

    def _watch(self, day: DayAtWork, looking: Looking, arrivals: Arrivals) -> None:
        begun, killed, restarted, line_at = time.monotonic(), False, False, 0.0
        arrived_at: float | None = None
        with self._show.live() as live:
            while day.error is None:
                now = time.monotonic() - begun
                if arrived_at is None and arrivals.rows:
                    arrived_at = now
                since = now - arrived_at if arrived_at is not None else 0.0
                if since > FLOW_S or now > ARRIVE_S:
                    return
                if since > KILL_AT_S and not killed:
                    killed = True
                    self._kill()
                if since > RESTART_AT_S and not restarted:
                    restarted = True
                    self.receiver.daemon.start()
                    self._show.say(
                        "代理重新启动。", "It is back, and asks for what it does not have.", "green"
                    )
                look = self._look(looking, arrivals, now)
                if self._show.watched:
                    live.update(pictures.arriving(look, "公安局", "民政局"), refresh=True)
                elif now >= line_at:
                    line_at = now + 2
                    self._show.line(pictures.arriving_line(look))
                _pause.wait(LOOK_S)

    def _kill(self) -> None:
        pid = self.receiver.daemon.pid
        self.receiver.daemon.kill()
        self.kills += 1
        self._show.say(
            f"kill -9 {pid}：民政局的代理被强行终止。",
            "The consumer's agent is gone; the bureau works on.",
            "red",
        )

    def _look(self, looking: Looking, arrivals: Arrivals, now: float) -> Arrival:
        report = self.receiver.report(self.grant)
        arrivals.look(self.receiver.rows(ASKED))
        lag_us = report.received_us - report.last_commit_us if report and report.last_commit_us else 0
        starting = "STARTING" if self.receiver.daemon.running else "KILLED"
        return Arrival(
            ASKED,
            arrivals,
            looking.living_in(DISTRICT),
            report.state if report else starting,
            report.sentence if report else "",
            report.receipt if report else "",
            max(0, lag_us) / 1_000_000,
            now,
        )

    def _settled(self, through: ThroughGrant, looking: Looking, books: Books) -> TableDigest:
        """Wait until all has arrived; the provider's rows as the grant shows them."""
        deadline = time.monotonic() + ARRIVE_S
        with self._show.waiting("人口局歇一口气，等待全部到达", "the bureau takes a breath; all arrives"):
            granted = through.digest()
            while (
                not looking.is_read(books)
                or books.applied_seq() < books.captured_seq()
                or self.receiver.digest(through.schema) != granted
            ):
                self._system.raise_if_ended()
                if time.monotonic() > deadline:
                    return granted  # the proof will show what is missing
                _pause.wait(LOOK_S)
        return granted

    def _end(self) -> None:
        self._show.step("授权终止", "The grant ends: its provider revokes it, by law")
        said = zip(("--law", "--document-no", "--article"), REVOKED_BY, strict=True)
        basis = [word for pair in said for word in pair]
        self._desk.decide(PROVIDER, "grant", "revoke", self.grant, "--reason", "核对已经完成", *basis)

    def _afterwards(self, work: Work, is_news: Callable[[], bool]) -> None:
        """The bureau works on, until there is something that would have been delivered."""
        self._show.say(
            "人口局继续工作，但不再有任何内容送达：",
            "The bureau works on, and nothing of it arrives any more:",
        )
        day = DayAtWork(work, self._bureau.pace_s)
        day.start()
        try:
            _pause.wait(AFTERWARDS_S)
            deadline = time.monotonic() + ARRIVE_S
            while day.error is None and not is_news() and time.monotonic() < deadline:
                _pause.wait(LOOK_S)
        finally:
            day.stop()

    def _arrived(self, looking: Looking, books: Books) -> None:
        """All of it is at central, where it stays."""
        deadline = time.monotonic() + ARRIVE_S
        while not looking.is_read(books) or books.applied_seq() < books.captured_seq():
            self._system.raise_if_ended()
            if time.monotonic() > deadline:
                raise CommandFailed(f"the provider's work did not reach central: {self._system.agent.tail()}")
            _pause.wait(LOOK_S)
        self._desk.at_node(str(self.receiver.config), "received", "list")

    def _proof(self, found: Ending, done: int) -> bool:
        self._show.step("证明与审计", "The proof, and who got what")
        self._show.picture(pictures.ending(found))
        chain = f"delivery:{CONSUMER}"
        self._show.typed(f"exchange-central audit show {chain} --event delivered --grant {self.grant}")
        records = self._desk.ask("audit", "show", chain, "--event", "delivered", "--grant", self.grant)
        self._show.picture(pictures.receipts(records))
        self._desk.manage(("audit", "verify"), answered=True)
        self._show.shared(found.holds, done, self._bureau.unit, self.kills)
        return found.holds


def _today() -> date:
    """Where the policy is in force."""
    return profile_named().calendar.day_of(time.time_ns() // 1000)
