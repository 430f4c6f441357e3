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

from demo.arrivals import CAME, CHANGED, LEFT, Arrivals
from demo.show import COLOURS
from proto.states import State
from replica.replica import TableDigest

SHARE_TYPES: Final = {
    "有条件共享": ("有条件 conditional", "yellow"),
    "不予共享": ("不予共享 not shared", "red"),
}
_SIGNS: Final = {CAME: "green", LEFT: "red", CHANGED: "yellow", " ": "dim"}
RECEIPTS: Final = 4
"""Of the first and of the last deliveries, so many are shown."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One look at what comes to the second department."""

    columns: Sequence[str]
    arrivals: Arrivals
    at_provider: int
    """Rows that pass the filter there."""
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


def items(listed: Sequence[Mapping[str, str]]) -> RenderableType:
    """An entry's items as its workbook has them, and how each may be shared."""
    grid = _grid("信息项 item", "字段 column", "共享类型 share type", "条件或依据 condition or law")
    for each in listed:
        word, colour = SHARE_TYPES[each["共享类型"]]
        why = f"{each['依据名称']} {each['依据条款']}".strip() or each["共享条件"]
        key = " 主键 key" if each["主键"] == "是" else ""
        grid.add_row(f"{each['信息项名称']}{key}", each["字段"], Text(word, style=colour), why)
    return grid


def grant(found: Mapping[str, Any], rows: str) -> RenderableType:
    """What a grant lets through, in one frame."""
    terms = found["terms"]
    masks = {column: _mask(mask) for column, mask in terms["masks"].items()}
    columns = Text()
    for column in terms["items"]:
        columns.append(f"{column} ", style="green")
        columns.append(f"{masks[column]}  " if column in masks else " ", style="yellow")
    # The moment after its last day is its end.
    until = datetime.fromtimestamp((found["valid_to_us"] - 1) / 1_000_000, UTC).astimezone()
    grid = Table.grid(padding=(0, 2))
    grid.add_row("列 columns", columns)
    grid.add_row("行 rows", Text(rows, style="green"))
    grid.add_row("期限 until", f"{until:%Y-%m-%d}")
    grid.add_row("用途 purpose", f"{terms['business']}：{terms['purpose']}")
    grid.add_row("使用者 users", "、".join(terms["users"]))
    title = f"[bold]{found['grant']}[/] {found['consumer']} ← {found['resource']} {found.get('name', '')}"
    return Panel(grid, title=title, title_align="left", border_style="green")


def arriving(look: Arrival, provider: str, consumer: str) -> RenderableType:
    """The second department's own table while it changes."""
    arrivals, here = look.arrivals, len(look.arrivals.rows)
    grid = _grid("", *look.columns)
    for sign, row in arrivals.events:
        grid.add_row(Text(sign, style=f"bold {_SIGNS[sign]}"), *(_value(value, sign) for value in row))
    colour = COLOURS.get(State(look.state), "red") if look.state in State.__members__ else "bold red"
    counts = Text.assemble(f"  {provider} {look.at_provider:,} 行 rows → {consumer} ", (f"{here:,}", "bold"))
    if here != look.at_provider:
        counts.append(f" ({here - look.at_provider:+,})", style="yellow")
    counts.append("   到达 came ").append(f"+{arrivals.came:,}", style="green")
    counts.append("  变更 changed ").append(f"~{arrivals.changed:,}", style="yellow")
    counts.append("  迁出 left ").append(f"−{arrivals.left:,}", style="red")
    state = Text.assemble("  agent ", (f"{look.state:<12}", colour))
    state.append(
        f" 时延 lag {look.lag_s * 1000:,.0f} ms · {look.seconds:.0f} s · 回执 receipt {look.receipt or '–'}"
    )
    sentence = Text(f"  {look.sentence}", style="dim", no_wrap=True, overflow="ellipsis")
    return Group(grid, counts, state, sentence)


def arriving_line(look: Arrival) -> str:
    """The same for a log."""
    arrivals = look.arrivals
    sign, row = arrivals.events[-1] if arrivals.events else ("", ())
    return (
        f"  {look.seconds:5.1f} s  {look.state:<9} provider {look.at_provider} consumer {len(arrivals.rows)}"
        f"  came +{arrivals.came} changed ~{arrivals.changed} left −{arrivals.left}  {sign} {' '.join(map(str, row))}"
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


def _value(value: Any, sign: str = " ") -> Text:
    text = "–" if value is None else str(value)
    style = "red strike" if sign == LEFT else "yellow" if "*" in text else ""
    return Text(text, style=style)
