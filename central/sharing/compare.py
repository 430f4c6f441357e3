"""Comparison (比对): keys and item digests come in, match, mismatch or not found goes out, never a value (Art. 20).

Two calls. The first opens a comparison under a grant and hands out its key; the second brings the digests made with
it. See proto/comparison.py for the digest and why it is keyed. Only items of the grant are compared, in the form in
which the grant delivers them, and only rows of the grant are found: the answer tells nothing that a query under the
same grant would not show.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Protocol

from pydantic import Field

from central.catalogue.entry import DELIVERED, Mode
from central.ledger import shape_of
from central.people import Turn
from central.people.verb import DECISIONS
from central.sharing.permits import Permit
from central.sharing.query import TRACED, Opened, frame_of, key_digest, note_use, open_table
from central.sharing.terms import Line
from central.sharing.traces import Form, Tracer, fact, keep
from central.sharing.use import count_rows, demand_use, rows_left
from proto import frames
from proto.batch import Frames
from proto.comparison import comparison_key, item_digest
from proto.errors import Refused
from proto.process import Section

MODES: Final = (Mode.QUERY, *DELIVERED)
MOST_KEYS: Final = 10_000
"""Of one comparison; the grant's own limit of rows may be lower."""
GOOD_FOR_S: Final = 900
_RANDOM_BYTES: Final = 16
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Outcome(StrEnum):
    """Of one key."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_FOUND = "not_found"


class Begin(Section):
    """``share.compare-begin``."""

    grant: Line
    purpose: str = Field(max_length=2000)
    case: str = Field("", max_length=200)


class Claim(Section):
    """What the asking side holds of one key."""

    key: dict[str, str] = Field(min_length=1)
    digests: dict[str, Digest] = Field(min_length=1)
    """Column to digest."""


class Compare(Begin):
    """``share.compare``."""

    comparison: str = Field(pattern="^[0-9]{1,20}-[0-9a-f]{32}$")
    """As the first call named it."""
    claims: tuple[Claim, ...] = Field(min_length=1, max_length=MOST_KEYS)
    raise_case: str = Field("", max_length=2000)
    """Open a case about what differs, with these words; empty = do not."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One key's outcome; what a case is opened with."""

    grant: str
    resource: str
    department: str
    """Who compared."""
    place: int
    """Which of the claims."""
    key_digest: str
    """Under the grant's secret, as in the log."""
    outcome: Outcome
    items: tuple[str, ...]
    """Those that differ."""
    key: bytes = field(default=b"", repr=False)
    """Its frame; never leaves central."""


class Mismatched(Protocol):
    """What becomes of a comparison in which something differs."""

    def __call__(self, turn: Turn, wanted: Compare, differing: Sequence[Compared]) -> int:
        """Open a case; returns its number."""
        ...


def no_case(turn: Turn, wanted: Compare, differing: Sequence[Compared]) -> int:
    """Where nobody keeps cases."""
    del turn, differing
    raise Refused("nobody keeps cases here", where=wanted.grant)


def begin(turn: Turn, wanted: Begin) -> dict[str, Any]:
    """Open a comparison: its name, its key, what may be compared, and until when."""
    found = demand_use(turn, wanted.grant, MODES, (wanted.purpose, wanted.case))
    opened = open_table(turn, found)
    _demand_plain_keys(opened)
    ends_us = turn.now_us + GOOD_FOR_S * 1_000_000
    comparison = f"{ends_us}-{secrets.token_hex(_RANDOM_BYTES)}"
    turn.record(
        "comparison_opened",
        grant=found.grant,
        version=found.version,
        resource=found.resource,
        consumer=found.consumer,
        purpose=wanted.purpose,
        case=wanted.case,
        comparison=comparison,
    )
    schema = opened.view.schema
    items = [each for each in schema.columns if each.name not in schema.key]
    return {
        "comparison": comparison,
        "held": opened.held,
        "key": comparison_key(found.secret, comparison).hex(),
        "ends_us": ends_us,
        "at_once": min(rows_left(turn, found), MOST_KEYS),
        "keys": [
            {"name": each.name, "kind": each.kind} for each in schema.columns if each.name in schema.key
        ],
        "items": [
            {"name": each.name, "kind": each.kind} for each in items if _is_comparable(found, each.name)
        ],
    }


def compare(turn: Turn, wanted: Compare, mismatched: Mismatched = no_case) -> dict[str, Any]:
    """Each claim's outcome, on record by number and never by value; what differs may become a case (SD20.2)."""
    opened, compared = compared_of(turn, wanted)
    found = opened.permit
    differing = mismatches(compared)
    number = mismatched(turn, wanted, differing) if differing and wanted.raise_case else 0
    counts = {outcome: sum(each.outcome is outcome for each in compared) for outcome in Outcome}
    tracer, met = _tracer(turn, found), [each for each in compared if each.outcome is not Outcome.NOT_FOUND]
    traces = tracer.keys([each.key for each in met])
    record = turn.record(
        "compared",
        grant=found.grant,
        version=found.version,
        resource=found.resource,
        consumer=found.consumer,
        purpose=wanted.purpose,
        case=wanted.case,
        comparison=wanted.comparison,
        **{str(outcome): count for outcome, count in counts.items()},
        traces=fact(traces),
    )
    note_use(turn, (record, "compared"), found, TRACED, len(compared))
    place = (DECISIONS, record, turn.now_us)
    keep(turn.connection, found.grant, place, tracer.form, (len(met), traces))
    answers = [
        {"place": each.place, "outcome": each.outcome, "items": list(each.items), "key": each.key_digest}
        for each in compared
    ]
    return {
        "grant": found.grant,
        "version": found.version,
        "resource": found.resource,
        "counts": counts,
        "held": opened.held,
        "answers": answers,
        "case": number,
    }


def mismatches(compared: Sequence[Compared]) -> tuple[Compared, ...]:
    """Those that should become cases: where both sides have the row and say different things (SD20.2)."""
    return tuple(each for each in compared if each.outcome is Outcome.MISMATCH)


def compared_of(turn: Turn, wanted: Compare) -> tuple[Opened, list[Compared]]:
    """Compare and count, without a record of its own."""
    found = demand_use(turn, wanted.grant, MODES, (wanted.purpose, wanted.case))
    if turn.now_us >= int(wanted.comparison.partition("-")[0]):
        raise Refused("the comparison has run out", where=wanted.grant, fix="begin anew")
    if len(wanted.claims) > (left := rows_left(turn, found)):
        raise Refused(f"{left} keys at once are granted", where=wanted.grant, fix="bring fewer at once")
    opened = open_table(turn, found)
    _demand_plain_keys(opened)
    key = comparison_key(found.secret, wanted.comparison)
    keys = [frame_of(claim.key, opened.view.stored) for claim in wanted.claims]
    rows = _rows(turn, opened, keys)
    compared = [
        _judge(opened, key, (place, claim, frame), rows.get(frame))
        for place, (claim, frame) in enumerate(zip(wanted.claims, keys, strict=True))
    ]
    count_rows(turn, found, len(compared))
    return opened, compared


def _tracer(turn: Turn, found: Permit) -> Tracer:
    """Of whom the consumer learned something is found by their key, as with a delivery (SD26.4)."""
    shape = shape_of(turn.connection, found.stream, found.table)
    if shape is None:
        raise Refused("nothing of its table is on the platform", where=found.resource)
    return Tracer(Form.of(shape, found.terms.masks), found.secret)


def _rows(turn: Turn, opened: Opened, keys: Sequence[bytes]) -> dict[bytes, list[bytes | None]]:
    """The delivered fields of the rows the grant lets see, by key frame."""
    once = dict.fromkeys(keys)
    stored = opened.view.stored
    found = opened.replica.rows(turn.connection, stored, Frames(b"".join(once), len(once)))
    passing, _ = opened.view.divide(found)
    delivered = frames.split(passing.data)
    known_by = frames.keys(passing.data, opened.view.schema.key_indexes)
    return {key: frames.fields(frame) for key, frame in zip(known_by, delivered, strict=True)}


def _judge(
    opened: Opened, key: bytes, said: tuple[int, Claim, bytes], row: list[bytes | None] | None
) -> Compared:
    place, claim, frame = said
    permit, schema = opened.permit, opened.view.schema
    columns = {column.name: (at, column.kind) for at, column in enumerate(schema.columns)}
    for item in claim.digests:
        if item not in columns or item in schema.key or not _is_comparable(permit, item):
            raise Refused("is not compared under this grant", where=item[:80], fix="see what begin lists")
    differing: tuple[str, ...] = ()
    outcome = Outcome.NOT_FOUND
    if row is not None:
        differing = tuple(
            item
            for item, digest in claim.digests.items()
            if not hmac.compare_digest(
                item_digest(key, item, columns[item][1], row[columns[item][0]]), digest
            )
        )
        outcome = Outcome.MISMATCH if differing else Outcome.MATCH
    name = key_digest(permit, frame)
    return Compared(permit.grant, permit.resource, permit.department, place, name, outcome, differing, frame)


def _is_comparable(found: Permit, column: str) -> bool:
    """What a mask hides is not compared: a few guesses would find it out."""
    return column not in found.terms.masks


def _demand_plain_keys(opened: Opened) -> None:
    stored = opened.view.stored
    if not stored.key:
        raise Refused("a table without a key cannot be compared", where=opened.permit.resource)
    if set(stored.key) & set(opened.permit.terms.masks):
        raise Refused(
            "the grant shows keys under a pseudonym: nobody else knows them", where=opened.permit.grant
        )
