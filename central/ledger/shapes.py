"""The shape of each of the platform's tables, as its provider last sent it: noted with the rows that have it."""

from __future__ import annotations

import json

from sqlalchemy import Connection, insert, select, update

from central.store import now_us
from central.store.sharing import SHAPES
from proto.schema import Column, TableSchema
from proto.values import Kind


def note_shape(connection: Connection, stream: str, schema: TableSchema) -> None:
    """Keep *schema* as the shape of its table of *stream*; one that is kept already changes nothing."""
    here = (SHAPES.c.stream == stream, SHAPES.c.table_name == schema.name)
    known = connection.execute(select(SHAPES.c.fingerprint).where(*here)).scalar_one_or_none()
    if known is not None and bytes(known) == schema.fingerprint:
        return
    row = {
        "fingerprint": schema.fingerprint,
        "document": _written(schema),
        "since_us": now_us(connection),
    }
    if known is None:
        connection.execute(insert(SHAPES), {"stream": stream, "table_name": schema.name, **row})
    else:
        connection.execute(update(SHAPES).where(*here).values(row))


def shape_of(connection: Connection, stream: str, table: str) -> TableSchema | None:
    """The shape of the platform's table; None while nothing of it has come."""
    here = (SHAPES.c.stream == stream, SHAPES.c.table_name == table)
    found = connection.execute(select(SHAPES.c.document).where(*here)).scalar_one_or_none()
    return None if found is None else _read(bytes(found))


def _written(schema: TableSchema) -> bytes:
    columns = [[each.name, each.kind, each.source_type, each.nullable] for each in schema.columns]
    form = {"name": schema.name, "columns": columns, "key": list(schema.key)}
    return json.dumps(form, ensure_ascii=False).encode()


def _read(document: bytes) -> TableSchema:
    form = json.loads(document)
    columns = tuple(Column(name, Kind(kind), said, null) for name, kind, said, null in form["columns"])
    return TableSchema(form["name"], columns, tuple(form["key"]))
