"""The shape of each platform table as it was last applied: columns, kinds and key, kept when the ledger forgets."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from central.store.sharing import SHAPES
from proto import codec
from proto.schema import TableSchema

_HERE: Final = (SHAPES.c.stream == bindparam("which"), SHAPES.c.table_name == bindparam("named"))
_FIND: Final = select(SHAPES.c.fingerprint, SHAPES.c.document).where(*_HERE)
_CHANGE: Final = update(SHAPES).where(*_HERE)


def note_shape(connection: Connection, stream: str, schema: TableSchema) -> None:
    """From now on the platform's table of this name has *schema*; in the transaction that makes it so."""
    said = {"fingerprint": schema.fingerprint, "document": codec.pack_schema(schema)}
    place = {"which": stream, "named": schema.name}
    if connection.execute(_CHANGE.values(**said), place).rowcount == 0:
        connection.execute(insert(SHAPES), {"stream": stream, "table_name": schema.name, **said})


def shape_of(connection: Connection, stream: str, table: str) -> TableSchema | None:
    """The table's shape; None when no row of it was ever applied."""
    row = connection.execute(_FIND, {"which": stream, "named": table}).one_or_none()
    return codec.read_schema(bytes(row.document)) if row else None
