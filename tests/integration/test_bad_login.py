"""A login that fails: what time heals is told apart from what a person must mend, even when the server changes its mind."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.sources.postgresql.connection import connect
from proto.errors import Credential, Transient

STARTING = ("57P03", "the database system is starting up")
ZH_STARTING = ("57P03", "数据库系统启动中")
WRONG = ("28P01", 'password authentication failed for user "reader"')


@contextmanager
def doorkeeper(*answers: tuple[str, str]) -> Iterator[str]:
    """A server that turns everybody away, each with the next answer, and from then on with the last one."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def keep() -> None:
            for number in range(100):
                try:
                    visitor, _ = door.accept()
                except OSError:
                    return
                with visitor:
                    visitor.recv(4096)
                    code, message = answers[min(number, len(answers) - 1)]
                    fields = f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode()
                    visitor.sendall(b"E" + (len(fields) + 4).to_bytes(4) + fields)

        threading.Thread(target=keep, daemon=True).start()
        host, port = door.getsockname()
        yield f"host={host} port={port} user=reader password=x dbname=hr sslmode=disable gssencmode=disable"


@pytest.mark.parametrize("said", [STARTING, ZH_STARTING], ids=["english", "chinese"])
def test_a_server_that_had_come_up_when_it_was_asked_again(said):
    """It was starting when it refused us: not our password's fault, and no reason to wait for a person."""
    with doorkeeper(said, WRONG) as dsn, pytest.raises(Transient) as failed:
        connect(dsn, "hr")

    assert failed.value.fix


def test_a_server_that_swallows_packets_stops_nobody_else():
    """Whoever waits for it waits alone: the other threads of the agent go on."""
    ticks, over = [time.monotonic()], threading.Event()

    def tick() -> None:
        while not over.wait(0.01):
            ticks.append(time.monotonic())

    with socket.create_server(("127.0.0.1", 0)) as hole:
        threading.Thread(target=tick, daemon=True).start()
        dsn = f"host=127.0.0.1 port={hole.getsockname()[1]} sslmode=disable gssencmode=disable connect_timeout=2"
        with pytest.raises(Transient):
            connect(dsn, "hr")
        over.set()

    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) < 1.0


def test_a_server_that_refuses_us():
    """The password is at fault, and the one line says what to do."""
    with doorkeeper(WRONG) as dsn, pytest.raises(Credential) as failed:
        connect(dsn, "hr")

    assert failed.value.fix and "\n" not in str(failed.value)
