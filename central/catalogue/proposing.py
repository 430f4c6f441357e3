"""Drafts made from what is really there: the tables of a stream, as its node described them or as the platform has them.

Proposals are returned, not registered: what a column means, and whether it may be shared, only people know. So every
proposal says *not shared* until somebody decides otherwise.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select

from central.catalogue.arguments import Stream
from central.catalogue.gathering import shapes_of
from central.catalogue.rules.data import LETTERS
from central.people import Turn
from central.people.office import department_of
from central.store.catalogue import ENTRIES
from central.store.names import room_of, split_stream
from central.store.office import DEPARTMENTS
from proto.errors import Refused
from replica.looking import table_in, tables_in

TO_FILL_IN: Final = "待填写"


def propose(turn: Turn, told: Stream) -> dict[str, Any]:
    """An unfinished entry for every table of the stream that no entry has yet."""
    node, _ = split_stream(told.stream)
    department = department_of(turn.connection, node)
    turn.actor.demand_department(department, "proposing entries from its tables")
    c = ENTRIES.c
    bound = set(turn.connection.scalars(select(c.table_name).where(c.stream == told.stream)))
    tables = _tables(turn, told.stream)
    if not tables:
        fix = "exchange-central catalogue describe STREAM asks its node; or wait for the first copy"
        raise Refused("nothing is known of its tables yet", where=told.stream, fix=fix)
    d = DEPARTMENTS.c
    name = turn.connection.execute(select(d.name).where(d.department == department)).scalar_one_or_none()
    whose = (department, name or TO_FILL_IN)
    entries = [
        _entry(told.stream, table, whose, columns)
        for table, columns in sorted(tables.items())
        if table not in bound
    ]
    return {"entries": entries, "has_entry": sorted(bound & set(tables))}


def _tables(turn: Turn, stream: str) -> dict[str, list[tuple[str, str, bool]]]:
    """Of each table its columns: name, kind, whether it is in the key."""
    found = {
        table: [(column.name, column.kind, column.name in shape.key) for column in shape.columns]
        for (_, table), (shape, _at) in shapes_of(turn.connection, [stream]).items()
        if shape.columns
    }
    room = room_of(stream)
    for table in sorted(tables_in(turn.connection, room) - found.keys()):
        if seen := table_in(turn.connection, room, table):
            found[table] = [(name, str(kind), name in seen.key) for name, kind in seen.kinds.items()]
    return found


def _entry(
    stream: str, table: str, whose: tuple[str, str], columns: list[tuple[str, str, bool]]
) -> dict[str, Any]:
    items = [
        {
            "name": name,
            "column": name,
            "type": LETTERS.get(kind, "C"),
            "is_key": is_key,
            "share_type": "not_shared",
        }
        for name, kind, is_key in columns
    ]
    return {
        # With its table, so that in a workbook of many tables each item can be told whose it is.
        "code": f"{TO_FILL_IN}/{table}",
        "name": table,
        "class_path": [TO_FILL_IN],
        "provider_name": whose[1],
        "provider": whose[0],
        "abstract": TO_FILL_IN,
        "format_class": 3,
        "items": items,
        "modes": ["exchange"],
        "update_cycle": "daily",
        "update_limit": "P1D",
        "binding": {"stream": stream, "table": table},
    }
