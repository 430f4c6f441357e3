"""The newest reads of one node, open for writing: what came is compared with what is there, and as much as is due goes on
record. A sheet holds the node's audit chain, so that there is one at a time for each node in the whole platform.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from central import audit
from central.store.supervision import NEWEST_READS, READ_SIGNERS, READS


def chain_of(node: str) -> str:
    """The audit chain of a node's reads; no stream can be called so."""
    return f"reads:{node}"


def node_of(stream: str) -> str:
    """Whose stream it is."""
    return stream.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Promises:
    """What the newest release promises, and how much of a limit may pass between two reads on record."""

    limits: Mapping[tuple[str, str], int]
    log_share: float

    def due(self, stream: str, table: str, logged_us: int, at_us: int) -> bool:
        """Whether a read at *at_us* goes on record, the last one there being from *logged_us*."""
        limit = self.limits.get((stream, table))
        return limit is not None and at_us - logged_us >= limit * self.log_share


_CHANGE = (
    update(NEWEST_READS)
    .where(
        NEWEST_READS.c.stream == bindparam("of_stream"), NEWEST_READS.c.table_name == bindparam("of_table")
    )
    .values(
        {
            each.name: bindparam(f"new_{each.name}")
            for each in NEWEST_READS.c
            if each.name not in {"stream", "table_name"}
        }
    )
)


class Sheet:
    """Lives in one transaction; nothing is written before :meth:`close`."""

    def __init__(self, connection: Connection, node: str, streams: Set[str]) -> None:
        self._connection, self._node = connection, node
        self._tip = audit.tip(connection, chain_of(node))
        self.now_us = self._tip.now_us
        known = connection.execute(select(NEWEST_READS).where(NEWEST_READS.c.stream.in_(sorted(streams))))
        self._rows = {(row.stream, row.table_name): dict(row._mapping) for row in known}
        self._there, self._changed = set(self._rows), set[tuple[str, str]]()
        self._events: list[tuple[str, dict[str, audit.Fact]]] = []
        self._logged: list[dict[str, Any]] = []

    def introduce(self, fingerprint: str, certificate: bytes) -> None:
        """The certificate goes into the chain before what it signed, so that the chain needs nothing else."""
        here = (READ_SIGNERS.c.node == self._node, READ_SIGNERS.c.fingerprint == fingerprint)
        if self._connection.execute(select(READ_SIGNERS).where(*here)).one_or_none() is None:
            number = self._record("signer_seen", fingerprint=fingerprint, certificate=certificate.decode())
            row = {"node": self._node, "fingerprint": fingerprint, "record": number}
            self._connection.execute(insert(READ_SIGNERS), row)

    def keep(self, row: Mapping[str, Any], promises: Promises) -> None:
        """Make *row* the newest of its table, unless a newer one is there; on record if it is due."""
        place = (row["stream"], row["table_name"])
        known = self._rows.get(place)
        if known is not None and row["proven_us"] <= known["proven_us"]:
            return
        before = known or {"logged_us": 0, "first_us": 0}
        self._rows[place] = {**row, "logged_us": before["logged_us"], "first_us": before["first_us"]}
        self._changed.add(place)
        if promises.due(*place, before["logged_us"], row["proven_us"]):
            self._log(place, promises)

    def settle(self, promises: Promises) -> int:
        """Put on record what is newer than what is there and was not followed up in time; returns how many."""
        silent = [
            place
            for place, row in self._rows.items()
            if row["proven_us"] > row["logged_us"] and promises.due(*place, row["logged_us"], self.now_us)
        ]
        for place in silent:
            self._log(place, promises)
        return len(silent)

    def close(self) -> None:
        """Write everything down."""
        audit.extend(self._connection, self._tip, self._events)
        new = [self._rows[place] for place in sorted(self._changed - self._there)]
        old = [self._rows[place] for place in sorted(self._changed & self._there)]
        if self._logged:
            self._connection.execute(insert(READS), self._logged)
        if new:
            self._connection.execute(insert(NEWEST_READS), new)
        if old:
            self._connection.execute(_CHANGE, [_change(row) for row in old])

    def _log(self, place: tuple[str, str], promises: Promises) -> None:
        row, limit = self._rows[place], promises.limits[place]
        number = self._record(
            "read",
            fingerprint=row["fingerprint"],
            statement=base64.b64encode(row["statement"]).decode(),
            signature=base64.b64encode(row["signature"]).decode(),
            skew_us=row["skew_us"],
            received_us=row["received_us"],
            limit_us=limit,
        )
        before = row["logged_us"]
        logged = {
            "stream": row["stream"],
            "table_name": row["table_name"],
            "proven_us": row["proven_us"],
            "received_us": row["received_us"],
            "record": number,
            "limit_us": limit,
            "before_us": before,
            "late_us": max(0, row["received_us"] - before - limit) if before else 0,
        }
        self._logged.append(logged)
        row["logged_us"] = row["proven_us"]
        row["first_us"] = row["first_us"] or row["proven_us"]
        self._changed.add(place)

    def _record(self, event: str, **facts: audit.Fact) -> int:
        self._events.append((event, facts))
        return self._tip.n + len(self._events)


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    of = {"of_stream": row["stream"], "of_table": row["table_name"]}
    return of | {f"new_{name}": value for name, value in row.items() if name not in {"stream", "table_name"}}
