"""How often a database was asked: a bound that does not depend on how busy the machine is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event


@dataclass
class Asked:
    """What went to the database."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0

    def like(self, words: str) -> list[str]:
        """The statements that hold *words*."""
        return [each for each in self.statements if words in each]


@contextmanager
def counted(engine: Engine) -> Iterator[Asked]:
    """Every statement and every commit inside; many rows for one statement count once."""
    asked = Asked()

    def statement(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        asked.statements.append(text)

    def commit(_connection: Any) -> None:
        asked.commits += 1

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


@dataclass(frozen=True)
class Cost:
    """What PostgreSQL did for one statement."""

    statement: str
    nodes: list[tuple[str, str, int]]
    """Every scan of a table: how, which, and the rows it looked at."""

    @property
    def rows(self) -> int:
        """Looked at by all of them."""
        return sum(rows for _, _, rows in self.nodes)


def costs(engine: Engine, act: Callable[[], Any]) -> list[Cost]:
    """Do *act*, then explain every query of it with the values that it had."""
    asked: list[tuple[str, Any]] = []

    def statement(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        if text.lstrip().startswith(("SELECT", "WITH")):
            asked.append((text, values))

    event.listen(engine, "before_cursor_execute", statement)
    try:
        act()
    finally:
        event.remove(engine, "before_cursor_execute", statement)
    with engine.connect() as connection:
        return [_cost(connection, text, values) for text, values in asked]


def _cost(connection: Connection, text: str, values: Any) -> Cost:
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).scalar_one()
    return Cost(text, list(_scans(explained[0]["Plan"])))


def _scans(node: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    if "Relation Name" in node:
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows = round((node["Actual Rows"] + removed) * node["Actual Loops"])
        yield node["Node Type"], node["Relation Name"], rows
    for part in node.get("Plans", ()):
        yield from _scans(part)
