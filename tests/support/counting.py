"""How often a database was asked: a bound that does not depend on how busy the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event


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
