"""What the tests' own nursery gives birth to is a process like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import psutil
import pytest

from demo.system import Daemon, Executing, attempt, command
from tests.support.nursery import ROOT, Nurseries

AGENT = command("exchange-agent")
PROGRAM = f"""
import sys
from demo.system import command
from tests.support.nursery import Nurseries
out = open(sys.argv[1], "wb")
born = Nurseries().start(({AGENT!r}, "run", "-c", sys.argv[2]), out, out)
print(born.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "words",
    [("--help",), ("statsu",), ("status", "-c", "没有.yaml"), ("check", "-c", "没有.yaml")],
    ids=" ".join,
)
def test_a_command_says_and_ends_as_from_its_file(words, tmp_path, monkeypatch):
    """The same words on the same channel, the same code, in the same folder."""
    monkeypatch.chdir(tmp_path)
    said = []
    for starter in (Executing(), Nurseries()):
        with (tmp_path / "out").open("w+b") as out, (tmp_path / "errors").open("w+b") as errors:
            code = starter.start((AGENT, *words), out, errors).wait(60)
            out.seek(0), errors.seek(0)
            said.append((code, out.read().decode(), errors.read().decode()))

    assert said[0] == said[1]
    assert attempt(AGENT, *words).returncode == said[0][0]


@pytest.fixture
def waiting(tmp_path) -> Path:
    """Settings of an agent that runs and waits: there is no platform."""
    authority = tmp_path / "central"
    assert attempt(command("exchange-central"), "init", "--dir", str(authority)).returncode == 0
    add = ("node", "add", "n", "--out", str(tmp_path / "n"), "-c", str(authority / "central.yaml"))
    assert attempt(command("exchange-central"), *add).returncode == 0
    told = (
        "--receive-only",
        "--node",
        "n",
        "--central",
        "127.0.0.1:1",
        "--certificates",
        str(tmp_path / "n"),
    )
    where = ("--out", str(tmp_path / "agent.yaml"), "--socket", str(tmp_path / "agent.sock"))
    store = ("--exchange", f"sqlite:///{tmp_path / 'exchange.db'}")
    assert attempt(AGENT, "init", *told, *where, *store).returncode == 0
    return Path(tmp_path, "agent.yaml")


def test_a_daemon_is_stopped_and_killed(waiting, tmp_path):
    """SIGTERM ends it cleanly, kill -9 at once; both are seen."""
    daemon = Daemon((AGENT, "run", "-c", str(waiting)), tmp_path / "log")
    daemon.start()
    until(lambda: "agent_started" in daemon.log.read_text())
    assert daemon.pid != os.getpid()
    assert daemon.stop() == 0
    daemon.start()
    process = daemon.process
    assert process is not None and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL


def test_nobody_outlives_the_tests(waiting, tmp_path):
    """They end with whoever had them born, however that ended."""
    line = [sys.executable, "-c", PROGRAM, str(tmp_path / "log"), str(waiting)]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout is not None
        born = psutil.Process(int(owner.stdout.readline()))
        until(lambda: "agent_started" in (tmp_path / "log").read_text())
        owner.kill()

    until(lambda: not born.is_running() or born.status() == psutil.STATUS_ZOMBIE)


def until(happens) -> None:
    """Wait for it."""
    pause = Event()
    for _ in range(600):
        if happens():
            return
        pause.wait(0.1)
    pytest.fail("it did not happen")
