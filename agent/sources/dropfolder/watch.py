"""When a file is whole, and what wakes us up: the system's word about changes is welcome and never needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from agent.sources.dropfolder.folder import Look

_TELLING: Final = frozenset({"created", "modified", "moved", "closed"})
"""Not ``opened`` and ``closed_no_write``: our own looking would wake us up for ever."""


class Settling:
    """Which files have not changed for long enough."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since: dict[str, tuple[Look, float]] = {}

    def ripe(self, looks: Mapping[str, Look], now_s: float) -> list[str]:
        """The names that count now, those that settled first before others, then by name."""
        known = self._since
        self._since = {
            name: known[name] if name in known and known[name][0] == look else (look, now_s)
            for name, look in looks.items()
        }
        ripe = [(since, name) for name, (_, since) in self._since.items() if now_s - since >= self._settle_s]
        return [name for _, name in sorted(ripe)]

    def again(self, name: str) -> None:
        """The file is being written after all: count from now on."""
        self._since.pop(name, None)

    def wait_s(self, now_s: float) -> float | None:
        """How long until the next one may count; None when none waits."""
        waits = [max(0.0, since + self._settle_s - now_s) for _, since in self._since.values()]
        return min(waits) if waits else None


class Watch(FileSystemEventHandler):
    """Rings when something happens in the folder."""

    def __init__(self, path: Path, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._observer: Any = Observer()
        self._observer.schedule(self, str(path), recursive=False)
        # Without it (the system's watches are used up, a share that tells nothing) looking now and then still works.
        with suppress(OSError):
            self._observer.start()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Something happened."""
        if event.event_type in _TELLING:
            self._ring()

    def close(self) -> None:
        """Ring no more. Its threads take a moment to end, for which nobody has to wait."""
        if self._observer.is_alive():
            threading.Thread(target=self._observer.stop, name="watch-ends", daemon=True).start()
