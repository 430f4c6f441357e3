"""What a table had before a snapshot came: the exchange mirror's rows, laid out as the table's files are now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.sources.source import Mirror
from proto import frames
from proto.batch import Frames
from proto.errors import SchemaHold
from proto.schema import TableSchema

PAGE_ROWS: Final = 5000


def rows_before(mirror: Mirror, schema: TableSchema) -> Iterator[Frames]:
    """The mirror's rows page by page; a column it does not have yet is NULL in them. Raises SchemaHold."""
    known = mirror.schema(schema.name)
    if known is None:
        return
    layout = _layout(known, schema)
    after = b""
    while page := mirror.page(schema.name, after, PAGE_ROWS):
        after = frames.keys(page.data, known.key_indexes)[-1]
        yield Frames(_laid_out(page.data, layout), page.count) if layout else page
        if page.count < PAGE_ROWS:
            return


def _layout(known: TableSchema, schema: TableSchema) -> list[int] | None:
    """Where each of our columns stands in the mirror's rows, −1 = nowhere; None when they are alike."""
    if known.fingerprint == schema.fingerprint:
        return None
    at = {(column.name, column.kind): place for place, column in enumerate(known.columns)}
    layout = [at.get((column.name, column.kind), -1) for column in schema.columns]
    if known.key != schema.key or any(layout[place] < 0 for place in schema.key_indexes):
        fix = f"copy the table afresh: exchange-agent snapshot {schema.name}"
        raise SchemaHold(schema.name, "its key is set otherwise than what was shared before", fix=fix)
    return layout


def _laid_out(data: bytes, layout: list[int]) -> bytes:
    rows = map(frames.fields, frames.split(data))
    return b"".join(frames.pack([None if at < 0 else row[at] for at in layout]) for row in rows)
