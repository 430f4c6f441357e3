"""How the departments' tables are now: asked of their nodes, kept as they answer. Structure only, never a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, insert, select

from central.catalogue.arguments import Stream
from central.people import Turn
from central.registry import ask_node
from central.store import now_us, writing
from central.store.catalogue import ENTRIES, RELEASED, SHAPES
from central.store.names import split_stream
from central.store.tables import COMMANDS
from proto.errors import ExchangeError, Refused
from proto.v1 import node_pb2

MOST_SHAPES: Final = 2000
MOST_BYTES: Final = 256 * 1024
AT_PLATFORM: Final = "the platform"


def ask(turn: Turn, told: Stream) -> dict[str, Any]:
    """Ask the node of a stream how its tables are; the answer comes with its next heartbeats."""
    node, _ = split_stream(told.stream)
    command = node_pb2.Command(verb=node_pb2.Command.DESCRIBE, stream=told.stream)
    number = ask_node(turn.connection, node, command, turn.actor.person)
    return {"command": number, "node": node, "stream": told.stream}


def keep(engine: Engine, node: str, shapes: Iterable[node_pb2.TableShape]) -> None:
    """Keep what *node* says of its own tables; the newest word counts. Raises Refused for another's."""
    said = list(shapes)
    if not said:
        return
    if len(said) > MOST_SHAPES:
        raise Refused(f"more than {MOST_SHAPES} tables at once", where=node)
    if odd := next((each.stream for each in said if not each.stream.startswith(f"{node}/")), None):
        raise Refused("the tables are another node's", where=odd[:80])
    found = {(each.stream, each.table): _fitting(each) for each in said}
    with writing(engine) as connection:
        now, c = now_us(connection), SHAPES.c
        for (stream, table), shape in found.items():
            connection.execute(delete(SHAPES).where(c.stream == stream, c.table_name == table))
            row = {"stream": stream, "table_name": table, "at_us": now, "shape": shape.SerializeToString()}
            connection.execute(insert(SHAPES), row)


def _fitting(shape: node_pb2.TableShape) -> node_pb2.TableShape:
    """The description, or why it is not kept: a heartbeat is not refused for it."""
    if shape.ByteSize() <= MOST_BYTES:
        return shape
    trouble = f"its description has {shape.ByteSize()} bytes, {MOST_BYTES} are kept"
    return node_pb2.TableShape(stream=shape.stream, table=shape.table[:300], trouble=trouble)


def ask_everybody(engine: Engine) -> int:
    """Ask every node that has something in force, unless it was asked and has not answered; returns how many."""
    with writing(engine) as connection:
        asked = 0
        for stream in _streams_in_force(connection):
            node = stream.partition("/")[0]
            command = node_pb2.Command(verb=node_pb2.Command.DESCRIBE, stream=stream)
            if _waits(connection, node, stream):
                continue
            try:
                ask_node(connection, node, command, AT_PLATFORM)
            except ExchangeError:
                # A node that is gone or does not answer is shown as such elsewhere; the others are asked.
                continue
            asked += 1
    return asked


def _streams_in_force(connection: Connection) -> list[str]:
    e, r = ENTRIES.c, RELEASED.c
    query = (
        select(e.stream)
        .join(RELEASED, (e.code == r.code) & (e.version == r.version))
        .where(r.until_release.is_(None), e.stream != "")
        .distinct()
    )
    return list(connection.scalars(query.order_by(e.stream)))


def _waits(connection: Connection, node: str, stream: str) -> bool:
    c = COMMANDS.c
    query = select(c.id).where(
        c.node == node, c.stream == stream, c.verb == node_pb2.Command.DESCRIBE, c.finished_us.is_(None)
    )
    return connection.execute(query.limit(1)).one_or_none() is not None
