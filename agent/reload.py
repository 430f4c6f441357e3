"""New settings without a restart: the whole file is checked first, then what may change while running does.

Everything else is refused by name and keeps its old value, and a file with a fault changes nothing at all (P9).
Differences are told as places in the file, never as values: a value may be a secret.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from agent.settings import Settings
from agent.sources.kinds import SourceSettings

DEBOUNCE_S: Final = 0.3
"""Editors save in several steps; the file is read once they are done."""
_HOT_CENTRAL: Final = ("heartbeat_s",)
_HOT_EXCHANGE: Final = ("keep_days",)
_COLD_SOURCE: Final = ("kind", "slot", "publication")
_APPEARED: Final = frozenset({"created", "moved"})
_WRITTEN: Final = frozenset({"modified", "closed"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a new file."""

    settings: Settings
    """The settings that are in force from now on."""
    applied: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For the person who asked."""
        parts = [f"applied: {', '.join(self.applied)}"] if self.applied else []
        if self.refused:
            parts.append(f"needs a restart: {', '.join(self.refused)}")
        return "; ".join(parts) or "nothing changed"


def plan(old: Settings, new: Settings) -> Plan:
    """Which changes of *new* take effect now, and which wait for a restart."""
    wanted = {source.name: source for source in new.sources}
    in_force = new.model_copy(
        update={
            "node": old.node,
            "socket": old.socket,
            "imports": old.imports,
            "central": _taking(old.central, new.central, _HOT_CENTRAL),
            "exchange": _taking(old.exchange, new.exchange, _HOT_EXCHANGE),
            "sources": tuple(_source(source, wanted.get(source.name, source)) for source in old.sources),
        }
    )
    return Plan(in_force, tuple(differences(old, in_force)), tuple(differences(in_force, new)))


def differences(old: object, new: object, place: str = "") -> Iterator[str]:
    """The places where two settings differ, most precise first; values are never told."""
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from differences(
                getattr(old, name), getattr(new, name), f"{place}.{name}" if place else name
            )
    elif _named(old) and _named(new):
        before, after = _by_name(old), _by_name(new)
        for name in [*before, *(name for name in after if name not in before)]:
            if name not in after or name not in before:
                yield f"{place}.{name}"
            else:
                yield from differences(before[name], after[name], f"{place}.{name}")
    elif old != new:
        yield place


class SettingsWatch:
    """Calls *changed* when the content of the file is another one, however it was saved."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path, self._changed = path.absolute(), changed
        self._digest = self._read()
        self._soon: threading.Timer | None = None
        self._lock = threading.Lock()
        self._observer = Observer()

    def start(self) -> None:
        """Begin; the directory is watched, because an editor puts a new file in the place of the old one."""
        self._observer.schedule(_Touched(self._path.name, self._touch), str(self._path.parent))
        self._observer.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._observer.stop()
        with self._lock:
            if self._soon is not None:
                self._soon.cancel()

    def _touch(self) -> None:
        with self._lock:
            if self._soon is not None:
                self._soon.cancel()
            self._soon = threading.Timer(DEBOUNCE_S, self._look)
            self._soon.daemon = True
            self._soon.start()

    def _look(self) -> None:
        digest = self._read()
        # Reading the file is an event as well; only another content counts.
        if digest is not None and digest != self._digest:
            self._digest = digest
            self._changed()

    def _read(self) -> bytes | None:
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return None


class _Touched(FileSystemEventHandler):
    def __init__(self, name: str, touch: Callable[[], None]) -> None:
        self._name, self._touch = name, touch

    def on_any_event(self, event: FileSystemEvent) -> None:
        names = {Path(str(path)).name for path in (event.src_path, event.dest_path) if path}
        # Under another name only appearing counts: that is how a symbolic link is swapped. A database in the same
        # directory is written all the time.
        if event.event_type in _APPEARED or (event.event_type in _WRITTEN and self._name in names):
            self._touch()


def _taking(old: BaseModel, new: BaseModel, hot: tuple[str, ...]) -> BaseModel:
    return old.model_copy(update={name: getattr(new, name) for name in hot})


def _source(old: SourceSettings, new: SourceSettings) -> SourceSettings:
    if any(getattr(old, name, None) != getattr(new, name, None) for name in _COLD_SOURCE):
        return old
    return new


def _named(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, BaseModel) for item in value)


def _by_name(items: Any) -> dict[str, Any]:
    return {getattr(item, "catalogued", "") or item.name: item for item in items}
