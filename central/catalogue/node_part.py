"""The part of the newest release that is about one node's own streams, for GetCatalogue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, select

from central.catalogue.contracts import kept_items
from central.catalogue.describing import keep
from central.catalogue.entry import Entry, Item, ShareType
from central.catalogue.published import newest_release
from central.store import now_us, reading
from central.store.catalogue import ENTRIES, RELEASED
from proto.catalogue import NodeCatalogue, NodeColumn, NodeEntry, signed_by
from proto.errors import Refused
from proto.signing import Signer
from proto.v1 import node_pb2

# The character after the slash: what lies between begins with the node's name and a slash.
_END: Final = "0"
LOOK_EVERY_S: Final = 1.0
"""How often it is looked at what is in force."""


Directed = Callable[[Connection], Mapping[str, frozenset[str]]]
"""Code to the columns that statutory grants in force let leave although they are not shared."""


def _nothing_directed(_: Connection) -> Mapping[str, frozenset[str]]:
    return {}


@dataclass(frozen=True, slots=True)
class _InForce:
    """What every node's part depends on."""

    release: int = -1
    directed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kept: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    """Items that live grants receive for a while although the version in force has them no more."""


class NodeParts:
    """What nodes ask of the catalogue; each method is one transaction. Any thread may call them.

    With *binds*, nodes keep back what the catalogue does not know. *directed* looks at the grants, which lie above us.
    """

    def __init__(
        self,
        engine: Engine,
        signer: Signer | None,
        binds: bool = True,
        directed: Directed = _nothing_directed,
    ) -> None:
        self._engine, self._signer = engine, signer
        self._binds, self._directed = binds, directed
        self._lock = threading.Lock()
        self._look_at_s = 0.0
        self._in_force = _InForce()
        self._digests: dict[str, str] = {}

    def told(self, node: str) -> tuple[int, str]:
        """The newest release, 0 = none yet, and the digest of *node*'s part; "" when nothing signs here.

        Hundreds of nodes ask every ten seconds: what is in force is looked at once a second, and a part is made only when
        that changed.
        """
        with self._lock:
            if time.monotonic() >= self._look_at_s:
                self._look()
            if self._signer is not None and node not in self._digests:
                with reading(self._engine) as connection:
                    self._digests[node] = self._part(connection, node).digest
            return self._in_force.release, self._digests.get(node, "")

    def told_now(self, node: str) -> tuple[int, str]:
        """The same, looked at now: what waited while a way was cut must not leave on what was true a second ago."""
        with self._lock:
            self._look_at_s = 0.0
        return self.told(node)

    def keep(self, node: str, shapes: Iterable[node_pb2.TableShape]) -> None:
        """Keep how *node* says its tables are now."""
        keep(self._engine, node, shapes)

    def part(self, node: str) -> node_pb2.NodeCatalogue:
        """What is in force about *node*'s streams, signed. Raises Refused when nothing signs here."""
        if self._signer is None:
            fix = "fill in 'signing' in central's settings"
            raise Refused("this platform signs nothing, so there is no catalogue", where="signing", fix=fix)
        with reading(self._engine) as connection:
            found = self._part(connection, node)
        signature = signed_by(self._signer, found)
        return node_pb2.NodeCatalogue(
            document=found.document, signature=signature, certificate=self._signer.certificate_pem
        )

    def _look(self) -> None:
        with reading(self._engine) as connection:
            kept = kept_items(connection, now_us(connection))
            found = _InForce(newest_release(connection), self._directed(connection), kept)
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        if found != self._in_force:
            self._in_force, self._digests = found, {}

    def _part(self, connection: Connection, node: str) -> NodeCatalogue:
        at = now_us(connection)
        now = _InForce(newest_release(connection), self._directed(connection), kept_items(connection, at))
        return NodeCatalogue(node, now.release, at, _entries(connection, node, now), self._binds)


def _entries(connection: Connection, node: str, now: _InForce) -> tuple[NodeEntry, ...]:
    e, r = ENTRIES.c, RELEASED.c
    query = (
        select(e.code, e.document, e.version)
        .join(RELEASED, (e.code == r.code) & (e.version == r.version))
        .where(r.until_release.is_(None), e.stream > f"{node}/", e.stream < f"{node}{_END}")
        .order_by(e.code)
    )
    rows = connection.execute(query).all()
    return tuple(
        _entry(
            _with(Entry.model_validate_json(row.document), now.kept.get(row.code, ())),
            row.version,
            now.directed.get(row.code, frozenset()),
        )
        for row in rows
    )


def _with(entry: Entry, kept: tuple[Item, ...]) -> Entry:
    # Told apart by its own key alone: what goes soon is no part of it.
    more = tuple(each.model_copy(update={"is_key": False}) for each in kept)
    return entry.model_copy(update={"items": entry.items + more})


def _entry(entry: Entry, version: int, directed: frozenset[str]) -> NodeEntry:
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
                item.share_type is ShareType.NOT_SHARED and item.column in directed,
            )
            for item in entry.items
        ),
    )
