"""Being a service: what systemd is told, and what signals mean."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Final

import structlog

STATUS_CHARACTERS: Final = 500
_log = structlog.get_logger()


class Notifier:
    """Tells systemd how we are; says nothing, successfully, where nobody listens."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often ``alive`` should be said (half the limit), or None when systemd does not watch us."""
        limit_us = os.environ.get("WATCHDOG_USEC", "")
        meant = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        return int(limit_us) / 2_000_000 if limit_us.isdigit() and meant and int(limit_us) else None

    def ready(self, status: str = "") -> bool:
        """Started, or finished reloading."""
        return self._send("READY=1", *_status(status))

    def status(self, sentence: str) -> bool:
        """One sentence for ``systemctl status``."""
        return self._send(*_status(sentence))

    def alive(self) -> bool:
        """The watchdog's food."""
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        """Reading the settings anew; ``ready`` ends it."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> bool:
        """Going down on purpose."""
        return self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> bool:
        if not self._address:
            return False
        # A leading @ stands for the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.sendto("\n".join(lines).encode(errors="replace"), address)
        except OSError:
            return False
        return True


def stop_on_signals(stop: threading.Event, reload: Callable[[], None] | None = None) -> None:
    """SIGTERM or SIGINT sets *stop*, the second one exits at once; SIGHUP calls *reload*. For the main thread, once.

    The handlers only queue: setting an event inside one can wait for ever for a lock that the interrupted code holds.
    """
    arrived: SimpleQueue[int] = SimpleQueue()
    stopping: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if stopping:
            os._exit(128 + number)
        stopping.append(number)
        arrived.put(number)

    def hang_up(number: int, _frame: FrameType | None) -> None:
        arrived.put(number)

    def obey() -> None:
        while True:
            if (number := arrived.get()) != signal.SIGHUP:
                _log.info("stop_requested", signal=signal.Signals(number).name)
                stop.set()
            elif reload is not None:
                _reload(reload)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if reload is not None:
        signal.signal(signal.SIGHUP, hang_up)
    threading.Thread(target=obey, name="signals", daemon=True).start()


def _reload(reload: Callable[[], None]) -> None:
    try:
        reload()
    except Exception:  # noqa: BLE001 - whatever it was, it is logged
        # The old settings stay in force; a bad file must not end a running node.
        _log.exception("reload_failed")


def _status(sentence: str) -> tuple[str, ...]:
    text = " ".join(sentence.split())[:STATUS_CHARACTERS]
    return (f"STATUS={text}",) if text else ()
