"""The named states of streams and tables: the same words in logs, CLI, status RPC and docs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What a stream or a table is doing; always exactly one."""

    RUNNING = "RUNNING"
    SNAPSHOT = "SNAPSHOT"
    IDLE = "IDLE"
    BACKING_OFF = "BACKING_OFF"
    BLOCKED_DISK = "BLOCKED_DISK"
    QUARANTINE = "QUARANTINE"
    SCHEMA_HOLD = "SCHEMA_HOLD"
    FENCED = "FENCED"
    CREDENTIAL = "CREDENTIAL"
    GAP = "GAP"
    DIVERGED = "DIVERGED"
    PAUSED = "PAUSED"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a state says to a person."""

    sentence: str
    heals: bool
    """True when the state ends without a person once its cause is gone."""


MEANING: Final[dict[State, Meaning]] = {
    State.RUNNING: Meaning("changes are flowing", True),
    State.SNAPSHOT: Meaning("the first copy is under way, changes flow beside it", True),
    State.IDLE: Meaning("everything is delivered; a marker went all the way round", True),
    State.BACKING_OFF: Meaning("a call failed and is tried again by itself", True),
    State.BLOCKED_DISK: Meaning("the disk is nearly full; capture waits, sending goes on", True),
    State.QUARANTINE: Meaning("rows cannot be applied; they are kept and shown", False),
    State.SCHEMA_HOLD: Meaning("the table's structure changed in a way that needs a decision", False),
    State.FENCED: Meaning("another process works under the same identity", False),
    State.CREDENTIAL: Meaning("a password or certificate is refused", True),
    State.GAP: Meaning(
        "the source no longer has changes that were not read; tables must be copied afresh", False
    ),
    State.DIVERGED: Meaning(
        "the two ends disagree about the past; nothing moves until a person decides", False
    ),
    State.PAUSED: Meaning("stopped on request", False),
}
