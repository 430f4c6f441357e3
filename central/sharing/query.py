"""Information query (信息查询) and interface service (接口服务): a few rows of a granted resource, for a stated purpose,
each question on record. A person asks the one, a business system through its department's node the other.

A condition is judged on rows as they are delivered: what a mask hides cannot be found out by asking for it, and rows
outside the grant are as if they were not there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import Field
from sqlalchemy import insert

from central.catalogue.entry import Mode
from central.ledger import held_table, shape_of
from central.people import Turn
from central.sharing.asked import view_form
from central.sharing.contract import Unshared, contract_of
from central.sharing.permits import NotGranted, Permit
from central.sharing.traces import AMBIGUOUS, Form, keep_form
from central.sharing.use import count_rows, demand_use, grant_of, rows_left
from central.store.log import QUERIED
from central.store.names import room_of
from proto import frames, predicate
from proto.batch import Frames
from proto.errors import Refused
from proto.predicate import And, Compare, In, Not, Or, Predicate, StartsWith
from proto.process import Section
from proto.schema import TableSchema
from proto.values import Kind, from_text, to_text
from proto.view import BoundView, View
from replica.opening import open_replica
from replica.replica import Replica

MOST_SCANNED_ROWS: Final = 20_000
"""Of the provider's table, for a condition that names no key; further rows are not looked at, and the answer says so."""
SCAN_PAGE_ROWS: Final = 2_000
TRACED: Final = "traced"
"""Instead of a key: it named many, each with a trace."""
_ANY: Final = "?"


class Ask(Section):
    """``share.query``. Both ``key`` and ``where`` may be given; then both must hold."""

    grant: str = Field("", max_length=2000)
    resource: str = Field("", max_length=2000)
    """Instead of a grant: the newest one of it that the asking system's node, or the person's department, has."""
    purpose: str = Field(max_length=2000)
    case: str = Field("", max_length=200)
    """Case number, where the policy asks for one."""
    key: dict[str, str] = Field(default_factory=dict)
    """Key columns and their values as text."""
    where: str | dict[str, Any] | None = None
    """Text or JSON of proto/predicate, on the columns of the grant as they are delivered."""
    most: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class Opened:
    """A granted table, ready to be asked."""

    permit: Permit
    view: BoundView
    replica: Replica
    left_out: tuple[str, ...]
    """Items of the terms that the catalogue does not let out any more."""
    held: str
    """That the platform holds the table, and how far it goes; "" when it does not."""


def query(turn: Turn, wanted: Ask) -> dict[str, Any]:
    """The rows, once they are on record. Raises Refused, NotGranted and LimitReached; those are on record too.

    Who asks decides the mode: a person asks under a grant of the mode query, a system under one of the mode interface.
    """
    mode = Mode.INTERFACE if turn.actor.node else Mode.QUERY
    if bool(wanted.grant) == bool(wanted.resource):
        raise Refused("names neither or both", where="grant, resource", fix="name the grant, or the resource")
    grant = wanted.grant or grant_of(turn, wanted.resource, mode)
    found = demand_use(turn, grant, (mode,), (wanted.purpose, wanted.case))
    left = rows_left(turn, found)
    opened = open_table(turn, found)
    condition = _condition(wanted, opened.view.schema)
    most = min(left, wanted.most or left)
    rows, looked, is_whole = _rows(turn, opened, condition, most)
    count_rows(turn, found, len(rows))
    keys = _keys_in(condition, opened.view)
    key = key_digest(found, keys) if keys else ""
    number = turn.record(
        "queried",
        grant=found.grant,
        version=found.version,
        resource=found.resource,
        consumer=found.consumer,
        mode=found.mode,
        purpose=wanted.purpose,
        article=found.terms.article,
        case=wanted.case,
        shape=predicate.to_text(shape(condition)),
        key=key,
        rows=len(rows),
        looked_at=looked,
    )
    note_use(turn, (number, "queried"), found, key, len(rows))
    keep_form(turn.connection, found.grant, Form.of(opened.view.stored, found.terms.masks))
    columns = [{"name": each.name, "kind": each.kind} for each in opened.view.schema.columns]
    return {
        "grant": found.grant,
        "version": found.version,
        "resource": found.resource,
        "columns": columns,
        "left_out": list(opened.left_out),
        "held": opened.held,
        "rows": rows,
        "is_whole": is_whole,
        "looked_at": looked,
    }


def open_table(turn: Turn, found: Permit) -> Opened:
    """The platform's table behind a grant, seen through it. Raises NotGranted when the catalogue lets it out no more."""
    terms = found.terms
    shape_now = shape_of(turn.connection, found.stream, found.table)
    if shape_now is None:
        raise NotGranted("nothing of its table is on the platform", where=found.resource)
    try:
        shown = contract_of(turn.connection, found, turn.now_us).shown(terms)
    except Unshared as error:
        raise NotGranted(error.what, where=found.resource, fix=error.fix) from error
    left_out = tuple(item for item in terms.items if item not in shown)
    masks = {column: mask for column, mask in terms.masks.items() if column in shown}
    narrowed = terms.model_copy(update={"items": shown, "masks": masks})
    view = View.from_json(view_form(narrowed)).bind(shape_now, found.secret)
    held = held_table(turn.connection, found.stream, found.table)
    replica = open_replica(turn.engine, room_of(found.stream))
    return Opened(found, view, replica, left_out, held.notice if held else "")


def shape(node: Predicate) -> Predicate:
    """The condition with every literal taken out: what may be written down."""
    match node:
        case Compare():
            return replace(node, value=_ANY)
        case In():
            return replace(node, values=(_ANY,))
        case StartsWith():
            return replace(node, prefix=_ANY)
        case Not():
            return Not(shape(node.part))
        case And() | Or():
            return replace(node, parts=tuple(map(shape, node.parts)))
    return node


def note_use(turn: Turn, record: tuple[int, str], found: Permit, key: str, rows: int) -> None:
    """Let a record of a use be found by its grant and key, however long the log is (Art. 26)."""
    number, event = record
    noted = {"record": number, "at_us": turn.now_us, "grant_id": found.grant, "event": event}
    turn.connection.execute(insert(QUERIED), {**noted, "key": key, "rows": rows})


def key_digest(found: Permit, frame: bytes) -> str:
    """What stands in the log for a key: nobody without the grant's secret can try values against it."""
    return hmac.digest(found.secret, b"exchange.v1/log key\0" + frame, hashlib.sha256).hex()


def frame_of(key: Mapping[str, str], schema: TableSchema) -> bytes:
    """The key frame of *key*'s texts. Raises Refused naming the column that is missing or malformed."""
    kinds = {column.name: column.kind for column in schema.columns}
    if set(key) != set(schema.key) or not key:
        raise Refused("name exactly the key columns", where="key", fix=f"they are: {', '.join(schema.key)}")
    return frames.pack([_value(kinds[name], key[name], name) for name in schema.key])


def texts(frame: bytes, schema: TableSchema) -> list[str | None]:
    """A delivered row for JSON: each value as its canonical text."""
    fields = frames.fields(frame)
    return [
        None if data is None else to_text(kind, data) for kind, data in zip(schema.kinds, fields, strict=True)
    ]


def _value(kind: Kind, text: str, column: str) -> bytes:
    try:
        return from_text(kind, text)
    except Refused:
        # Without the value: refusals are on record.
        raise Refused(f"is no value of the kind {kind}", where=column) from None


def _condition(wanted: Ask, delivered: TableSchema) -> Predicate:
    parts: list[Predicate] = [Compare(column, "=", value) for column, value in wanted.key.items()]
    if isinstance(wanted.where, str):
        parts.append(predicate.parse(wanted.where))
    elif wanted.where is not None:
        parts.append(predicate.from_json(wanted.where))
    if not parts:
        raise Refused("asks for every row", where="where", fix="name a key, or a condition")
    condition = parts[0] if len(parts) == 1 else And(tuple(parts))
    predicate.bind(condition, delivered)
    return condition


def _keys_in(condition: Predicate, view: BoundView) -> bytes:
    """The key frame, in delivered form, that the condition demands; b"" when it leaves the key open."""
    wanted = {
        node.column: node.value
        for node in _all_of(condition)
        if isinstance(node, Compare) and node.op == "=" and node.column in view.schema.key
    }
    if not view.schema.key or set(wanted) != set(view.schema.key):
        return b""
    return frame_of(wanted, view.schema)


def _all_of(condition: Predicate) -> Iterator[Predicate]:
    if isinstance(condition, And):
        for part in condition.parts:
            yield from _all_of(part)
    else:
        yield condition


def _rows(
    turn: Turn, opened: Opened, condition: Predicate, most: int
) -> tuple[list[list[str | None]], int, bool]:
    """Delivered rows that meet the condition, how many of the table's were looked at, and whether that is all."""
    delivered = opened.view.schema
    # The second view stands behind the first: it sees what the consumer would see, and nothing else.
    sieve = View(tuple(each.name for each in delivered.columns), {}, condition).bind(delivered, b"")
    answer: list[list[str | None]] = []
    looked = 0
    for page in _candidates(turn, opened, condition):
        looked += page.count
        passing, _ = opened.view.divide(page)
        meeting, _ = sieve.divide(passing)
        for frame in frames.split(meeting.data):
            if len(answer) == most:
                return answer, looked, False
            answer.append(texts(frame, delivered))
        if looked >= MOST_SCANNED_ROWS:
            return answer, looked, False
    return answer, looked, True


def _is_found_by_key(opened: Opened) -> bool:
    """Whether a key that is delivered is the one that is stored, byte for byte."""
    stored = opened.view.stored
    masked = set(stored.key) & set(opened.permit.terms.masks)
    # 1.0 and 1.00 are equal to a condition and differ in their bytes.
    ambiguous = {stored.kinds[at] for at in stored.key_indexes} & AMBIGUOUS
    return not masked and not ambiguous


def _candidates(turn: Turn, opened: Opened, condition: Predicate) -> Iterable[Frames]:
    stored, connection = opened.view.stored, turn.connection
    key = _keys_in(condition, opened.view) if _is_found_by_key(opened) else b""
    if key:
        yield opened.replica.rows(connection, stored, Frames(key, 1))
        return
    yield from opened.replica.scan(connection, stored, SCAN_PAGE_ROWS)
