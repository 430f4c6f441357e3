"""What can go wrong, and what the daemon should do about it.

    ExchangeError
    ├── Refused            bad input or configuration: tell the caller, change nothing
    │   ├── NotAdmitted        a certificate without a right to be here
    │   ├── BatchCorrupt       a batch breaks its format, a limit or its digest
    │   ├── FrameCorrupt       bytes that are not a whole number of frames
    │   └── Unforeseen         a bug or a surprise met by one of many, who alone stops for it
    ├── Transient          try again with backoff
    │   └── Busy               the other side is at a limit: come back later
    ├── Halt               park this stream in ``state`` and tell a person what to do
    │   ├── Fenced             another process has this identity
    │   ├── Credential         password or certificate refused
    │   ├── Gap                the source forgot changes that were never read
    │   ├── Diverged           two ends disagree about the past
    │   ├── DiskBlocked        too little room to go on safely
    │   └── Poisoned           a batch cannot be applied here
    └── TableHold          hold one table in ``state``; the others go on
        ├── SchemaHold         its structure changed incompatibly
        └── BadRow             a row cannot be held by the sink

Anything else is a bug: it ends the worker, loudly.
"""

from __future__ import annotations

from traceback import extract_tb
from typing import ClassVar

from proto.states import State


class ExchangeError(Exception):
    """Something went wrong: what, where, and what to do next; never a row value."""

    code: ClassVar[str] = "ERROR"
    is_on_record: bool = False
    """Whoever refused has put it into the log."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        step = f" — {self.fix}" if self.fix else ""
        return f"{self.code}: {place}{self.what}{step}"


def way_out(stream: str) -> str:
    """What ends a disagreement between a node and central: each step in its order, each command as it is typed."""
    node, _, source = stream.partition("/")
    return (
        f"1. find out why, and that no other exchange-agent works as {node}; "
        f"2. at the platform: exchange-central stream release {stream}; "
        f"3. at the node: exchange-agent snapshot --all --source {source}"
    )


class Refused(ExchangeError):
    """Bad input or configuration; nothing was changed."""

    code = "REFUSED"


class NotAdmitted(Refused):
    """A certificate that is unknown, revoked, out of date or another's; its bearer may do nothing here."""

    code = "NOT_ADMITTED"


class BatchCorrupt(Refused):
    """A batch breaks its format, a limit or its digest; it was not taken."""

    code = "BATCH_CORRUPT"


class FrameCorrupt(Refused):
    """Bytes that are not a whole number of well-formed frames."""

    code = "FRAME_CORRUPT"


class Unforeseen(Refused):
    """Something nobody expected, met by one of many: it alone stops. Its words may quote values, so they stay out."""

    code = "UNFORESEEN"

    @classmethod
    def met(cls, error: Exception, where: str) -> Unforeseen:
        """*error* as people may read it."""
        frames = " ".join(f"{each.name}:{each.lineno}" for each in extract_tb(error.__traceback__)[-4:])
        what = f"it failed in an unforeseen way: {type(error).__name__} at {frames}"
        return cls(what, where=where, fix="tell whoever maintains this program")


class Transient(ExchangeError):
    """A failure that time may heal: try again with backoff."""

    code = "TRANSIENT"


class Busy(Transient):
    """The other side is at one of its limits; it asks to come back in *retry_s*, or when we like."""

    code = "BUSY"

    def __init__(self, what: str, *, where: str = "", fix: str = "", retry_s: float = 0.0) -> None:
        super().__init__(what, where=where, fix=fix)
        self.retry_s = retry_s


class Halt(ExchangeError):
    """Park this stream in *state*; only its cause or a person can end it."""

    code = "HALT"
    state: ClassVar[State] = State.PAUSED


class Fenced(Halt):
    """Another process works under the same identity."""

    code = "FENCED"
    state = State.FENCED


class Credential(Halt):
    """A password or certificate is refused or has run out."""

    code = "CREDENTIAL"
    state = State.CREDENTIAL


class Gap(Halt):
    """Changes were lost to us before they were read."""

    code = "GAP"
    state = State.GAP


class Diverged(Halt):
    """Two ends disagree about the past."""

    code = "DIVERGED"
    state = State.DIVERGED


class DiskBlocked(Halt):
    """There is too little room to go on safely."""

    code = "BLOCKED_DISK"
    state = State.BLOCKED_DISK


class Poisoned(Halt):
    """A batch cannot be applied; it is kept, and its stream stops here."""

    code = "QUARANTINE"
    state = State.QUARANTINE


class TableHold(ExchangeError):
    """Hold one *table* in *state*; the others go on."""

    code = "TABLE_HOLD"
    state: ClassVar[State] = State.QUARANTINE

    def __init__(self, table: str, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where or table, fix=fix)
        self.table = table


class SchemaHold(TableHold):
    """The table's structure changed in a way that needs a decision."""

    code = "SCHEMA_HOLD"
    state = State.SCHEMA_HOLD


class BadRow(TableHold):
    """A row cannot be held by the sink."""

    code = "QUARANTINE"
    state = State.QUARANTINE
