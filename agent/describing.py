"""How the tables of a source are now: structure only, for comparison with the catalogue.

Only the tables in the department's settings are looked at; which ones is never central's choice. Every source says how its
tables are through ``schemas()``, so there is one way for all kinds.
"""

from __future__ import annotations

from contextlib import closing

from agent.sources.kinds import AnySettings, new_source
from agent.sources.source import Mirror
from proto.errors import ExchangeError
from proto.schema import TableSchema
from proto.v1 import batch_pb2, node_pb2

NOT_THERE = "it is not there, or cannot be captured as it is: exchange-agent check"


def describe(stream: str, settings: AnySettings, mirror: Mirror) -> list[node_pb2.TableShape]:
    """Every column of every table in *settings*; what cannot be looked at says why."""
    names = [table.catalogued for table in settings.tables]
    try:
        captured = {schema.name: schema for schema in _schemas(settings, mirror)}
        whole = _whole(settings, mirror, captured)
    except ExchangeError as error:
        return [node_pb2.TableShape(stream=stream, table=name, trouble=error.what) for name in names]
    return [_shape(stream, name, captured.get(name), whole.get(name)) for name in names]


def _whole(settings: AnySettings, mirror: Mirror, captured: dict[str, TableSchema]) -> dict[str, TableSchema]:
    """The tables with every column there is."""
    if all(table.columns is None for table in settings.tables):
        return captured
    tables = tuple(table.model_copy(update={"columns": None}) for table in settings.tables)
    found = {
        schema.name: schema for schema in _schemas(settings.model_copy(update={"tables": tables}), mirror)
    }
    # A column that nobody captures may be of a kind that cannot be: then what is captured is all we can say.
    return {**captured, **found}


def _schemas(settings: AnySettings, mirror: Mirror) -> list[TableSchema]:
    with closing(new_source(settings, mirror)) as source:
        return source.schemas()


def _shape(
    stream: str, table: str, captured: TableSchema | None, whole: TableSchema | None
) -> node_pb2.TableShape:
    schema = whole or captured
    if schema is None:
        return node_pb2.TableShape(stream=stream, table=table, trouble=NOT_THERE)
    columns = [
        batch_pb2.ColumnSchema(
            name=column.name,
            kind=column.kind,
            source_type=column.source_type,
            not_null=not column.nullable,
        )
        for column in schema.columns
    ]
    return node_pb2.TableShape(
        stream=stream,
        table=table,
        columns=columns,
        key=schema.key,
        captured=[column.name for column in captured.columns] if captured else [],
        trouble="" if captured else NOT_THERE,
    )
