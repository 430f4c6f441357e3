"""What commands print: tables for people, JSON for programs, one line for a mistake."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import typer

from proto.errors import ExchangeError

REFUSED: Final = 1
NOT_UNDERSTOOD: Final = 2
_NOT_UNDERSTOOD_CODES: Final = frozenset({"SETTINGS", "SECRET"})

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


def clean(text: str, keep: str = "") -> str:
    """*text* without anything that could move the cursor or fake a line."""
    from proto.process.logs import escape

    return escape(text, keep)


def say(text: str) -> None:
    """One line to standard output; what came from elsewhere cannot move the cursor."""
    sys.stdout.write(clean(text, keep="\n") + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """One JSON document to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """A table for :func:`show`."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def show(made: Any) -> None:
    """Print a table; wide when nobody looks, so that no line is broken in a pipe."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 240, highlight=False).print(made)


@contextmanager
def waiting(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """A bar for people who wait at a terminal, gone at the end; gives what moves it on. Without *total*: how long it has been."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    is_unseen = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_unseen) as progress:
        task = progress.add_task(what, total=total)
        yield partial(progress.advance, task)


def fail(error: ExchangeError) -> int:
    """Print *error* as one line; returns the exit code that goes with it."""
    sys.stderr.write(clean(str(error), keep="\n") + "\n")
    return NOT_UNDERSTOOD if error.code in _NOT_UNDERSTOOD_CODES else REFUSED


def whoami() -> str:
    """Who runs this command, for the audit log."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def moment(at_us: int) -> str:
    """A point in time, or a dash for none."""
    return f"{datetime.fromtimestamp(at_us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC" if at_us else "–"
