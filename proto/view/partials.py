"""How a view reads partial updates: where things lie in the frames of one set of present columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proto.masks import Masking
from proto.predicate import Op, Step
from proto.schema import TableSchema
from proto.sieve import Sieve


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames of the old key and then the present columns, made ready."""

    columns: tuple[int, ...]
    """The present columns that are delivered, by their place in the delivered table."""
    new_key: tuple[int, ...]
    """Where each field of the key after the update lies in a frame."""
    has_key: bool
    """Whether key columns are among the present ones, so that the key may have changed."""
    sieve: Sieve | None
    """Hands on the delivered form; None when a column of the filter is not there to look at."""
    keys: Sieve | None
    """Hands on the stored old keys of the rows that pass."""


def layout(
    stored: TableSchema,
    delivered: TableSchema,
    steps: Sequence[Step],
    masks: Mapping[int, Masking],
    present: Sequence[int],
) -> Layout:
    """The layout of partial updates that carry the columns *present*, by their place in the stored table."""
    key = stored.key_indexes
    width = len(key) + len(present)
    # A key column that is not among the present ones did not change, so its old field says what it is now.
    places = {column: at for at, column in enumerate((*key, *present))}
    by_name = {column.name: at for at, column in enumerate(stored.columns)}
    order = [by_name[column.name] for column in delivered.columns]
    chosen = [column for column in order if column in set(present)]
    lacking = any(step.op < Op.AND and step.column not in places for step in steps)
    sieve = keys = None
    if not lacking:
        moved = [replace(step, column=places[step.column]) if step.op < Op.AND else step for step in steps]
        old_key = [(at, masks.get(column)) for at, column in enumerate(key)]
        fields = [(places[column], masks.get(column)) for column in chosen]
        sieve = Sieve(width, moved, [*old_key, *fields], old_key)
        keys = Sieve(width, moved, [(at, None) for at in range(len(key))], ())
    return Layout(
        columns=tuple(order.index(column) for column in chosen),
        new_key=tuple(places[column] for column in key),
        has_key=not set(key).isdisjoint(present),
        sieve=sieve,
        keys=keys,
    )
