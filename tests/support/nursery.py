"""Processes of ours that are born with everything loaded.

A start of a daemon or command is a second of loading and little else, and the tests start a few thousand. So one process
for each program loads it once, and forks whenever it is told to: what comes out is a process of its own, with its own
arguments, environment, files, signals and end, that runs the same entry point. Nothing of it has run before the fork.
Tests that are about starting are marked ``cold`` and start programs as people do.

``python -m tests.support.nursery exchange-agent`` is such a process; it hears of births through the socket that is its
standard input, and ends with whoever began it, its children first.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from demo.system import Executing, Process

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {"exchange-agent": "agent", "exchange-central": "central"}


@dataclass(eq=False)
class Born:
    """A process of the nursery's, used like one of :class:`subprocess.Popen`."""

    args: tuple[str, ...]
    pid: int
    _end: IO[bytes]
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code when it has ended. Raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """As a power cut would."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._end, selectors.EVENT_READ)
                if selector.select(timeout):
                    self.returncode = int(self._end.readline() or -signal.SIGKILL)
                    self._end.close()
        return self.returncode


@dataclass(eq=False)
class Nursery:
    """What loads one program and forks."""

    program: str
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _ours: socket.socket | None = None

    def start(self, args: tuple[str, ...], stdout: IO[bytes], stderr: IO[bytes]) -> Born:
        """A new process; what it says goes where it is told."""
        told = {"argv": args, "cwd": str(Path.cwd()), "environment": dict(os.environ)}
        with self._turn:
            if self._ours is None:
                self._ours = self._begin()
            end, theirs = os.pipe()
            self._ours.sendall(b"%8d" % len(words := json.dumps(told).encode()))
            socket.send_fds(self._ours, [words], [stdout.fileno(), stderr.fileno(), theirs])
            os.close(theirs)
        said = os.fdopen(end, "rb", buffering=0)
        return Born(args, int(said.readline()), said)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            line = [sys.executable, "-m", "tests.support.nursery", self.program]
            process = subprocess.Popen(line, stdin=theirs.fileno(), cwd=ROOT)

        def close() -> None:
            ours.close()
            process.wait()

        atexit.register(close)
        return ours


class Nurseries:
    """Starts our two programs from their nurseries; used like :class:`demo.system.Executing`."""

    def __init__(self) -> None:
        self._by_name = {name: Nursery(name) for name in PACKAGES}

    def start(self, args: tuple[str, ...], stdout: IO[bytes], stderr: IO[bytes]) -> Process:
        """A new process; one of another program is started as usual."""
        nursery = self._by_name.get(Path(args[0]).name)
        return nursery.start(args, stdout, stderr) if nursery else Executing().start(args, stdout, stderr)


def _load(package: str) -> Callable[[], None]:
    """Everything a program may need, without running any of it; its entry point."""
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for each in (
        "alembic.command",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.mysql",
        "replica.sqlite",
    ):
        importlib.import_module(each)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError(f"loading {package} starts threads, which do not survive a fork")
    gc.collect()
    gc.freeze()
    entry: Callable[[], None] = importlib.import_module(f"{package}.cli").main
    return entry


def _wait_for_births(orders: socket.socket) -> Mapping[str, Any]:
    """Fork when told; returns in the child, with what it was told."""
    ends: dict[int, int] = {}
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _report(ends)
            if orders not in ready:
                continue
            order = _next(orders)
            if order is None:
                _end(ends)
            told, files = order
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for mine in (woken, wakes, orders):
                    mine.close()
                for end in (*ends.values(), files[2]):
                    os.close(end)
                _become(told, files)
                return told
            os.close(files[0])
            os.close(files[1])
            ends[pid] = files[2]
            _say(files[2], pid)


def _next(orders: socket.socket) -> tuple[Mapping[str, Any], list[int]] | None:
    head = orders.recv(8, socket.MSG_WAITALL)
    if not head:
        return None
    words, files, _, _ = socket.recv_fds(orders, int(head), 3)
    while len(words) < int(head):
        words += orders.recv(int(head) - len(words))
    return json.loads(words), files


def _report(ends: dict[int, int]) -> None:
    """Tell of everybody who ended."""
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        end = ends.pop(pid)
        _say(end, os.waitstatus_to_exitcode(status))
        os.close(end)


def _say(where: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(where, b"%d\n" % number)


def _end(ends: dict[int, int]) -> NoReturn:
    for pid in ends:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.exit(0)


def _become(told: Mapping[str, Any], files: list[int]) -> None:
    """Be a process that was just started."""
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, file in enumerate(files[:2], start=1):
        os.dup2(file, number)
        os.close(file)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = list(told["argv"])
    sys.modules["__main__"].__package__ = None  # or its usage would speak of a module of ours


if __name__ == "__main__":
    run = _load(PACKAGES[sys.argv[1]])
    _wait_for_births(socket.socket(fileno=os.dup(0)))
    run()
