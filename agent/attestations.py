"""What this node signs about its reads, so that central can tell a department that is on time from one that is not.

A statement per table says: everything committed in the business database before this moment has been read. It is made
whether or not central can be reached, and waits for it: a cut way must not make a department late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

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


@dataclass(slots=True)
class _Line:
    """What was last said of one table."""

    said_us: int = 0
    rows: int = 0
    """Of its stream, when it was said."""
    anchor_us: int = 0
    """Of the first statement that waits; later ones take the place of the newest until ten minutes have passed."""
    newest: node_pb2.ReadStatement | None = None
    """The newest that waits."""


class Attestations:
    """The statements that central has not heard. One thread uses it; *signer* reads the key that the link shows."""

    def __init__(self, signer: Callable[[], Signer]) -> None:
        self._signer = signer
        self._waiting: deque[node_pb2.ReadStatement] = deque(maxlen=WAITING)
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

    def hurry(self, seconds: int) -> None:
        """Speak as often as central needs it for the shortest limit; 0 = as usual, and never more seldom than that."""
        wanted_us = seconds * 1_000_000 if seconds else THINNED_US
        self._pace_us, self._thinned_us = min(PACE_US, wanted_us), min(THINNED_US, wanted_us)

    def next(self) -> list[node_pb2.Attestation]:
        """The oldest statements, signed with the key of now. Raises Credential."""
        if not self._waiting:
            return []
        signer = self._signer()
        chosen = [each.SerializeToString() for each in islice(self._waiting, SEND_AT_ONCE)]
        return [
            node_pb2.Attestation(statement=each, signature=signer.sign(ATTESTATION, each)) for each in chosen
        ]

    def heard(self, count: int) -> None:
        """Central has the oldest *count*."""
        for _ in range(count):
            gone = self._waiting.popleft()
            line = self._lines[(gone.stream, gone.table)]
            if line.newest is gone:
                line.newest = None

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
            statement.since_us, statement.rows = line.newest.since_us, statement.rows + line.newest.rows
            line.newest.CopyFrom(statement)
        else:
            line.newest, line.anchor_us = statement, read_us
            self._waiting.append(statement)
