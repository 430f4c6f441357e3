"""What the demonstration says, in Chinese and English, on a terminal and without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from demo.books import Equality
from proto.states import State

WIDTH: Final = 100
STEPS: Final = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮"
COLOURS: Final = {
    State.RUNNING: "green",
    State.IDLE: "green",
    State.SNAPSHOT: "cyan",
    State.BACKING_OFF: "yellow",
    State.PAUSED: "yellow",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """One look at everything that moves."""

    rows: Sequence[tuple[str, int, int, int]]
    """Table, rows in business, exchange and central database."""
    transactions: int
    unit: tuple[str, str]
    """What they are, in both languages."""
    state: str
    """The agent's own word, or KILLED and STARTING."""
    sentence: str
    captured_seq: int
    acknowledged_seq: int
    applied_seq: int
    lag_s: float
    """From the commit at the source to the commit in the exchange database."""
    seconds: float


class Bars:
    """One bar per table of the first copy, and one for all of them with pace and remaining time."""

    TOTAL: Final = "合计 total"

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self.progress = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]:>19}"),
            TextColumn("{task.fields[pace]:>20}", style="dim"),
            console=console,
            auto_refresh=False,
            disable=not console.is_terminal,
        )

    def move(self, tables: Sequence[tuple[str, int, int]]) -> None:
        """Table, rows copied, rows expected."""
        if not tables:
            return
        if not self._console.is_terminal:
            self._console.print("  " + "  ".join(f"{name} {done:,}/{of:,}" for name, done, of in tables))
            return
        for name, done, of in tables:
            self._bar(name, done, max(done, of))
        done, of = (sum(column) for column in list(zip(*tables, strict=True))[1:])
        self._bar(self.TOTAL, done, max(done, of))
        self.progress.refresh()

    def finish(self, tables: Sequence[tuple[str, int, int]]) -> None:
        """All is there: table, rows in the exchange database, rows at central."""
        self.move([(name, here, here) for name, here, _ in tables])

    def _bar(self, name: str, done: int, of: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=max(of, 1), count="", pace="")
        task = self._tasks[name]
        finished = done >= of
        self.progress.update(task, total=max(of, 1), completed=done if of else 1, count=f"{done:,} / {of:,}")
        speed, left_s = self.progress.tasks[task].speed, self.progress.tasks[task].time_remaining
        if name == self.TOTAL and speed and not finished:
            eta = f" · 约 {left_s:.0f} s" if left_s is not None else ""
            self.progress.update(task, pace=f"{speed:,.0f} 行/s{eta}")
        if finished:
            self.progress.update(task, pace="")


class Show:
    """The stage: a console that knows whether somebody is looking."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(highlight=False)
        # Neither a very wide nor a narrow terminal tears the tables apart; a pipe gets lines of a good length.
        wide = min(WIDTH, console.width) if console.is_terminal else WIDTH
        self.console = Console(highlight=False, width=wide) if wide != console.width else console
        self._step = 0

    @property
    def watched(self) -> bool:
        """Whether pictures may move."""
        return self.console.is_terminal

    def title(self) -> None:
        """What this is."""
        picture = Text(
            "业务数据库 business ─▶ exchange-agent ─▶ 交换数据库 exchange\n"
            "                             │  gRPC, mutual TLS\n"
            "                             ▼\n"
            "                      exchange-central ─▶ 中心数据库 central",
            no_wrap=True,
        )
        heading = "[bold]数据交换节点 · 演示[/]   Exchange node, a demonstration"
        self.console.print(Panel(picture, title=heading, border_style="cyan", padding=(1, 3), expand=True))

    def step(self, chinese: str, english: str) -> None:
        """The next act."""
        self.console.print()
        self.console.print(f"[bold cyan]{STEPS[self._step]} {chinese}[/]  [bold]{english}[/]")
        self._step += 1

    def say(self, chinese: str, english: str = "", style: str = "") -> None:
        """A sentence in both languages."""
        text = Text(f"  {chinese}", style=style)
        if english:
            text.append(f"\n  {english}", style=style or "dim")
        self.console.print(text)

    def fact(self, name: str, value: str) -> None:
        """One line of the kind *what: where*."""
        line = Table.grid(padding=(0, 1))
        line.add_column(width=24, no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(Text(f"  {name}", style="dim"), Text(value))
        self.console.print(line)

    def findings(self, found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """What ``exchange-agent check`` says; returns what is missing."""
        missing = [each for each in found if not each["passed"]]
        for each in missing:
            self._finding("[red]✗[/]", f"{each['name']}: {each['sentence']}")
        names = ", ".join(str(each["name"]).removeprefix("source hr: ") for each in found if each["passed"])
        good = len(found) - len(missing)
        self._finding("[green]✓[/]", f"{good}/{len(found)}  [dim]{escape(names)}[/]")
        return missing

    def _finding(self, mark: str, sentence: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=4, justify="right")
        line.add_column(overflow="fold")
        line.add_row(mark, sentence)
        self.console.print(line)

    def sql(self, statement: str, title: str = "SQL") -> None:
        """What the administrator runs, or what a file says."""
        self.console.print(Panel(Text(statement), title=title, title_align="left", border_style="yellow"))

    def typed(self, line: str, *, whole: bool = True) -> None:
        """A command as a person types it; one that is not shown whole ends where the line does."""
        text = Text.assemble(("  $ ", "bold green"), (line, "cyan"))
        text.no_wrap, text.overflow = not whole, "ellipsis"
        self.console.print(text)

    def answered(self, said: str) -> None:
        """What a command printed."""
        for line in said.rstrip().splitlines():
            self.console.print(Text(f"    {line}", style="dim"))

    def picture(self, made: RenderableType) -> None:
        """Something that stays."""
        self.console.print(made)

    def line(self, text: str) -> None:
        """A line of a log."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def waiting(self, chinese: str, english: str) -> Iterator[None]:
        """Something takes a moment."""
        if not self.watched:
            self.console.print(f"  … {chinese} {english}")
            yield
            return
        with self.console.status(f"{chinese} [dim]{english}[/]"):
            yield

    @contextmanager
    def copying(self) -> Iterator[Bars]:
        """The bars of the first copy; their last frame stays."""
        bars = Bars(self.console)
        with bars.progress:
            yield bars

    @contextmanager
    def live(self) -> Iterator[Live]:
        """A picture that moves; its last frame stays."""
        with Live(console=self.console, refresh_per_second=8, auto_refresh=False) as live:
            yield live

    def flow(self, flow: Flow) -> RenderableType:
        """The table of changes flowing."""
        grid = Table(border_style="dim", expand=True, pad_edge=False)
        grid.add_column("表 table", ratio=2)
        for title in ("业务 business", "交换 exchange", "中心 central"):
            grid.add_column(title, justify="right", ratio=2)
        for table, business, exchange, central in flow.rows:
            grid.add_row(table, f"{business:,}", _beside(exchange, business), _beside(central, business))
        return Group(grid, *_footer(flow))

    def flow_line(self, flow: Flow) -> None:
        """The same for a log."""
        counts = "  ".join(f"{name} {one}/{two}/{three}" for name, one, two, three in flow.rows)
        batches = (
            f"captured {flow.captured_seq} acknowledged {flow.acknowledged_seq} applied {flow.applied_seq}"
        )
        self.console.print(f"  {flow.seconds:5.1f} s  {flow.state:<12} {counts}  {batches}", soft_wrap=True)

    def proof(self, tables: Sequence[Equality]) -> None:
        """Row counts and content digests of all three sides."""
        grid = Table(border_style="dim", expand=True, pad_edge=False)
        for title in ("表 table", "业务 business", "交换 exchange", "中心 central", ""):
            grid.add_column(title, overflow="fold")
        for each in tables:
            sides = (each.business, each.exchange, each.central)
            cells = [f"{side.rows:,}\n[dim]{side.content.hex()[:14]}…[/]" for side in sides]
            grid.add_row(each.table, *cells, "[bold green]＝[/]" if each.holds else "[bold red]≠[/]")
        self.console.print(grid)

    def shared(self, holds: bool, done: int, unit: tuple[str, str], kills: int) -> None:
        """The last word on the second act."""
        if holds:
            text = (
                f"[bold green]只有授权的列、授权的行、授权的时间[/]：共享期间 {done:,} {unit[0]}，{kills} 次 kill -9，"
                "终止之后一行也没有多。\n"
                f"[bold green]Only what was granted, only while it was[/]: {done:,} {unit[1]}, {kills} kill -9, "
                "not one row after the end."
            )
        else:
            text = "[bold red]不一致[/] 见上表。\n[bold red]Not as granted[/]: see the table above."
        self.console.print(Panel(text, border_style="green" if holds else "red"))

    def verdict(self, equal: bool, done: int, unit: tuple[str, str], kills: int) -> None:
        """The last word."""
        if equal:
            text = (
                f"[bold green]三方完全一致[/]：{done:,} {unit[0]}，{kills} 次 kill -9，一行不多，一行不少。\n"
                f"[bold green]All three are equal[/]: {done:,} {unit[1]}, {kills} kill -9, nothing lost, nothing twice."
            )
        else:
            text = "[bold red]不一致[/] 见上表。\n[bold red]Not equal[/]: see the table above."
        self.console.print(Panel(text, border_style="green" if equal else "red"))


def _beside(count: int, business: int) -> Text:
    """A count, and how far it is from the source's."""
    text = Text(f"{count:,}")
    if count != business:
        text.append(f" ({count - business:+,})", style="yellow")
    return text


def _footer(flow: Flow) -> Iterator[Text]:
    state = flow.state
    colour = COLOURS.get(State(state), "red") if state in State.__members__ else "bold red"
    line = Text.assemble(
        "  agent ", (f"{state:<12}", colour), f" {flow.transactions:,} {' '.join(flow.unit)}"
    )
    line.append(f" · 时延 lag {flow.lag_s * 1000:,.0f} ms · {flow.seconds:.0f} s")
    yield line
    yield Text(
        f"  批次 batches: 捕获 captured {flow.captured_seq} → 确认 acknowledged {flow.acknowledged_seq}"
        f" → 应用 applied {flow.applied_seq}"
    )
    yield Text(f"  {flow.sentence}", style="dim", no_wrap=True, overflow="ellipsis")
