"""The part of the newest release that is about one node's own streams, for GetCatalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, Engine, select

from central.catalogue.describing import keep
from central.catalogue.entry import Entry
from central.catalogue.published import newest_release
from central.store import now_us, reading
from central.store.catalogue import ENTRIES, RELEASED
from proto.catalogue import NodeCatalogue, NodeColumn, NodeEntry, signed_by
from proto.errors import Refused
from proto.signing import Signer
from proto.v1 import node_pb2

# The character after the slash: what lies between begins with the node's name and a slash.
_END: Final = "0"


class NodeParts:
    """What nodes ask of the catalogue; each method is one transaction."""

    def __init__(self, engine: Engine, signer: Signer | None) -> None:
        self._engine = engine
        self._signer = signer

    def newest(self) -> int:
        """The number of the newest release; 0 = none yet."""
        with reading(self._engine) as connection:
            return newest_release(connection)

    def keep(self, node: str, shapes: Iterable[node_pb2.TableShape]) -> None:
        """Keep how *node* says its tables are now."""
        keep(self._engine, node, shapes)

    def part(self, node: str) -> node_pb2.NodeCatalogue:
        """What is in force about *node*'s streams, signed. Raises Refused when nothing signs here."""
        if self._signer is None:
            fix = "fill in 'signing' in central's settings"
            raise Refused("this platform signs nothing, so there is no catalogue", where="signing", fix=fix)
        with reading(self._engine) as connection:
            found = node_catalogue(connection, node)
        signature = signed_by(self._signer, found)
        return node_pb2.NodeCatalogue(
            document=found.document, signature=signature, certificate=self._signer.certificate_pem
        )


def node_catalogue(connection: Connection, node: str) -> NodeCatalogue:
    """What is in force about *node*'s streams."""
    e, r = ENTRIES.c, RELEASED.c
    query = (
        select(e.document, e.version)
        .join(RELEASED, (e.code == r.code) & (e.version == r.version))
        .where(r.until_release.is_(None), e.stream > f"{node}/", e.stream < f"{node}{_END}")
        .order_by(e.code)
    )
    rows = connection.execute(query).all()
    entries = tuple(_entry(Entry.model_validate_json(row.document), row.version) for row in rows)
    return NodeCatalogue(node, newest_release(connection), now_us(connection), entries)


def _entry(entry: Entry, version: int) -> NodeEntry:
    stream, table = (entry.binding.stream, entry.binding.table) if entry.binding else ("", "")
    return NodeEntry(
        code=entry.code,
        version=version,
        name=entry.name,
        source=stream.partition("/")[2],
        table=table,
        share_type=str(entry.share_type),
        update_cycle=str(entry.update_cycle),
        update_limit=entry.update_limit,
        deletes_rows=entry.deletes_rows,
        columns=tuple(
            NodeColumn(
                item.column,
                item.name,
                item.type,
                item.is_key,
                str(item.share_type),
                item.is_personal,
                item.sensitivity,
            )
            for item in entry.items
        ),
    )
