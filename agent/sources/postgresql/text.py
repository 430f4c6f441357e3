"""Values whose binary form is the server's own secret become text: the server itself is asked.

A first copy selects such a column as text; the stream brings its send function's bytes, and the same cast in the
same kind of session turns them into the same text. So a snapshot value equals a stream value by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from psycopg import pq

from agent.sources.postgresql.connection import Connection, error_of
from proto import frames
from proto.batch import Delta, Frames, Partial
from proto.errors import Poisoned, SchemaHold

_PER_QUESTION: Final = 256
Value = tuple[int, bytes]
"""A type's number and the bytes its send function gave."""
Asked = Mapping[int, int]
"""The columns to ask for, by index, with their types."""
Section = tuple[Frames, Sequence[int]]


class Texts:
    """Asks one connection."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._pgconn = connection.pgconn
        self._name = name

    def translate(self, deltas: Sequence[Delta], asked: Callable[[Delta], Asked]) -> list[Delta]:
        """One table's deltas with the columns that *asked* names as text; SchemaHold if the server cannot."""
        sections = [(delta, _sections(delta, asked(delta))) for delta in deltas]
        values = {value for _, each in sections for value in _values(each)}
        known = self._ask(deltas[0].schema.name, values) if values else {}
        return [_told(delta, each, known) if known else delta for delta, each in sections]

    def _ask(self, table: str, values: set[Value]) -> dict[Value, bytes]:
        known: dict[Value, bytes] = {}
        waiting = sorted(values)
        for at in range(0, len(waiting), _PER_QUESTION):
            some = waiting[at : at + _PER_QUESTION]
            question = ", ".join(f"${number}::text" for number in range(1, len(some) + 1))
            result = self._pgconn.exec_params(
                f"SELECT {question}".encode(),
                [value for _, value in some],
                param_types=[oid for oid, _ in some],
                param_formats=[1] * len(some),
            )
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise self._refusal(result, table)
            for number, value in enumerate(some):
                known[value] = result.get_value(0, number) or b""
        return known

    def _refusal(self, result: pq.abc.PGresult, table: str) -> Exception:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        error = error_of(sqlstate, said, self._name)
        if isinstance(error, Poisoned) or sqlstate.startswith(("42", "0A", "XX")):
            what = f"a value's type changed or cannot be read back ({sqlstate})"
            return SchemaHold(table, what, fix="leave the column out, or copy the table afresh")
        return error


def _sections(delta: Delta, asked: Asked) -> list[Section]:
    """The delta's rows with the type of each field that has to be asked for, 0 for the others."""
    if not asked:
        return []
    key = [asked.get(at, 0) for at in delta.schema.key_indexes]
    full = [asked.get(at, 0) for at in range(len(delta.schema.columns))]
    partials = [(part.frames, [*key, *(asked.get(at, 0) for at in part.columns)]) for part in delta.partials]
    return [(delta.inserts, full), (delta.upserts, full), (delta.deletes, key), *partials]


def _told(delta: Delta, sections: Sequence[Section], known: Mapping[Value, bytes]) -> Delta:
    if not sections:
        return delta
    inserts, upserts, deletes, *rest = (_rewritten(found, types, known) for found, types in sections)
    partials = tuple(Partial(part.columns, found) for part, found in zip(delta.partials, rest, strict=True))
    return replace(delta, inserts=inserts, upserts=upserts, deletes=deletes, partials=partials)


def _values(sections: Iterable[Section]) -> Iterator[Value]:
    for found, types in sections:
        wanted = [(at, oid) for at, oid in enumerate(types) if oid]
        for frame in frames.split(found.data) if wanted else ():
            row = frames.fields(frame)
            yield from ((oid, value) for at, oid in wanted if (value := row[at]) is not None)


def _rewritten(found: Frames, types: Sequence[int], known: Mapping[Value, bytes]) -> Frames:
    if not found or not any(types):
        return found
    rows = (zip(types, frames.fields(frame), strict=True) for frame in frames.split(found.data))
    told = (
        frames.pack([known[oid, value] if oid and value is not None else value for oid, value in row])
        for row in rows
    )
    return Frames(b"".join(told), found.count)
