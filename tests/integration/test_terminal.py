"""Status in a real terminal: Chinese names stand in columns, nothing is wider than the screen, commands can be copied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import pytest
from typer.main import get_command

from agent.cli import app as agent_app
from agent.local import LocalServer
from central.cli.app import app as central_app
from demo.system import attempt, command
from proto.v1 import local_pb2, node_pb2
from tests.support.terminal import shown

AGENT = command("exchange-agent")
NAMES = ("person", "迁移登记", "户籍与人口基本信息登记表", "household")


class Watched:
    """A node in the middle of a first copy, with one table held."""

    def status(self) -> local_pb2.AgentStatus:
        """As a real one says it."""
        stream = node_pb2.StreamReport(
            stream="population/hr",
            state="SNAPSHOT",
            sentence="copying 迁移登记: 40 %, 3 min left; held: household",
            rows=1_234_567,
            rows_per_s=5000,
            captured_seq=4711,
            acknowledged_seq=4700,
            waiting_batches=11,
            waiting_bytes=123_456,
        )
        tables = [node_pb2.TableReport(table=name, state="RUNNING", rows_copied=90_000) for name in NAMES]
        tables[1].state, tables[1].rows_expected = "SNAPSHOT", 200_000
        tables[3].state, tables[3].sentence = "SCHEMA_HOLD", "column 地址 changed from text to integer"
        tables[3].fix = "exchange-agent snapshot household --source hr"
        stream.tables.extend(tables)
        return local_pb2.AgentStatus(node="population", link_state="RUNNING", streams=[stream])


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Settings whose socket somebody answers on."""
    path = tmp_path / "agent.yaml"
    path.write_text(f"socket: {tmp_path / 'agent.sock'}\n")
    server = LocalServer(tmp_path / "agent.sock", Watched())  # type: ignore[arg-type]
    server.start()
    yield path
    server.stop()


def cells(text: str) -> int:
    """How many columns of a terminal it takes."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


@pytest.mark.parametrize("columns", [80, 120])
def test_status_stands_in_columns(config, columns):
    """At the width of an old terminal and of a new one."""
    lines = shown(columns, AGENT, "status", "-c", str(config))

    assert max(map(cells, lines)) <= columns, "\n".join(lines)
    rows = [line for line in lines if "RUNNING " in line or "SNAPSHOT " in line or "SCHEMA_HOLD " in line]
    rows = [line for line in rows if not line.startswith(("central", "population"))]
    starts = {cells(line[: line.index(word)]) for line in rows for word in STATES if f" {word} " in line}
    assert (len(rows), len(starts)) == (len(NAMES), 1), "\n".join(lines)
    assert "  → exchange-agent snapshot household --source hr" in lines


STATES = ("RUNNING", "SNAPSHOT", "SCHEMA_HOLD")


def test_status_for_programs_is_one_document(config):
    """Every field there, also those that are nothing; names are not escaped."""
    done = attempt(AGENT, "status", "--json", "-c", str(config))
    stream = json.loads(done.stdout)["streams"][0]

    assert "迁移登记" in done.stdout
    assert (stream["state"], stream["waiting_batches"], stream["push_lag_us"]) == ("SNAPSHOT", "11", "0")


def helps(program: str, group: Any, *way: str) -> Iterator[tuple[str, str]]:
    """Every help page of a command, from the top down, without a process for each of a hundred and fifty."""
    with redirect_stdout(StringIO()) as page:
        group.main([*way, "--help"], prog_name=program, standalone_mode=False)
    yield " ".join((program, *way)), page.getvalue()
    for listed in lists_of_commands(page.getvalue()):
        for name in listed:
            yield from helps(program, group, *way, name)


def lists_of_commands(page: str) -> list[list[str]]:
    """The names under each heading that begins with "Commands"."""
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("Commands")]
    # What stands further in is the rest of a line that was too long.
    return [[line.split()[0] for line in block[1:] if not line.startswith("   ")] for block in blocks]


@pytest.mark.parametrize(
    ("program", "app"), [("exchange-agent", agent_app), ("exchange-central", central_app)]
)
def test_every_help_begins_with_one_sentence(program, app):
    """Each page says what the command does, and each option what it is for.

    None is longer than a screen, but for those that divide their commands: there each heading has few enough to read.
    """
    pages = dict(helps(program, get_command(app)))

    assert len(pages) > 10
    assert pages[program] == attempt(command(program), "--help").stdout
    for name, page in pages.items():
        first = page.split("\n\n")[1]
        assert first.strip()[0].isupper() and first.rstrip().endswith("."), f"{name}: {first}"
        lists = lists_of_commands(page)
        assert len(page.splitlines()) < (60 if len(lists) > 1 else 45), name
        assert len(lists) < 2 or max(map(len, lists)) <= 10, name
        options = page.partition("Options:")[2].partition("\n\n")[0].splitlines()[1:]
        bare = [line for line in options if line.startswith("  -") and len(line.split("  ")) < 3]
        assert not [line for line in bare if "[default" in line], f"{name}: {bare}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("exchange-agent", "statsu"), "status"),
        (("exchange-agent", "status", "--wach"), "--watch"),
        (("exchange-central", "stream", "relase"), "release"),
    ],
)
def test_what_is_misspelt_is_guessed(words, meant):
    """Exit code 2, and the nearest that there is."""
    done = attempt(command(words[0]), *words[1:])

    assert done.returncode == 2
    assert meant in done.stderr
