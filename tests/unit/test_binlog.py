"""The binlog's changes: collapsing against a model, every shape of event, held tables, hostile bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.mysql.binlog import Collector, EventType, Plan, PlanColumn, TableMap
from proto import frames
from proto.batch import Delta
from proto.errors import BadRow, Refused, SchemaHold, TableHold
from proto.schema import Column, TableSchema
from proto.values import Kind
from tests.support import binlog_model as model
from tests.support.binlog_model import ID, Books, Sample
from tests.support.binlog_server import (
    DELETE,
    INSERT,
    TABLE,
    UPDATE,
    Server,
    delete,
    fields,
    framed,
    insert,
    key,
    update,
)
from tests.support.pgoutput_model import apply

BOTH = pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
NUMBER = st.integers(0, 5)
VALUE = st.sampled_from(["", "x", "李", None])
STEP = st.one_of(
    st.tuples(st.just("write"), NUMBER, VALUE, VALUE, VALUE),
    st.tuples(st.just("move"), NUMBER, NUMBER, VALUE),
    st.tuples(st.just("remove"), NUMBER),
    st.tuples(st.just("empty")),
    st.tuples(st.just("open")),
    st.tuples(st.just("drain")),
)


@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
@settings(max_examples=250, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_the_replica_follows_whatever_happens(
    full: bool, steps: list[tuple[str, *tuple[object, ...]]]
) -> None:
    """Any history, drained anywhere, leaves the table as it is at the source; both versions give the same bytes."""
    server = Server(full)
    both = [Books(TABLE, compiled) for compiled in (False, True)]
    replica: dict[bytes, tuple[bytes | None, ...]] = {}
    server.open()
    for name, *arguments in [*steps, ("drain",)]:
        if name != "drain":
            getattr(server, name)(*arguments)
            continue
        for books in both:
            for event in server.logged:
                if event:
                    books.add(event)
                else:
                    books.collector.truncate("shop", "t", books.schema)
        assert both[0].collector.rows == both[1].collector.rows
        assert both[0].collector.size_bytes == both[1].collector.size_bytes
        drained = [books.collector.drain() for books in both]
        assert drained[0] == drained[1]
        apply(replica, drained[0])
        server.logged.clear()
        assert replica == {key(number): tuple(fields(row)) for number, row in server.rows.items()}
    assert not both[0].holds
    assert both[0].asked == 1


A, B, C = ("1", "甲", None, ""), ("1", "乙", "n", "户口"), ("2", "丙", "n", "w")


@BOTH
@pytest.mark.parametrize(
    "kind", [INSERT, EventType.WRITE_ROWS, EventType(166), EventType(169)], ids=lambda k: k.name
)
def test_every_shape_of_event_brings_its_rows(kind: EventType, compiled: bool) -> None:
    """Version 1 and 2, plain and compressed."""
    kinds = [EventType(kind + step) for step in range(3)]
    books = Books(TABLE, compiled).add(model.table_map(TABLE))
    books.add(insert(A, C, kind=kinds[0]), update((A, B), kind=kinds[1]), delete(C, kind=kinds[2]))
    assert (books.collector.rows, books.collector.size_bytes > 0) == (4, True)
    (delta,) = books.collector.drain()
    assert (delta.inserts.data, delta.rows) == (framed(*B), 1)
    assert (books.collector.rows, books.collector.size_bytes) == (0, 0)


@BOTH
def test_what_came_and_went_leaves_nothing(compiled: bool) -> None:
    """Unless a page of a first copy may have seen it."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE), insert(A), delete(A))
    assert books.collector.drain() == []
    books.collector.keep_vanished = True
    (delta,) = books.add(insert(A), delete(A)).collector.drain()
    assert (delta.rows, delta.deletes.data) == (1, key(1))
    books.collector.replan()
    (delta,) = books.add(insert(A), delete(A)).collector.drain()
    assert delta.rows == 1


@BOTH
def test_a_row_that_was_there_is_replaced_and_removed(compiled: bool) -> None:
    """An update and a delete of rows nobody inserted here; a key change is both."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE), update((A, B), (C, ("3", *C[1:]))))
    (delta,) = books.collector.drain()
    assert (delta.upserts.data, delta.deletes.data) == (framed(*B), key(2))
    assert delta.inserts.data == framed("3", *C[1:])
    (delta,) = books.add(delete(B), insert(A)).collector.drain()
    assert (delta.upserts.data, delta.deletes.count) == (framed(*A), 0)


@BOTH
def test_an_image_without_some_columns_is_a_partial_update(compiled: bool) -> None:
    """It is filled from what is known here; without its key it holds the table."""
    some, only_key = [False, False, True, False], [True, False, False, False]
    data = model.row(TABLE, A, only_key) + model.row(TABLE, B, some)
    event = model.rows(UPDATE, 4, data, images=(only_key, some))
    books = Books(TABLE, compiled).add(model.table_map(TABLE), event)
    (delta,) = books.collector.drain()
    assert delta.partials[0].columns == (2,)
    assert delta.partials[0].frames.data == frames.pack([struct.pack(">i", 1), b"n"])
    (delta,) = books.add(insert(A), event).collector.drain()
    assert delta.inserts.data == framed("1", "甲", "n", "")
    books.add(
        model.rows(UPDATE, 4, model.row(TABLE, A, some) + model.row(TABLE, B, some), images=(some, some))
    )
    assert [type(hold) for hold in books.holds] == [BadRow]


@BOTH
def test_what_the_new_row_does_not_tell_stands_in_the_old_one(compiled: bool) -> None:
    """A server may log the old row whole and of the new one only what is different."""
    some = [False, False, True, False]
    data = model.row(TABLE, A) + model.row(TABLE, B, some)
    books = Books(TABLE, compiled).add(
        model.table_map(TABLE), model.rows(UPDATE, 4, data, images=([True] * 4, some))
    )
    (delta,) = books.collector.drain()
    assert (delta.upserts.data, delta.partials) == (framed("1", "甲", "n", ""), ())


@BOTH
@pytest.mark.parametrize("told", [[False] * 4, [True, True, False, True]], ids=["nothing", "not all"])
def test_an_insert_that_does_not_tell_every_column_holds_the_table(told: list[bool], compiled: bool) -> None:
    """Its defaults are known to the source alone."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE), insert(C))
    books.add(model.rows(INSERT, 4, model.row(TABLE, A, told), images=(told,)), insert(B))
    assert [type(hold) for hold in books.holds] == [BadRow]
    (delta,) = books.collector.drain()
    assert delta.inserts.data == framed(*C)


@BOTH
def test_a_bad_value_in_a_row_that_goes_is_nobodys_business(compiled: bool) -> None:
    """Only its key is looked at."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE))
    bad = b"\0" + struct.pack("<i", 1) + b"\1\xff" + b"\0\0" + b"\0"
    books.add(model.rows(DELETE, 4, bad), model.rows(UPDATE, 4, bad + model.row(TABLE, B)))
    assert not books.holds
    (delta,) = books.collector.drain()
    assert delta.upserts.data == framed(*B)


@BOTH
def test_an_emptied_table_is_truncated_also_before_its_first_row(compiled: bool) -> None:
    """What came before is gone; a table nobody captures is none."""
    books = Books(TABLE, compiled)
    books.collector.truncate("shop", "other")
    books.collector.truncate("shop", "t", books.schema)
    assert books.collector.drain() == [Delta(books.schema, truncated=True)]
    books.add(model.table_map(TABLE), insert(A))
    books.collector.truncate("shop", "t", books.schema)
    (delta,) = books.add(insert(C)).collector.drain()
    assert (delta.truncated, delta.inserts.data) == (True, framed(*C))


@BOTH
def test_a_changed_description_closes_the_delta(compiled: bool) -> None:
    """The same one under another number does not, and the plan is asked only when something differs."""
    asked: list[TableMap] = []
    schema = model.schema_of(TABLE, (0,))

    def plan(table: TableMap) -> Plan:
        asked.append(table)
        columns = [
            PlanColumn(at, charset=str(each.options.get("charset", ""))) for at, each in enumerate(TABLE)
        ]
        return Plan(schema, tuple(columns))

    one = Collector(plan, lambda _: None, compiled=compiled)
    wider = [*TABLE, ID]
    for event in (model.table_map(TABLE), insert(A), model.table_map(TABLE, table_id=50)):
        one.add(event)
    one.add(model.rows(INSERT, 4, model.row(TABLE, C), table_id=50))
    one.add(model.table_map(wider, table_id=51))
    one.add(model.rows(INSERT, 5, model.row(wider, ("3", "", "", "", "9")), table_id=51))
    assert [delta.inserts.count for delta in one.drain()] == [2, 1]
    assert [len(table.columns) for table in asked] == [4, 5]
    assert (asked[0].schema, asked[0].table, asked[0].table_id) == ("shop", "t", model.TABLE_ID)
    with pytest.raises(Refused):
        one.add(model.rows(INSERT, 4, model.row(TABLE, A), table_id=50))


@BOTH
def test_a_number_may_come_to_mean_another_table(compiled: bool) -> None:
    """The server counts from the start again when it was restarted."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE), insert(A))
    books.add(model.table_map(TABLE, name="人"), insert(C), model.table_map(TABLE, table_id=42))
    books.add(
        model.rows(INSERT, 4, model.row(TABLE, ("3", "", "", "")), table_id=42), insert(("4", "", "", ""))
    )
    first, second = books.collector.drain()
    assert (first.inserts.data, second.inserts.count) == (framed(*A) + framed("3", "", "", ""), 2)
    assert books.asked == 2


@BOTH
def test_columns_are_picked_and_ordered_by_the_plan(compiled: bool) -> None:
    """What is not catalogued never leaves, not even from a row with a value nobody could read."""
    schema = TableSchema("t", (Column("name", Kind.TEXT), Column("id", Kind.INT32)), ("id",))
    plan = Plan(schema, (PlanColumn(1, charset="utf8mb4"), PlanColumn(0)))
    one = Collector(lambda _: plan, lambda _: None, compiled=compiled)
    one.add(model.table_map(TABLE))
    one.add(model.rows(INSERT, 4, b"\0" + struct.pack("<i", 7) + b"\1a" + b"\1\0\xff" + b"\1\xff"))
    (delta,) = one.drain()
    assert delta.inserts.data == frames.pack([b"a", struct.pack(">i", 7)])


@BOTH
def test_an_append_only_table_takes_rows_and_nothing_else(compiled: bool) -> None:
    """A change in it holds it; what came before the change is kept, once for each time."""
    books = Books(TABLE, compiled, key=()).add(
        model.table_map(TABLE), insert(A, A), update((A, B)), insert(A)
    )
    assert [type(hold) for hold in books.holds] == [SchemaHold]
    (delta,) = books.collector.drain()
    assert delta.inserts.data == 2 * framed(*A)


@BOTH
def test_a_table_without_a_plan_is_passed_over(compiled: bool) -> None:
    """Its changes count for nothing, unreadable or not; a hold from the plan is handed on."""
    hold = SchemaHold("t", "a column is gone")

    def held(_: TableMap) -> Plan | None:
        raise hold

    for plan, expected in ((lambda _: None, []), (held, [hold])):
        met: list[TableHold] = []
        one = Collector(plan, met.append, compiled=compiled)
        for event in (model.table_map(TABLE), insert(A), model.rows(INSERT, 4, b"\xff")):
            one.add(event)
        one.truncate("shop", "t", model.schema_of(TABLE, (0,)))
        assert (one.rows, one.drain(), met) == (0, [], expected)


@BOTH
def test_a_resumed_table_streams_again(compiled: bool) -> None:
    """After the plans were asked for once more."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE))
    books.add(model.event(EventType.PARTIAL_UPDATE_ROWS, model.TABLE_ID.to_bytes(6, "little") + bytes(9)))
    assert [type(hold) for hold in books.holds] == [BadRow]
    assert books.add(insert(A)).collector.drain() == []
    books.collector.replan()
    (delta,) = books.add(insert(A)).collector.drain()
    assert delta.inserts.data == framed(*A)


@BOTH
@pytest.mark.parametrize(
    "event",
    [
        b"",
        model.event(EventType.TABLE_MAP, b"\1"),
        model.rows(INSERT, 4, b"", table_id=99),
        model.rows(INSERT, 3, b"\0"),
        insert(A)[:-1],
        insert(A) + b"\0",
        delete(A, kind=EventType(168))[:-3],
        model.event(EventType.TRANSACTION_PAYLOAD, b"\0"),
        model.event(EventType.WRITE_ROWS, b"\1"),
        model.table_map([Sample("?", 200, b"", Kind.TEXT, str.encode)]),
        model.table_map([*TABLE[:3], Sample("DECIMAL(2,5)", 246, b"\2\5", Kind.DECIMAL, str.encode)]),
    ],
)
def test_events_that_are_not_understood_are_refused(compiled: bool, event: bytes) -> None:
    """Loudly: passing one over could lose a row."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE))
    with pytest.raises(Refused):
        books.add(event)


@BOTH
def test_what_changes_no_table_is_passed_over(compiled: bool) -> None:
    """Positions and transactions are somebody else's business; one event only says that a statement ends."""
    books = Books(TABLE, compiled).add(model.table_map(TABLE))
    books.add(model.event(EventType.XID, bytes(8)), model.rows(INSERT, 0, b"", table_id=0xFFFFFF))
    assert books.collector.drain() == []


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_hostile_bytes_are_taken_alike(data: st.DataObject) -> None:
    """Cut, changed or random events give the same deltas or the same error in both versions, and no crash."""
    whole = data.draw(
        st.sampled_from(
            [
                insert(A, C),
                update((A, B), (C, ("3", *C[1:]))),
                delete(A, C, kind=EventType.DELETE_ROWS),
                insert(B, C, kind=EventType(169)),
                model.table_map(TABLE),
            ]
        )
    )
    damaged = bytearray(whole[: data.draw(st.integers(19, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    seen = []
    for compiled in (False, True):
        books = Books(TABLE, compiled).add(model.table_map(TABLE), insert(A))
        try:
            books.add(bytes(damaged))
            books.add(insert(("9", "", "", "")))
        except Refused as error:
            seen.append((str(error), books.collector.drain()))
        else:
            seen.append((str(books.holds), books.collector.drain()))
    assert seen[0] == seen[1]
