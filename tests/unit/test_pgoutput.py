"""pgoutput's messages: collapsing against a model, Python against compiled, hostile bytes, every special case."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.postgresql import pgoutput
from agent.sources.postgresql.pgoutput import Collector, Relation, TablePlan
from proto import frames
from proto.errors import BadRow, Refused, SchemaHold
from proto.schema import Column, TableSchema
from proto.values import Kind, from_text
from tests.support import wire
from tests.support.pgoutput_model import (
    COLUMNS,
    RELID,
    SCHEMA,
    Row,
    Server,
    apply,
    collector,
    described,
    key,
    transaction,
)
from tests.support.wire import UNCHANGED, Value

LOG = TableSchema("log", (Column("line", Kind.TEXT),), ())
BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])


NUMBER = st.integers(0, 5)
VALUE = st.sampled_from([b"", b"x", b"yy"])
LARGE = st.none() | VALUE
STEP = st.one_of(
    st.tuples(st.just("write"), NUMBER, VALUE, LARGE, LARGE),
    st.tuples(st.just("move"), NUMBER, NUMBER, VALUE, LARGE),
    st.tuples(st.just("remove"), NUMBER),
    st.tuples(st.just("displace"), NUMBER, VALUE),
    st.tuples(st.just("rotate"), st.lists(NUMBER, min_size=2, max_size=4)),
    st.tuples(st.just("empty")),
    st.tuples(st.just("take")),
)


@pytest.mark.parametrize("identity", ["d", "f"])
@settings(max_examples=400, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_the_replica_follows_whatever_happens(
    identity: str, steps: list[tuple[str, *tuple[object, ...]]]
) -> None:
    """Any history, drained anywhere, leaves the table as it is at the source; both versions give the same bytes."""
    server = Server(identity)
    both = [collector(compiled) for compiled in (False, True)]
    replica: dict[bytes, Row] = {}
    for one in both:
        one.feed([wire.begin(100), described(identity)])
    for name, *arguments in [*steps, ("take",)]:
        if name != "take":
            getattr(server, name)(*arguments)
            continue
        for one in both:
            one.feed(server.sent)
        assert both[0].rows == both[1].rows
        assert both[0].size_bytes == both[1].size_bytes
        drained = [one.take() for one in both]
        assert drained[0] == drained[1]
        apply(replica, drained[0])
        server.sent.clear()
        assert replica == {frames.pack([key(number)]): row for number, row in server.rows.items()}
    assert not both[0].holds


def test_the_compiled_version_is_here() -> None:
    """Without it the comparison above would compare Python with itself."""
    assert pgoutput.HotLoop is not None


@BOTH
def test_what_came_and_went_leaves_nothing(compiled: bool) -> None:
    """Unless a page of a first copy may have seen it."""
    came = wire.insert(RELID, [key(1), b"a", b"b", b"c"])
    went = wire.delete(RELID, [key(1), None, None, None])
    one = collector(compiled)
    one.feed(transaction(described(), came, went))
    assert one.take() == ()
    one.keep_vanished = True
    one.feed(transaction(came, went))
    (delta,) = one.take()
    assert (delta.rows, delta.deletes.data) == (1, frames.pack([key(1)]))


@BOTH
def test_several_partial_updates_of_a_key_become_one(compiled: bool) -> None:
    """And a full row once every column is known."""
    one = collector(compiled)
    one.feed(
        transaction(
            described(),
            wire.update(RELID, [key(1), b"a", UNCHANGED, UNCHANGED]),
            wire.update(RELID, [key(1), b"b", b"big", UNCHANGED]),
            wire.update(RELID, [key(2), b"c", UNCHANGED, b"wide"]),
            wire.update(RELID, [key(2), b"d", b"big", UNCHANGED]),
        )
    )
    (delta,) = one.take()
    assert [part.columns for part in delta.partials] == [(1, 2)]
    assert delta.partials[0].frames.data == frames.pack([key(1), b"b", b"big"])
    assert delta.upserts.data == frames.pack([key(2), b"d", b"big", b"wide"])


@BOTH
def test_a_key_change_with_unlogged_values_stands_alone(compiled: bool) -> None:
    """What came before it is applied before it."""
    one = collector(compiled)
    one.feed(
        transaction(
            described(),
            wire.insert(RELID, [key(3), b"a", b"b", b"c"]),
            wire.update(RELID, [key(2), b"a", UNCHANGED, b"w"], [key(1), None, None, None]),
            wire.delete(RELID, [key(3), None, None, None]),
        )
    )
    first, second, third = one.take()
    assert first.inserts.count == 1
    assert second.partials[0].columns == (0, 1, 3)
    assert second.partials[0].frames.data == frames.pack([key(1), key(2), b"a", b"w"])
    assert (second.rows, third.rows, third.deletes.count) == (1, 1, 1)


@BOTH
def test_a_changed_description_closes_the_delta(compiled: bool) -> None:
    """The same one again does not, and the plan is asked only when something differs."""
    asked: list[Relation] = []

    def plan(relation: Relation) -> TablePlan:
        asked.append(relation)
        return TablePlan(SCHEMA, (0, 1, 2, 3))

    one = Collector(plan, compiled=compiled)
    row = wire.insert(RELID, [key(1), b"a", b"b", b"c"])
    wider = wire.insert(RELID, [key(2), b"a", b"b", b"c", b"new"])
    one.feed([described(), *transaction(row, described(), described(extra=[("new", False)]), wider)])
    assert [delta.inserts.count for delta in one.take()] == [1, 1]
    assert [len(relation.columns) for relation in asked] == [4, 5]
    assert (asked[0].relid, asked[0].namespace, asked[0].name, asked[0].identity) == (
        RELID,
        "public",
        "t",
        "d",
    )
    one.replan()
    assert len(asked) == 3


@BOTH
def test_columns_are_picked_and_ordered_by_the_plan(compiled: bool) -> None:
    """What is not catalogued never leaves, not even as an unlogged value."""
    schema = TableSchema("t", (Column("a", Kind.TEXT), Column("id", Kind.INT32)), ("id",))
    one = Collector(lambda _: TablePlan(schema, (1, 0)), compiled=compiled)
    one.feed(transaction(described(), wire.update(RELID, [key(1), None, UNCHANGED, b"secret"])))
    (delta,) = one.take()
    assert delta.upserts.data == frames.pack([None, key(1)])


@BOTH
def test_text_becomes_the_canonical_form(compiled: bool) -> None:
    """A table whose types cannot travel in binary comes as text."""
    kinds = (Kind.INT32, Kind.DECIMAL, Kind.OTHER, Kind.BOOL)
    schema = TableSchema("t", tuple(Column(n, kind) for n, kind in zip(COLUMNS, kinds, strict=True)), ("id",))
    one = collector(compiled, schema)
    one.feed(transaction(described(), wire.insert(RELID, ["1", "1.10", "{1,2}", None])))
    (delta,) = one.take()
    assert delta.inserts.data == frames.pack([key(1), from_text(Kind.DECIMAL, "1.10"), b"{1,2}", None])
    one.feed(transaction(wire.insert(RELID, ["1", "one", "{}", "t"])))
    assert [type(hold) for hold in one.holds] == [BadRow]
    assert "one" not in str(one.holds[0]).split()


@BOTH
def test_types_of_unknown_form_must_be_sent_as_text(compiled: bool) -> None:
    """Unless the plan knows that the binary form is the text."""
    schema = TableSchema("t", (Column("id", Kind.INT32), Column("mood", Kind.OTHER)), ("id",))
    row = wire.insert(RELID, [key(1), b"happy", None, None])
    for texts, holds, rows in ((frozenset[int](), 1, 0), (frozenset({1}), 0, 1)):
        one = Collector(lambda _: TablePlan(schema, (0, 1), texts), compiled=compiled)  # noqa: B023
        one.feed(transaction(described(), row, row))
        assert (len(one.holds), sum(delta.rows for delta in one.take())) == (holds, rows)


@BOTH
def test_an_append_only_table_takes_rows_and_nothing_else(compiled: bool) -> None:
    """A change in it holds it; what came before the change is kept."""
    one = collector(compiled, LOG)
    line = wire.insert(RELID, [b"same", None, None, None])
    one.feed(transaction(wire.relation(RELID, "log", [("line", False)], "n"), line, line))
    one.feed(transaction(wire.update(RELID, [b"x"]), line, lsn=200))
    assert [type(hold) for hold in one.holds] == [SchemaHold]
    (delta,) = one.take()
    assert delta.inserts.count == 2


@BOTH
def test_a_key_outside_the_identity_holds_the_table(compiled: bool) -> None:
    """Its deletes would not say which row went."""
    one = collector(compiled)
    one.feed(
        transaction(described("n").replace(b"\x01id", b"\x00id"), wire.insert(RELID, [key(1), b"", b"", b""]))
    )
    assert [hold.table for hold in one.holds] == ["t"]
    assert one.take() == ()


@BOTH
def test_a_table_without_a_plan_is_passed_over(compiled: bool) -> None:
    """Its changes count for nothing; a hold from the plan is kept."""

    def held(_: Relation) -> TablePlan | None:
        raise SchemaHold("t", "a column is gone")

    for plan, holds in ((lambda _: None, 0), (held, 1)):
        one = Collector(plan, compiled=compiled)
        one.feed(transaction(described(), wire.insert(RELID, [key(1), b"", b"", b""]), wire.truncate(RELID)))
        assert (one.rows, one.take(), len(one.holds)) == (0, (), holds)


@BOTH
def test_a_key_that_is_not_unique_holds_the_table(compiled: bool) -> None:
    """Two rows may share a key inside a transaction, but not when it is drained."""
    one = collector(compiled)
    rows = [wire.insert(RELID, [key(1), a, b"", b""]) for a in (b"x", b"y")]
    one.feed(transaction(described("f"), *rows))
    one.take()
    one.feed(transaction(*rows))
    assert [type(hold) for hold in one.holds] == [SchemaHold]
    assert one.take() == ()


@BOTH
def test_facts_are_those_since_the_last_take(compiled: bool) -> None:
    """Transactions, times, numbers, sizes and messages."""
    one = collector(compiled)
    row = wire.insert(RELID, [key(1), b"a", b"b", b"c"])
    one.feed(
        [*transaction(described(), row, lsn=100), *transaction(wire.logical(150, "mark", b"7"), lsn=200)]
    )
    one.feed([wire.logical(205, "free", b"", transactional=False), wire.begin(300), row])
    assert (one.rows, one.size_bytes, one.transactions.count, one.transactions.xids) == (
        2,
        2 * (len(row) - 25),
        2,
        [100, 200],
    )
    assert (one.transactions.first_commit_us, one.transactions.last_commit_us) == (
        wire.PG_EPOCH_US + 100,
        wire.PG_EPOCH_US + 200,
    )
    assert [(m.lsn, m.prefix, m.content, m.transactional) for m in one.messages] == [
        (150, "mark", b"7", True),
        (205, "free", b"", False),
    ]
    assert (one.transactions.end_lsn, one.transactions.is_open) == (210, True)
    one.take()
    one.feed([wire.commit(300, 310)])
    assert (one.rows, one.size_bytes, one.transactions.count, one.messages) == (0, 0, 1, [])
    assert (one.transactions.end_lsn, one.transactions.is_open) == (310, False)


@BOTH
def test_replayed_transactions_are_passed_over(compiled: bool) -> None:
    """Up to the position we have; descriptions in them are learnt all the same."""
    one = collector(compiled)
    one.transactions.skip_until = 110
    rows = [wire.insert(RELID, [key(number), b"", b"", b""]) for number in (1, 2)]
    lost = wire.logical(50, "m", b"")
    one.feed(transaction(described(), rows[0], wire.truncate(RELID), lost, lsn=100))
    assert (
        one.transactions.replayed,
        one.transactions.count,
        one.rows,
        one.messages,
        one.transactions.end_lsn,
    ) == (1, 0, 0, [], 110)
    one.feed(transaction(rows[1], lsn=110))
    (delta,) = one.take()
    assert (delta.inserts.count, delta.truncated, one.transactions.replayed, one.transactions.end_lsn) == (
        1,
        False,
        1,
        120,
    )


@BOTH
@pytest.mark.parametrize(
    "message",
    [
        wire.framed(b"S\0\0\0\1"),
        wire.framed(b""),
        b"k" + bytes(17),
        b"",
        wire.insert(99, [b"x"]),
        wire.truncate(99),
        wire.insert(RELID, [key(1)]),
        wire.insert(RELID, [key(1), b"a", b"b", b"c"])[:-1],
        wire.insert(RELID, [key(1), b"a", b"b", b"c"])[:40],
        wire.delete(RELID, [key(1), None, None, None], b"X"),
        wire.begin(1)[:30],
        wire.framed(b"M\1" + bytes(8) + b"p\0" + struct.pack(">i", 5) + b"1"),
        wire.framed(b"R" + bytes(4) + b"no end"),
    ],
)
def test_messages_that_are_not_understood_are_refused(compiled: bool, message: bytes) -> None:
    """Loudly: passing one over could lose a row."""
    one = collector(compiled)
    one.feed([described()])
    with pytest.raises(Refused):
        one.feed([message])


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_hostile_bytes_are_taken_alike(data: st.DataObject) -> None:
    """Cut, changed or random messages give the same deltas or the same error in both versions, and no crash."""
    row: list[Value] = [key(1), b"a", UNCHANGED, b"c"]
    whole = data.draw(
        st.sampled_from(
            [
                wire.insert(RELID, [key(1), b"a", None, b"c"]),
                wire.update(RELID, row, [key(2), None, None, None]),
                wire.update(RELID, [key(1), b"a", b"b", b"c"], [key(1), b"0", b"b", b"c"], b"O"),
                wire.delete(RELID, [key(2), None, None, None]),
                wire.truncate(RELID),
            ]
        )
    )
    damaged = bytearray(whole[: data.draw(st.integers(20, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    seen = []
    for compiled in (False, True):
        one = collector(compiled)
        one.feed([described(), wire.insert(RELID, [key(1), b"a", b"b", b"c"])])
        try:
            one.feed([bytes(damaged)])
        except Refused as error:
            seen.append((str(error), one.take()))
        else:
            seen.append((str(one.holds), one.take()))
    assert seen[0] == seen[1]
