"""The agent's status as tables and bars."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agent.status import ago
from proto.states import State
from proto.v1 import local_pb2, node_pb2

REFRESH_S: Final = 1.0
_WELL: Final = frozenset({State.RUNNING, State.IDLE, State.SNAPSHOT})
_COLOURS: Final = {
    State.RUNNING: "green",
    State.IDLE: "green",
    State.SNAPSHOT: "cyan",
    State.PAUSED: "yellow",
    State.BACKING_OFF: "yellow",
}


def show(status: local_pb2.AgentStatus) -> None:
    """Print it once."""
    _console().print(_picture(status))


def follow(ask: Callable[[], local_pb2.AgentStatus]) -> None:
    """Show it anew every second until interrupted."""
    never = threading.Event()
    with Live(_picture(ask()), console=_console(), refresh_per_second=4, screen=sys.stdout.isatty()) as live:
        while not never.wait(REFRESH_S):
            live.update(_picture(ask()))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under titles."""
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        grid.add_column(title, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    _console().print(grid)


def received(status: local_pb2.AgentStatus) -> None:
    """Print what other departments share with this one."""
    if not status.received:
        _console().print(Text(f"nothing is received yet: {status.pull_sentence}"))
        return
    _console().print(Group(*_receptions(status)))


def reception(report: node_pb2.ReceivedReport) -> Iterator[str]:
    """Everything there is to know of one grant, line by line."""
    copied = (
        f", {report.rows_copied:,} of about {report.rows_expected:,} copied" if report.rows_expected else ""
    )
    facts = {
        "grant": f"{report.grant}, version {report.version}",
        "state": f"{report.state}  {report.sentence}",
        "what to do": report.fix,
        "resource": f"{report.resource}  {report.resource_name}",
        "purpose": report.purpose,
        "from": f"{report.stream}, table {report.table}",
        "until": _moment(report.valid_to_us),
        "contract": f"version {report.contract}" if report.contract else "",
        "changes": f"on {_moment(report.change_us)}: {report.change}" if report.change else "",
        "rows lie in": report.place or "nowhere: a later grant has its table",
        "delivery": f"{report.generation}.{report.seq}, receipt {report.receipt or '–'}, batch {report.source_seq}",
        "received": f"{report.rows:,} rows, {_size(report.bytes)}{copied}",
        "last change": _moment(report.last_commit_us),
        "arrived": _moment(report.received_us),
        "nothing newer": f"proven {_moment(report.proven_us)}",
    }
    yield from (f"{name:<14}{value}" for name, value in facts.items() if value)
    for each in report.imports:
        yield f"{'import':<14}{each.name}  {each.state}  {each.sentence}"
        if each.fix:
            yield f"{'what to do':<14}{each.fix}"


def _receptions(status: local_pb2.AgentStatus) -> list[RenderableType]:
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("grant", "resource", "from", "until", "state", "rows", "last change"):
        grid.add_column(title, overflow="fold")
    for each in status.received:
        changed = ago(each.last_commit_us) if each.last_commit_us else "–"
        until = _moment(each.valid_to_us)[:10]
        words = (each.grant, each.resource_name or each.resource, each.stream, until)
        grid.add_row(*map(Text, words), _state(each.state), Text(f"{each.rows:,}"), Text(changed))
    parts: list[RenderableType] = [grid]
    for each in status.received:
        if each.change:
            parts.append(_indented(Text(f"{each.grant}: on {_moment(each.change_us)} {each.change}")))
        if each.state not in _WELL:
            parts.append(_indented(_held(each.grant, each.sentence, each.fix)))
        stopped = [step for step in each.imports if step.state not in _WELL]
        parts += [_indented(_held(f"import {step.name}", step.sentence, step.fix)) for step in stopped]
    return parts


def _held(name: str, sentence: str, fix: str) -> Text:
    why = Text.assemble((name, "bold"), ": ", sentence)
    return why.append(f"\n→ {fix}", style="bold") if fix else why


def _moment(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC" if us else "–"


def _console() -> Console:
    # Into a pipe or a log nothing is wrapped, so that lines can be searched.
    return Console() if sys.stdout.isatty() else Console(width=200)


def _picture(status: local_pb2.AgentStatus) -> RenderableType:
    head = Text.assemble(
        (status.node, "bold"),
        f"  version {status.version}, started {ago(status.started_us)}\n",
        "central   ",
        f"{status.central}  ",
        _state(status.link_state),
        f"  {status.link_sentence}\n",
        f"exchange  {status.exchange}",
        f"  {_size(status.free_disk_bytes)} free" if status.free_disk_bytes else "",
    )
    parts: list[RenderableType] = [Text(f"! {each}", style="bold yellow") for each in status.notices]
    parts += [*_catalogue(status), *(part for stream in status.streams for part in _stream(stream))]
    if status.received or status.pull_state not in ("", *_WELL):
        parts.append(
            Text.assemble(
                "\n", ("received", "bold"), "  ", _state(status.pull_state), f"  {status.pull_sentence}"
            )
        )
        if status.pull_fix:
            parts.append(_indented(Text(f"→ {status.pull_fix}", style="bold")))
    if status.received:
        parts += map(_indented, _receptions(status))
    return Group(head, *parts)


def _catalogue(status: local_pb2.AgentStatus) -> Iterator[RenderableType]:
    """What the platform's catalogue has to say about what leaves."""
    yield Text.assemble("catalogue ", _state(status.catalogue_state), f"  {status.catalogue_sentence}")
    if status.catalogue_fix:
        yield _indented(Text(f"→ {status.catalogue_fix}", style="bold"))


def _stream(stream: node_pb2.StreamReport) -> list[RenderableType]:
    head = Text.assemble("\n", (stream.stream, "bold"), "  ", _state(stream.state), f"  {stream.sentence}")
    parts: list[RenderableType] = [head]
    if stream.fix:
        parts.append(_indented(Text(f"→ {stream.fix}", style="bold")))
    parts.append(_indented(Text(_facts(stream))))
    if stream.tables:
        parts.append(_indented(_tables(stream.tables)))
    # Why, and what to do, stand below: a command that is to be typed needs the whole width.
    return [*parts, *(_indented(_why(each)) for each in stream.tables if each.state not in _WELL or each.fix)]


def _facts(stream: node_pb2.StreamReport) -> str:
    facts = [
        f"{stream.rows:,} rows ({stream.rows_per_s:,.0f}/s, {_size(stream.bytes_per_s)}/s)",
        f"captured {stream.captured_seq}, acknowledged {stream.acknowledged_seq},"
        f" waiting {stream.waiting_batches} ({_size(stream.waiting_bytes)})",
        f"lag source {_seconds(stream.source_lag_us)}, push {_seconds(stream.push_lag_us)}",
        f"proven to its end {ago(stream.marker_us) if stream.marker_us else 'not yet'}",
    ]
    if stream.retained_log_bytes:
        facts.append(f"the source keeps {_size(stream.retained_log_bytes)} for us")
    if stream.horizon:
        facts.append(stream.horizon)
    return " · ".join(facts)


def _tables(reports: Iterable[node_pb2.TableReport]) -> Table:
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("table", "state", "copied", ""):
        grid.add_column(title, overflow="fold")
    for each in reports:
        grid.add_row(Text(each.table), _state(each.state), _copied(each), _bar(each))
    return grid


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2), expand=False)


def _copied(report: node_pb2.TableReport) -> str:
    expected = (
        f" of about {report.rows_expected:,}"
        if report.state == State.SNAPSHOT and report.rows_expected
        else ""
    )
    return f"{report.rows_copied:,}{expected}"


def _bar(report: node_pb2.TableReport) -> RenderableType:
    if report.state != State.SNAPSHOT or not report.rows_expected:
        return ""
    return ProgressBar(
        total=report.rows_expected, completed=min(report.rows_copied, report.rows_expected), width=12
    )


def _why(report: node_pb2.TableReport) -> Text:
    return _held(report.table, report.sentence, report.fix)


def _state(word: str) -> Text:
    return Text(word, style=_COLOURS.get(State(word), "red") if word in State.__members__ else "")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _seconds(us: int) -> str:
    return f"{us / 1_000_000:.1f} s" if us else "0 s"
