"""docs/types.md and its Chinese twin, made from what really arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proto.values import Kind
from tests.support.typecases import Case
from tests.support.typeways import REFUSED, Arrival

MOST: Final = 60
SINK_NAMES: Final = {"sqlite": "SQLite", "postgres15": "PostgreSQL", "mariadb": "MariaDB"}


@dataclass(frozen=True, slots=True)
class Line:
    """One case, what each way brought, and what the sinks that cannot hold it say."""

    case: Case
    arrivals: Mapping[str, Arrival]
    unheld: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    title: str
    twin: str
    opening: str
    heading: str
    columns: tuple[str, ...]
    refused: str
    all_sinks: str
    kinds_title: str
    kinds_columns: tuple[str, ...]


ENGLISH: Final = Words(
    title="What arrives of every type",
    twin="[中文](types.zh-CN.md)",
    opening=(
        "Made by `scripts/make-types` from what really arrived; a test fails when it is out of date.\n\n"
        "The value is written into the business database and comes by every way of listening. Where the ways "
        "differ, each is named. An error in bold holds its table (or refuses the file); the other tables go on. “All” means that SQLite, PostgreSQL and MariaDB give back the same value, bit for bit; "
        "otherwise the exchange database that cannot hold it is named with its error. Control characters and "
        "full-width spaces are shown as `\\u3000`."
    ),
    heading="From {}",
    columns=("type", "written", "arrives as", "held by"),
    refused="cannot be written there at all",
    all_sinks="all",
    kinds_title="How a kind lies in an exchange database",
    kinds_columns=("kind", "SQLite", "PostgreSQL", "MariaDB, MySQL"),
)
CHINESE: Final = Words(
    title="各种类型到达后的样子",
    twin="[English](types.md)",
    opening=(
        "本页由 `scripts/make-types` 根据实际到达的结果生成；内容过期时测试会失败。\n\n"
        "每个值写入业务库后，经每一种采集方式到达。方式之间有差别时逐一列出。粗体为错误：该表暂停（或文件被退回），其他表继续。"
        "“全部”表示 SQLite、PostgreSQL、MariaDB 三种前置库都能逐位还原；否则列出不能保存它的"
        "前置库及其错误。控制字符和全角空格显示为 `\\u3000`。错误信息与程序输出一致，为英文。"
    ),
    heading="来自 {}",
    columns=("类型", "写入", "到达", "可保存于"),
    refused="该处根本无法写入",
    all_sinks="全部",
    kinds_title="各种值在前置库中的列类型",
    kinds_columns=("种类", "SQLite", "PostgreSQL", "MariaDB、MySQL"),
)


def page(words: Words, found: Mapping[str, Sequence[Line]], types: Sequence[Mapping[Kind, str]]) -> str:
    """The whole page."""
    parts = [f"# {words.title}", words.twin, words.opening]
    for home, lines in found.items():
        parts += [
            f"## {words.heading.format(home)}",
            _table(words.columns, [_row(words, each) for each in lines]),
        ]
    kinds = [[f"`{kind}`", *(f"`{each[kind]}`" for each in types)] for kind in Kind]
    parts += [f"## {words.kinds_title}", _table(words.kinds_columns, kinds)]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(words: Words, line: Line) -> list[str]:
    case = line.case
    charset = f" (charsets: {case.charset})" if case.charset else ""
    return [_code(case.type) + charset, _code(case.value), _arrived(words, line), _held(words, line)]


def _arrived(words: Words, line: Line) -> str:
    ways: dict[str, list[str]] = {}
    for way, arrival in line.arrivals.items():
        ways.setdefault(_said(words, arrival), []).append(way)
    if len(ways) == 1:
        return next(iter(ways))
    return "<br>".join(f"{', '.join(names)}: {said}" for said, names in ways.items())


def _said(words: Words, arrival: Arrival) -> str:
    if arrival.error == REFUSED:
        return words.refused
    if arrival.error:
        return f"**{_safe(arrival.error)}**"
    return f"{arrival.kind} {_code(arrival.text)}"


def _held(words: Words, line: Line) -> str:
    if all(arrival.error for arrival in line.arrivals.values()):
        return ""
    if not line.unheld:
        return words.all_sinks
    return "<br>".join(f"{SINK_NAMES[sink]}: **{_safe(said)}**" for sink, said in line.unheld.items())


def _code(text: str) -> str:
    short = text if len(text) <= MOST else f"{text[:MOST]}…"
    return f"`{_safe(short)}`"


def _safe(text: str) -> str:
    shown = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
    return shown.replace("|", "\\|")
