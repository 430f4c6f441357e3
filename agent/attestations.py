"""What this node signs about its reads, so that central can tell a department that is on time from one that is not.

A statement per table says: everything committed in the business database before this moment has been read. It is made
whether or not central can be reached, and waits for it: a cut way must not make a department late. What waited through
a heartbeat that failed is kept in the exchange database, so that a restart amid a cut loses no proof.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from proto.signing import Signer
from proto.states import State
from proto.v1 import node_pb2

ATTESTATION: Final = "read"
"""The purpose of the signature."""
PACE_US: Final = 30_000_000
"""How often a table is spoken of."""
SEND_AT_ONCE: Final = 500
WAITING: Final = 100_000
"""Some weeks of ten tables, thinned out as below; beyond it the oldest are forgotten."""
THINNED_US: Final = 600_000_000
"""While central cannot be reached, one statement in ten minutes and table is kept, and the newest."""
_READ: Final = frozenset({State.RUNNING, State.IDLE})


class Memory(Protocol):
    """Where statements outlive the process, by number."""

    def recall(self) -> Sequence[tuple[int, bytes]]:
        """All of them, oldest first."""
        ...

    def keep(self, statements: Sequence[tuple[int, bytes]], first: int) -> None:
        """Write down these in the place of what had their numbers, and forget every one before *first*."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """One statement that central has not heard."""

    n: int
    statement: node_pb2.ReadStatement
    is_kept: bool = False
    """Whether it is in the memory as it is here."""


@dataclass(slots=True)
class _Line:
    """What was last said of one table."""

    said_us: int = 0
    rows: int = 0
    """Of its stream, when it was said."""
    anchor_us: int = 0
    """Of the first statement that waits; later ones take the place of the newest until ten minutes have passed."""
    newest: _Waiting | None = None
    """The newest that waits."""


class Attestations:
    """The statements that central has not heard. One thread uses it; *signer* reads the key that the link shows."""

    def __init__(self, signer: Callable[[], Signer]) -> None:
        self._signer = signer
        self.memory: Memory | None = None
        self._is_recalled, self._is_any_kept = False, False
        self._next_n = 1
        self._waiting: deque[_Waiting] = deque(maxlen=WAITING)
        self._lines: dict[tuple[str, str], _Line] = {}
        self._pace_us, self._thinned_us = PACE_US, THINNED_US

    def gather(self, reports: Sequence[node_pb2.StreamReport]) -> None:
        """Make a statement of every table whose time has come; a held table was not read and is left out."""
        for report in reports:
            for table in report.tables:
                line = self._lines.setdefault((report.stream, table.table), _Line())
                read_us = table.read_us or report.read_us
                if table.state in _READ and self._is_time(read_us, line):
                    self._say(report, (table.table, read_us), line)

    def recall(self) -> None:
        """Let what waited before this process began wait again, once. Raises Transient and Halt."""
        if self._is_recalled or self.memory is None:
            return
        found = self.memory.recall()
        self._is_recalled, self._is_any_kept = True, bool(found)
        older = [
            _Waiting(n, node_pb2.ReadStatement.FromString(content), is_kept=True) for n, content in found
        ]
        # Numbers follow on: those of this process, which nobody kept yet, come after.
        self._next_n = found[-1][0] + 1 if found else self._next_n
        for each in self._waiting:
            each.n, self._next_n = self._next_n, self._next_n + 1
        self._waiting = deque((*older, *self._waiting), maxlen=WAITING)
        for each in older:
            line = self._lines.setdefault((each.statement.stream, each.statement.table), _Line())
            line.said_us = max(line.said_us, each.statement.proven_us)

    def keep(self) -> None:
        """Write down what waits, after central could not be reached. Raises Transient and Halt."""
        if self.memory is None or not self._is_recalled:
            return
        fresh = [each for each in self._waiting if not each.is_kept]
        if not fresh and not self._is_any_kept:
            return
        first = self._waiting[0].n if self._waiting else self._next_n
        self.memory.keep([(each.n, each.statement.SerializeToString()) for each in fresh], first)
        for each in fresh:
            each.is_kept = True
        self._is_any_kept = bool(self._waiting)

    def hurry(self, seconds: int) -> None:
        """Speak as often as central needs it for the shortest limit; 0 = as usual, and never more seldom than that."""
        wanted_us = seconds * 1_000_000 if seconds else THINNED_US
        self._pace_us, self._thinned_us = min(PACE_US, wanted_us), min(THINNED_US, wanted_us)

    def next(self) -> list[node_pb2.Attestation]:
        """The oldest statements, signed with the key of now. Raises Credential."""
        if not self._waiting:
            return []
        signer = self._signer()
        chosen = [each.statement.SerializeToString() for each in islice(self._waiting, SEND_AT_ONCE)]
        return [
            node_pb2.Attestation(statement=each, signature=signer.sign(ATTESTATION, each)) for each in chosen
        ]

    def heard(self, count: int) -> None:
        """Central has the oldest *count*. Raises Transient and Halt when the memory could not be told so.

        Then they are said again after a restart, which does no harm.
        """
        for _ in range(count):
            gone = self._waiting.popleft()
            line = self._lines[(gone.statement.stream, gone.statement.table)]
            if line.newest is gone:
                line.newest = None
        if count and self._is_any_kept:
            self.keep()

    @property
    def waiting(self) -> int:
        """How many central has not heard."""
        return len(self._waiting)

    def _is_time(self, read_us: int, line: _Line) -> bool:
        # A read long before the last one: the clock was set back, and what was said by the old one is no measure.
        went_back = 0 < read_us < line.said_us - PACE_US
        return went_back or read_us - line.said_us >= self._pace_us

    def _say(self, report: node_pb2.StreamReport, read: tuple[str, int], line: _Line) -> None:
        table, read_us = read
        statement = node_pb2.ReadStatement(
            stream=report.stream,
            table=table,
            since_us=min(line.said_us, read_us),
            proven_us=read_us,
            rows=max(0, report.rows - line.rows),
            seq=report.captured_seq,
        )
        line.said_us, line.rows = read_us, report.rows
        if line.newest is not None and read_us - line.anchor_us < self._thinned_us:
            before = line.newest.statement
            statement.since_us, statement.rows = before.since_us, statement.rows + before.rows
            line.newest.statement, line.newest.is_kept = statement, False
        else:
            line.newest, line.anchor_us = _Waiting(self._next_n, statement), read_us
            self._next_n += 1
            self._waiting.append(line.newest)
