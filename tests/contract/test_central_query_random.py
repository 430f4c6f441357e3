"""Whatever is granted and whatever is asked: what comes out is what the grant shows and the question means."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from central.ledger import note_shape
from central.store import writing
from central.store.grants import GRANTS
from central.store.names import room_of
from proto import predicate
from proto.batch import Delta, Frames
from proto.schema import Column, TableSchema
from proto.values import Kind
from replica.opening import open_replica
from tests.support import filters
from tests.support.shares import entry_of, grant_directly, put_in_force

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
KINDS = (Kind.TEXT, Kind.INT64, Kind.DATE, Kind.BOOL, Kind.DECIMAL, Kind.FLOAT64)
SHAPE = TableSchema(
    "人员",
    (Column("编号", Kind.INT32), *(Column(f"列{at}", kind) for at, kind in enumerate(KINDS))),
    ("编号",),
)
_numbers = itertools.count(1)


@st.composite
def cases(draw):
    """A table's rows, which columns and rows are granted, which are hidden, and what is asked."""
    rows = draw(st.lists(filters.rows(SHAPE), max_size=8, unique_by=lambda row: row[0]))
    columns = draw(st.lists(st.sampled_from(SHAPE.columns[1:]), unique=True, max_size=4))
    hidden = draw(st.lists(st.sampled_from(columns), unique=True, max_size=2)) if columns else []
    shown = replace(SHAPE, columns=(SHAPE.columns[0], *columns))
    granted = draw(st.none() | filters.predicates(SHAPE))
    return rows, shown, [column.name for column in hidden], granted, draw(filters.predicates(shown))


def delivered(row, shown, hidden):
    """A row as the grant shows it."""
    places = [SHAPE.columns.index(column) for column in shown.columns]
    return tuple(
        ("***" if row[at] is not None and SHAPE.kinds[at] is Kind.TEXT else None)
        if SHAPE.columns[at].name in hidden
        else row[at]
        for at in places
    )


def wanted(case):
    """What must come out, reckoned in plain Python."""
    rows, shown, hidden, granted, asked = case
    seen = [delivered(row, shown, hidden) for row in rows if filters.passes(granted, SHAPE, row)]
    return sorted(row[0] for row in seen if filters.passes(asked, shown, row))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_query_shows_what_the_grant_shows_and_the_question_means(town, case):
    """Never a row or a value more, never one less (SD25.2)."""
    rows, shown, hidden, granted, asked = case
    table = replace(SHAPE, name=f"人员{next(_numbers)}")
    grant, code = f"GR{table.name}-{town.number}", f"3070555/{town.number:05d}{table.name[2:]}"
    entry = entry_of(code, town.stream, table.name, [column.name for column in table.columns])
    replica = open_replica(town.engine, room_of(town.stream))
    packed = b"".join(filters.frame(SHAPE, row) for row in rows)
    terms = {
        "items": tuple(column.name for column in shown.columns),
        "masks": {name: {"mask": "hide"} for name in hidden},
        "rows": None if granted is None else predicate.to_json(granted),
    }
    with writing(town.engine) as connection:
        replica.prepare(connection, table)
        replica.apply(connection, [Delta(table, upserts=Frames(packed, len(rows)))])
        note_shape(connection, town.stream, table)
        put_in_force(connection, entry)
        grant_directly(connection, grant, town.name("civil"), entry, terms)
        as_query = {"mode": "query", "department": town.codes["civil"]}
        connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(as_query))
    told = {"grant": grant, "purpose": "核对", "where": predicate.to_json(asked)}
    answer = town.do("civil-clerk", "share.query", **told)
    assert sorted(row[0] for row in answer["rows"]) == wanted(case)
    for row in answer["rows"]:
        for name in hidden:
            at = [column.name for column in shown.columns].index(name)
            assert row[at] in (None, "***")
