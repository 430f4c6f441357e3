"""What every table of a stream is doing: streaming, being copied, or held; with the copy's progress."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, RowMapping, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from agent.exchange.checkpoints import now_us
from agent.exchange.tables import Tables
from proto import codec
from proto.batch import Batch, Delta
from proto.errors import TableHold
from proto.schema import TableSchema
from proto.states import MEANING, State

HELD = frozenset({State.QUARANTINE, State.SCHEMA_HOLD})


@dataclass(frozen=True, slots=True)
class CopyState:
    """How far the first copy of a table has come; a restart goes on strictly after ``last_key``."""

    generation: int
    """Every order and every hold takes a new one: pages of an older one are thrown away."""
    begun: bool = False
    """The table was emptied for this copy; pages may come."""
    copied: bool = False
    last_key: bytes = field(default=b"", repr=False)
    rows_copied: int = 0
    rows_expected: int = 0
    ordered_us: int = 0


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table as people see it."""

    name: str
    state: State
    code: str
    sentence: str
    fix: str
    since_us: int
    copy: CopyState
    schema: TableSchema | None = None
    """As last mirrored; None before its first rows."""
    mark: str = field(default="", repr=False)
    """What its source wants to know again when it opens; empty if it has nothing to remember."""

    @property
    def held(self) -> bool:
        """Whether its changes go to quarantine."""
        return self.state in HELD

    @property
    def left_out(self) -> bool:
        """Whether its changes count for nothing: held, and some were missed, so that only a fresh copy mends it."""
        return self.held and not (self.copy.begun or self.copy.copied)

    @property
    def flows(self) -> bool:
        """Whether its changes go their normal way: neither held nor waiting for its copy to begin."""
        return not self.held and (self.copy.begun or self.copy.copied)

    @property
    def wants_copy(self) -> bool:
        """Whether its copy is ordered or under way."""
        return not self.held and not self.copy.copied


def new_status(name: str) -> TableStatus:
    """A table that was never seen: to be copied."""
    return snapshot_ordered(TableStatus(name, State.SNAPSHOT, "", "", "", 0, CopyState(0)))


def streamed(name: str) -> TableStatus:
    """A table that came with the stream, without a copy."""
    return flowing(TableStatus(name, State.RUNNING, "", "", "", 0, CopyState(0, begun=True, copied=True)))


def snapshot_ordered(status: TableStatus) -> TableStatus:
    """The same table with a fresh copy ordered."""
    now = now_us()
    sentence = MEANING[State.SNAPSHOT].sentence
    copy = CopyState(status.copy.generation + 1, ordered_us=now)
    return replace(
        status, state=State.SNAPSHOT, code=State.SNAPSHOT, sentence=sentence, fix="", since_us=now, copy=copy
    )


def held_by(status: TableStatus, hold: TableHold) -> TableStatus:
    """The same table, held. A copy under way stops where it is; its pages still to come belong to the past."""
    copy = replace(status.copy, generation=status.copy.generation + 1)
    since = status.since_us if status.held else now_us()
    fix = (
        hold.fix
        or "mend the cause, then: exchange-agent quarantine retry, or copy it afresh: exchange-agent snapshot TABLE"
    )
    return replace(
        status, state=hold.state, code=hold.code, sentence=hold.what, fix=fix, since_us=since, copy=copy
    )


def flowing(status: TableStatus) -> TableStatus:
    """The same table after its hold or its copy ended."""
    state = State.RUNNING if status.copy.copied else State.SNAPSHOT
    return replace(
        status, state=state, code=state, sentence=MEANING[state].sentence, fix="", since_us=now_us()
    )


class TableStates:
    """The table states of one stream, in the database."""

    def __init__(self, tables: Tables, stream: str) -> None:
        self._table = tables.table_state
        self._stream = stream

    def read(self, connection: Connection) -> dict[str, TableStatus]:
        """All tables ever seen, by name."""
        statement = select(self._table).where(self._mine).order_by(self._table.c.name)
        return {row["name"]: _status(row) for row in connection.execute(statement).mappings()}

    def write(self, connection: Connection, status: TableStatus) -> None:
        """Store *status*."""
        values = {
            "state": str(status.state),
            "code": status.code,
            "sentence": status.sentence,
            "fix": status.fix,
            "since_us": status.since_us,
            "schema": schema_bytes(status.schema),
            "generation": status.copy.generation,
            "begun": status.copy.begun,
            "copied": status.copy.copied,
            "last_key": status.copy.last_key,
            "rows_copied": status.copy.rows_copied,
            "rows_expected": status.copy.rows_expected,
            "ordered_us": status.copy.ordered_us,
            "mark": status.mark,
        }
        written = connection.execute(
            update(self._table).where(self._mine, self._table.c.name == status.name).values(**values)
        )
        if not written.rowcount:
            connection.execute(insert(self._table).values(stream=self._stream, name=status.name, **values))

    @property
    def _mine(self) -> ColumnElement[bool]:
        return self._table.c.stream == self._stream


def _status(row: RowMapping) -> TableStatus:
    copy = CopyState(
        row["generation"],
        row["begun"],
        row["copied"],
        bytes(row["last_key"]),
        row["rows_copied"],
        row["rows_expected"],
        row["ordered_us"],
    )
    return TableStatus(
        row["name"],
        State(row["state"]),
        row["code"],
        row["sentence"],
        row["fix"],
        row["since_us"],
        copy,
        schema_of(bytes(row["schema"])),
        row["mark"],
    )


def schema_bytes(schema: TableSchema | None) -> bytes:
    """A schema as it is stored; nothing for none."""
    # The header of a batch that holds nothing but this schema: no second format to keep in step.
    return codec.encode(Batch("", (Delta(schema),)))[0] if schema else b""


def schema_of(header: bytes) -> TableSchema | None:
    """What :func:`schema_bytes` stored."""
    return codec.decode(header, b"").deltas[0].schema if header else None
