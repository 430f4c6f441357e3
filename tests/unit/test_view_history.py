"""A receiver that follows sifted deltas always has exactly what its view shows of the table, whatever happens there.

Rows come into the filter and leave it by every kind of change, updates of some columns and of the key included.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames
from proto.batch import Delta, Frames, Partial
from proto.errors import Refused
from proto.masks import Hide, Keep, Mask, Pseudonym, Year
from proto.schema import Column, TableSchema
from proto.view import BoundView, View
from tests.support import filters

KEY = b"k" * 16
Table = dict[str, filters.Row]


@dataclass
class Receiver:
    """Rows by key, in delivered form; strict about what a delta promises."""

    bound: BoundView
    rows: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, delta: Delta, table: Table) -> None:
        """Follow the *delta* that made the stored table what it is now."""
        sifted = self.bound.delta(delta)
        asked = frozenset(self.bound.asks(sifted))
        has = self.bound.key_digests(Frames(b"".join(self.rows), len(self.rows)))
        known = asked & set(has)
        if self.bound.filters:
            assert not sifted.delta.deletes
        ready, wanted = self.bound.settle(sifted, known)
        self.apply(ready)
        found = [table[key] for key in stored_keys(self.bound.stored, wanted) if key in table]
        passing, left = self.bound.divide(joined([filters.frame(self.bound.stored, row) for row in found]))
        here = [key for key in frames.split(left.data) if key in self.rows]
        self.apply(Delta(self.bound.schema, upserts=passing, deletes=joined(here)))

    def apply(self, delta: Delta) -> None:
        """Truncate, deletes, partial updates, upserts, inserts."""
        schema = self.bound.schema
        assert delta.schema == schema
        if delta.truncated:
            self.rows.clear()
        for key in frames.split(delta.deletes.data):
            del self.rows[key]
        for part in delta.partials:
            old_keys = frames.keys(part.frames.data, range(len(schema.key)))
            for key, update in zip(old_keys, frames.split(part.frames.data), strict=True):
                self._put(frames.merge_partial(self.rows.pop(key), schema, part.columns, update))
        for row in frames.split(delta.upserts.data):
            self._put(row)
        for row in frames.split(delta.inserts.data):
            assert self._key(row) not in self.rows
            self._put(row)

    def _put(self, row: bytes) -> None:
        self.rows[self._key(row)] = row

    def _key(self, row: bytes) -> bytes:
        return frames.keys(row, self.bound.schema.key_indexes)[0]


def joined(found: list[bytes]) -> Frames:
    """Frames together."""
    return Frames(b"".join(found), len(found))


def stored_keys(schema: TableSchema, found: Frames) -> list[str]:
    """The texts of the keys."""
    return [str(row[0]) for row in frames.rows(found.data, (schema.kinds[0],))]


def shown(view: View, bound: BoundView, table: Table) -> dict[bytes, bytes]:
    """What the view shows of the table, worked out row by row."""
    schema = bound.stored
    kinds = {column.name: (at, column.kind) for at, column in enumerate(schema.columns)}
    found = {}
    for row in table.values():
        if not filters.passes(view.rows, schema, row):
            continue
        fields = []
        for name in view.columns:
            at, kind = kinds[name]
            value = filters.field(kind, row[at])
            mask = view.masks.get(name)
            fields.append(value if value is None or mask is None else mask.ready(kind, KEY)(value))
        packed = frames.pack(fields)
        found[frames.keys(packed, bound.schema.key_indexes)[0]] = packed
    return found


def mask_of(column: Column, is_key: bool) -> st.SearchStrategy[Mask | None]:
    """One that goes with the column, or none."""
    fitting: list[Mask | None] = [None]
    for mask in (Pseudonym(),) if is_key else (Keep(1, 0), Hide(), Year(), Pseudonym()):
        try:
            mask.kind_after(column.kind)
        except Refused:
            continue
        fitting.append(mask)
    return st.sampled_from(fitting)


@st.composite
def views(draw: st.DrawFn, schema: TableSchema) -> View:
    """Some columns in some order, some of them masked; mostly with a filter."""
    others = draw(st.lists(st.sampled_from(schema.columns[1:]), unique=True))
    chosen = draw(st.permutations([schema.columns[0], *others]))
    masks = {column.name: draw(mask_of(column, column.name in schema.key)) for column in chosen}
    rows = draw(st.one_of(st.none(), *[filters.predicates(schema)] * 3))
    return View(tuple(column.name for column in chosen), {n: m for n, m in masks.items() if m}, rows)


@st.composite
def deltas(draw: st.DrawFn, schema: TableSchema, table: Table) -> Delta:
    """Something that happens to the table, which is changed accordingly."""
    if draw(st.integers(0, 9)) == 0:
        table.clear()
        truncated = True
    else:
        truncated = False
    absent = [str(key) for key in range(10) if str(key) not in table]
    if table and absent and draw(st.integers(0, 4)) == 0:
        return Delta(schema, partials=(moved(draw, schema, table, absent),), truncated=truncated)
    inserts, upserts, deletes, partials = [], [], [], []
    changed = draw(st.lists(filters.rows(schema), unique_by=lambda row: row[0], max_size=6))
    for row in changed:
        key = str(row[0])
        what = draw(
            st.sampled_from(["upsert", "delete", "partial"] if key in table else ["insert", "upsert"])
        )
        if what == "insert":
            inserts.append(filters.frame(schema, row))
        elif what == "upsert":
            upserts.append(filters.frame(schema, row))
        elif what == "delete":
            deletes.append(filters.frame(schema, row, (0,)))
            del table[key]
            continue
        else:
            table[key], part = updated(draw, schema, table[key], row, key)
            partials.append(part)
            continue
        table[key] = row
    return Delta(schema, joined(inserts), joined(upserts), joined(deletes), tuple(partials), truncated)


def updated(
    draw: st.DrawFn, schema: TableSchema, before: filters.Row, after: filters.Row, old_key: str
) -> tuple[filters.Row, Partial]:
    """The row after an update of some of its columns, and the update; a changed key is among them."""
    places = st.lists(st.sampled_from(range(1, len(schema.columns))), min_size=1, unique=True).map(sorted)
    present = tuple(draw(places))
    if after[0] != old_key:
        present = (0, *present)
    row = tuple(
        new if at in present else old for at, (old, new) in enumerate(zip(before, after, strict=True))
    )
    key_field = filters.field(schema.kinds[0], old_key)
    packed = frames.pack([key_field, *frames.fields(filters.frame(schema, row, present))])
    return row, Partial(present, joined([packed]))


def moved(draw: st.DrawFn, schema: TableSchema, table: Table, absent: list[str]) -> Partial:
    """A row goes to a key that was free, with some of its columns changed."""
    old, new = draw(st.sampled_from(sorted(table))), draw(st.sampled_from(absent))
    after = (new, *draw(filters.rows(schema))[1:])
    row, part = updated(draw, schema, table.pop(old), after, old)
    table[new] = row
    return part


@settings(deadline=None, max_examples=300)
@given(data=st.data(), schema=filters.schemas())
def test_a_receiver_has_what_its_view_shows(data: st.DataObject, schema: TableSchema) -> None:
    """After every delta, neither more nor less, byte for byte."""
    view = data.draw(views(schema))
    bound = view.bind(schema, KEY)
    table: Table = {}
    receiver = Receiver(bound)
    for _ in range(data.draw(st.integers(1, 8))):
        delta = data.draw(deltas(schema, table))
        receiver.take(delta, table)
        assert receiver.rows == shown(view, bound, table)
