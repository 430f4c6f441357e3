"""The pictures of the second act: what is catalogued, what a grant lets through, what arrives, and who got what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.show import COLOURS
from proto.states import State
from replica.replica import TableDigest

SHARE_TYPES: Final = {
    "unconditional": ("无条件 unconditional", "green"),
    "conditional": ("有条件 conditional", "yellow"),
    "not_shared": ("不予共享 not shared", "red"),
}
RECEIPTS: Final = 5
"""Of the first and of the last deliveries, so many are shown."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One look at what comes to the second department."""

    columns: Sequence[str]
    newest: Sequence[Sequence[Any]]
    at_provider: int
    """Rows that pass the filter there."""
    here: int
    came: int
    left: int
    state: str
    sentence: str
    receipt: str
    lag_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Ending:
    """The three tables of the proof."""

    granted: TableDigest
    """The provider's rows through the grant, when it ended."""
    consumer: TableDigest
    """The consumer's table, some time afterwards."""
    now: TableDigest
    """The provider's rows through the grant as they are meanwhile."""

    @property
    def holds(self) -> bool:
        """Whether the consumer has what was granted, and nothing of what came afterwards."""
        return self.granted == self.consumer != self.now


def items(entry: Mapping[str, Any]) -> RenderableType:
    """An entry's items and how each may be shared."""
    grid = _grid("信息项 item", "字段 column", "共享类型 share type", "条件或依据 condition or law")
    for each in entry["items"]:
        word, colour = SHARE_TYPES[each["share_type"]]
        law = each.get("basis") or {}
        why = f"{law['title']} {law['article']}" if law else each.get("condition", "")
        key = "🔑" if each["is_key"] else ""
        grid.add_row(f"{each['name']}{key}", each["column"], Text(word, style=colour), why)
    return grid


def grant(found: Mapping[str, Any], rows: str) -> RenderableType:
    """What a grant lets through, in one frame."""
    terms = found["terms"]
    masks = {column: _mask(mask) for column, mask in terms["masks"].items()}
    columns = Text()
    for column in terms["items"]:
        columns.append(f"{column} ", style="green")
        columns.append(f"{masks[column]}  " if column in masks else " ", style="yellow")
    until = datetime.fromtimestamp(found["valid_to_us"] / 1_000_000, UTC).astimezone()
    grid = Table.grid(padding=(0, 2))
    grid.add_row("列 columns", columns)
    grid.add_row("行 rows", Text(rows, style="green"))
    grid.add_row("期限 until", f"{until:%Y-%m-%d %H:%M}")
    grid.add_row("用途 purpose", f"{terms['business']}：{terms['purpose']}")
    grid.add_row("使用者 users", "、".join(terms["users"]))
    title = f"[bold]{found['grant']}[/] {found['consumer']} ← {found['resource']} {found.get('name', '')}"
    return Panel(grid, title=title, title_align="left", border_style="green")


def arriving(look: Arrival, provider: str, consumer: str) -> RenderableType:
    """The second department's own table while it changes."""
    grid = _grid(*look.columns)
    for row in look.newest:
        grid.add_row(*(_value(value) for value in row))
    colour = COLOURS.get(State(look.state), "red") if look.state in State.__members__ else "bold red"
    counts = Text.assemble(
        f"  {provider} {look.at_provider:,} 行 rows → {consumer} ", (f"{look.here:,}", "bold")
    )
    if look.here != look.at_provider:
        counts.append(f" ({look.here - look.at_provider:+,})", style="yellow")
    counts.append("   到达 came ").append(f"+{look.came:,}", style="green")
    counts.append("  迁出 left ").append(f"−{look.left:,}", style="red")
    state = Text.assemble("  agent ", (f"{look.state:<12}", colour))
    state.append(
        f" 时延 lag {look.lag_s * 1000:,.0f} ms · {look.seconds:.0f} s · 回执 receipt {look.receipt or '–'}"
    )
    sentence = Text(f"  {look.sentence}", style="dim", no_wrap=True, overflow="ellipsis")
    return Group(grid, counts, state, sentence)


def arriving_line(look: Arrival) -> str:
    """The same for a log."""
    newest = look.newest[0] if look.newest else ()
    return (
        f"  {look.seconds:5.1f} s  {look.state:<12} provider {look.at_provider} consumer {look.here}"
        f"  came +{look.came} left -{look.left}  receipt {look.receipt or '–'}  {' '.join(map(str, newest))}"
    )


def ending(found: Ending) -> RenderableType:
    """Three sides: what was granted, what is there, what came afterwards and is not there."""
    grid = _grid("", "行 rows", "内容 content", "")
    sides = (
        ("授权终止时提供方的视图\nprovider's rows through the grant, when it ended", found.granted, None),
        ("使用方的表\nthe consumer's table", found.consumer, found.consumer == found.granted),
        ("此刻提供方的视图，不再送达\nprovider's rows now: no longer delivered", found.now, None),
    )
    for name, side, equal in sides:
        mark = "" if equal is None else "[bold green]＝[/]" if equal else "[bold red]≠[/]"
        grid.add_row(name, f"{side.rows:,}", f"[dim]{side.content.hex()[:14]}…[/]", mark)
    return grid


def receipts(records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Who got what: each delivery with its receipt, its grant, its purpose and its rows."""
    grid = _grid("回执 receipt", "授权 grant", "用途 purpose", "行 rows", "时间 at")
    for column in grid.columns[3:4]:
        column.justify = "right"
    shown = list(records)
    if len(shown) > 2 * RECEIPTS:
        shown = [*shown[:RECEIPTS], {}, *shown[-RECEIPTS:]]
    for each in shown:
        if not each:
            grid.add_row("…", "", "", "", "", style="dim")
            continue
        facts = each["facts"]
        at = datetime.fromtimestamp(each["at_us"] / 1_000_000, UTC).astimezone()
        told = (facts["receipt"], f"{facts['grant']} v{facts['version']}", facts["purpose"])
        grid.add_row(*told, f"{facts['rows']:,}", f"{at:%H:%M:%S}")
    total = sum(each["facts"]["rows"] for each in records)
    grid.add_section()
    grid.add_row(f"合计 {len(records):,} 次 deliveries", "", "", f"{total:,}", "", style="bold")
    return grid


def _grid(*titles: str) -> Table:
    grid = Table(border_style="dim", expand=True, pad_edge=False)
    for title in titles:
        grid.add_column(title, overflow="fold")
    return grid


def _mask(mask: Mapping[str, Any]) -> str:
    return f"({mask['first']}***{mask['last']})" if mask["mask"] == "keep" else f"({mask['mask']})"


def _value(value: Any) -> Text:
    text = "–" if value is None else str(value)
    return Text(text, style="yellow" if "*" in text else "")
