"""What a node last said of a table behind an entry: above all how it sees rows that are deleted at the source (SD12.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, select

from central.store.tables import NODES
from proto.v1 import node_pb2

Table = tuple[str, str]
"""Stream and name."""
UNSEEN: Final = "deletes at the source are not visible: rows that are gone there stay here"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def reports_of(connection: Connection, streams: Iterable[str]) -> dict[str, node_pb2.StreamReport]:
    """What the nodes of *streams* last said of them, by stream."""
    wanted = set(streams)
    nodes = {name.partition("/")[0] for name in wanted}
    found: dict[str, node_pb2.StreamReport] = {}
    for data in connection.scalars(select(NODES.c.report).where(NODES.c.node.in_(nodes))):
        found |= {each.stream: each for each in _streams(data) if each.stream in wanted}
    return found


def table_in(report: node_pb2.StreamReport | None, table: str) -> node_pb2.TableReport:
    """What *report* says of one table; nothing is known of one that it does not name."""
    tables = report.tables if report is not None else ()
    return next((each for each in tables if each.table == table), node_pb2.TableReport())


def deletes_of(connection: Connection, stream: str, table: str) -> str:
    """What whoever relies on the rows is to know of deletes; "" when they come with every other change."""
    return deletes_sentence(table_in(reports_of(connection, [stream]).get(stream), table))


def deletes_sentence(said: node_pb2.TableReport) -> str:
    """The same, of one table's report; "" also while the node has not said."""
    match said.deletes:
        case node_pb2.TableReport.UNSEEN:
            return UNSEEN
        case node_pb2.TableReport.COMPARED:
            return f"deletes at the source are seen every {_every(said.compared_every_s)}"
        case _:
            return ""


def _every(seconds: int) -> str:
    size, word = next((each for each in _UNITS if seconds and seconds % each[0] == 0), _UNITS[-1])
    # Two days and less are said in hours, as the settings are usually thought of.
    return f"{seconds // 3600} h" if word == "d" and seconds <= 2 * size else f"{seconds // size} {word}"


def _streams(data: bytes | None) -> Iterable[node_pb2.StreamReport]:
    try:
        return node_pb2.HeartbeatRequest.FromString(data or b"").streams
    except DecodeError:
        # Written by a release that spoke differently; the next heartbeat replaces it.
        return ()
