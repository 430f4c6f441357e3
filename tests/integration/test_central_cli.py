"""``exchange-central`` as people use it: real processes, real exit codes, one line for every mistake."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.server import free_port
from demo.system import STARTED, Process, attempt, command
from proto.channel import TlsFiles
from tests.support.central import PEOPLE, Chain, NodeClient, batch_of, eventually, inserts

CENTRAL = command("exchange-central")
STOP_WITHIN_S = 10


class Commands:
    """The command line on one settings file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "central.yaml"

    def run(self, *words: str, config: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        tail = ["-c", str(self.config)] if config else []
        return attempt(CENTRAL, *words, *tail)

    def ok(self, *words: str, config: bool = True) -> str:
        """Run one command that must succeed."""
        done = self.run(*words, config=config)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        """What a command says to programs."""
        return json.loads(self.ok(*words, "--json"))

    def refused(self, *words: str, config: bool = True, code: int = 1) -> str:
        """Run one command that must fail; its one line."""
        done = self.run(*words, config=config)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    def serve(self) -> Process:
        """Start the daemon and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            process = STARTED.by.start((CENTRAL, "serve", "-c", str(self.config)), log, log)
        eventually(lambda: self.run("status").returncode, 0)
        return process


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """A freshly initialised central."""
    made = Commands(tmp_path / "central")
    made.ok(
        "init",
        "--dir",
        str(made.folder),
        "--port",
        str(made.port),
        "--organisation",
        "市大数据局",
        config=False,
    )
    config = made.config.read_text().replace("least_free_bytes: 2147483648", "least_free_bytes: 0")
    made.config.write_text(config.replace("heartbeat_s: 10", "heartbeat_s: 1"))
    return made


@pytest.fixture
def served(commands: Commands) -> Iterator[Commands]:
    """The same, running."""
    process = commands.serve()
    yield commands
    process.kill()
    process.wait()


def node_of(commands: Commands, name: str = "hr-node") -> NodeClient:
    """A node with the files that ``node add`` wrote."""
    out = commands.folder / name
    commands.ok("node", "add", name, "--out", str(out))
    tls = TlsFiles(out / "ca.pem", out / "node.pem", out / "node.key")
    return NodeClient(name, f"127.0.0.1:{commands.port}", tls)


def test_init_writes_what_check_accepts_and_overwrites_nothing(commands: Commands) -> None:
    """Private files, a commented configuration, and a second init that changes nothing."""
    assert "FAIL" not in commands.ok("check")
    assert all((path.stat().st_mode & 0o077) == 0 for path in (commands.folder / "tls").iterdir())
    before = commands.config.read_bytes()
    assert "not overwritten" in commands.refused("init", "--dir", str(commands.folder), config=False)
    assert commands.config.read_bytes() == before


def test_check_names_what_is_missing_and_how_to_mend_it(commands: Commands) -> None:
    """Exit code 1, one line per failure, and all of them at once."""
    (commands.folder / "tls" / "server.key").write_text("noise")
    commands.config.write_text(commands.config.read_text().replace('"localhost:', '"elsewhere.example:'))
    done = commands.run("check")
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1
    assert len(failed) == 2
    assert "server.key" in failed[0]
    assert "elsewhere.example" in failed[1]
    assert [each["name"] for each in json.loads(commands.run("check", "--json").stdout) if not each["passed"]]


def test_a_misspelt_setting_is_named_with_line_and_column(commands: Commands) -> None:
    """Exit code 2 from every command that reads the settings."""
    commands.config.write_text(commands.config.read_text().replace("window_batches", "window_batchs"))
    line = commands.refused("check", code=2)
    assert "window_batchs" in line
    assert "did you mean window_batches" in line
    assert f"{commands.config}:" in line
    commands.refused("serve", code=2)


def test_nodes_are_added_listed_shown_and_revoked(commands: Commands) -> None:
    """Without a running central."""
    out = commands.folder / "hr"
    said = commands.ok("node", "add", "hr-node", "--out", str(out))
    assert "next:" in said
    assert sorted(path.name for path in out.iterdir()) == ["ca.pem", "node.key", "node.pem"]
    assert [each["node"] for each in commands.json("node", "list")] == ["hr-node"]
    assert commands.json("node", "show", "hr-node")["certificates"][0]["fingerprint"] in said
    assert "hr-node" in commands.ok("node", "list")
    assert "not overwritten" in commands.refused("node", "add", "hr-node", "--out", str(out))
    assert "not a name" in commands.refused("node", "add", "HR node")
    assert "no such node" in commands.refused("node", "show", "nobody")
    commands.ok("node", "revoke", "hr-node", "--reason", "lost")
    assert commands.json("node", "show", "hr-node")["revoked"]


def test_a_third_certificate_is_refused_and_leaves_no_files(commands: Commands) -> None:
    """A key that opens nothing must not lie around."""
    for number in (1, 2):
        commands.ok("node", "add", "hr-node", "--out", str(commands.folder / f"hr{number}"))
    third = commands.folder / "hr3"
    assert "certificates" in commands.refused("node", "add", "hr-node", "--out", str(third))
    assert not list(third.iterdir())


def test_a_certificate_issued_elsewhere_is_registered_by_its_name(commands: Commands) -> None:
    """The platform may have an authority of its own."""
    from central.ca import make_authority

    issued = make_authority("department CA").issue_node("hr-node")
    issued.write(commands.folder / "own.pem", commands.folder / "own.key")
    given = ("--certificate", str(commands.folder / "own.pem"))
    assert issued.identity.fingerprint in commands.ok("node", "add", "hr-node", *given)
    assert "urn:exchange:node:hr-node" in commands.refused("node", "add", "tax-node", *given)


@pytest.mark.cold
def test_status_shows_a_node_at_work(served: Commands) -> None:
    """Table, JSON and explanation speak of the same stream."""
    node, chain = node_of(served), Chain("hr-node/hr")
    with node.push(chain) as push:
        push.send(*chain.events(5))
        push.until_applied(5)
    node.close()
    status = served.json("status")
    stream = status["nodes"][0]["streams"][0]
    assert (stream["stream"], stream["accepted_seq"], stream["applied_seq"]) == ("hr-node/hr", "5", "5")
    assert "hr-node/hr" in served.ok("status")
    assert "everything up to 5 is visible" in served.ok("explain", "hr-node")
    assert served.json("explain", "hr-node")["lines"]
    assert "no such node" in served.refused("explain", "nobody")
    assert served.json("stream", "list")[0]["applied_seq"] == 5


def test_a_held_table_is_listed_with_what_to_do_and_retried(served: Commands) -> None:
    """In the list of streams, in status and explanation, for people and for programs; then its retry and a skip (SD11.3)."""
    node, chain = node_of(served), Chain("hr-node/hr")
    other_key = replace(PEOPLE, key=("name",))
    with node.push(chain) as push:
        push.send(
            *chain.add(batch_of(inserts([(1, "王")], PEOPLE)), batch_of(inserts([(2, "李")], other_key)))
        )
        push.send(*chain.add(batch_of(inserts([(3, "赵")], PEOPLE))))
        push.until_applied(3)
    node.close()
    [listed] = served.json("stream", "list")
    [table] = listed["tables"]
    assert (listed["state"], listed["applied_seq"]) == ("RUNNING", 3)
    assert (table["table"], table["state"], table["held_seq"], table["after"]["seq"]) == (
        "people",
        "SCHEMA_HOLD",
        2,
        1,
    )
    [shown] = served.json("status")["nodes"][0]["streams"][0]["held"]
    assert (shown["sentence"], shown["fix"]) == (table["sentence"], table["fix"])
    for words in (("status",), ("explain", "hr-node")):
        assert "hr-node/hr table people: SCHEMA_HOLD, held since" in served.ok(*words).replace("\n", " ")
    assert "people" in served.ok("stream", "list")

    assert "table people of hr-node/hr: what waits" in served.ok("stream", "retry", "hr-node/hr", "people")
    eventually(lambda: _events(served)[-1], "table_held")
    assert _events(served).count("table_retried") == 1
    assert "is not held" in served.refused("stream", "retry", "hr-node/hr", "houses")
    batch = ("stream", "skip", "hr-node/hr", "2", table["held_digest"][:8], "--reason", "已知变更")
    assert "--table people" in served.refused(*batch)
    assert "exchange-agent snapshot people" in served.ok(*batch, "--table", "people")
    eventually(lambda: served.json("stream", "list")[0]["tables"], [])
    assert _events(served)[-2:] == ["table_skipped", "table_let_go"]


def _events(served: Commands) -> list[str]:
    found = served.json("audit", "show", "hr-node/hr")
    return [each["event"] for each in found if each["event"].startswith("table_")]


def test_watching_goes_on_until_interrupted(served: Commands) -> None:
    """One JSON document per look."""
    line = [
        sys.executable,
        "-m",
        "central",
        "status",
        "--watch",
        "--json",
        "--every",
        "0.5",
        "-c",
        str(served.config),
    ]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_WITHIN_S) == 0
    assert looks == [{"nodes": []}] * 3


def test_status_without_a_running_central_says_so(commands: Commands) -> None:
    """One line, and what to do."""
    assert "serve" in commands.refused("status")


def test_a_second_central_on_the_same_address_is_told(served: Commands) -> None:
    """It neither shares the port nor dies with a traceback."""
    done = served.run("serve")
    assert done.returncode == 1
    assert "cannot listen there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.cold
def test_sigterm_ends_it_in_time_and_kill_loses_nothing(commands: Commands) -> None:
    """Killed between batches and started again: every row is there once."""
    process = commands.serve()
    node, chain = node_of(commands), Chain("hr-node/hr")
    sent = Chain("hr-node/hr")
    chain.events(200, rows=1)
    with node.push(sent) as push:
        push.send(*chain.batches[:150])
        push.until_accepted(10)
        process.kill()
        process.wait()
        push.fate()
    process = commands.serve()
    with node.push(chain) as push:
        assert push.welcome is not None
        push.send(*chain.batches[push.welcome.head.seq :])
        push.until_applied(200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_WITHIN_S) == 0
        push.fate()
    node.close()
    assert commands.json("stream", "list")[0]["rows"] == 200
