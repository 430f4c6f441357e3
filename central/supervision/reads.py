"""Signed reads come in with heartbeats; as many go on record as it takes to judge by the log alone.

The newest read of each table is kept in a row of its own. It goes on record when the one before it on record has become
a share of the resource's limit old: so the log is short, and no department is ever judged by less than it showed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Engine, func, select

from central import audit
from central.catalogue.published import bound_limits, newest_release
from central.store import now_us, reading, writing
from central.store.supervision import NEWEST_READS, READS
from central.supervision.sheet import Promises, Sheet, chain_of, node_of
from central.supervision.timeliness import Read, limit_us_of
from proto.channel import identity_of_pem
from proto.errors import Refused
from proto.signing import Verifier
from proto.v1 import node_pb2

ATTESTATION: Final = "read"
"""The purpose of a node's signature."""
MOST_VERIFIERS: Final = 10_000
MAX_ATTESTATIONS: Final = 1000
"""In one heartbeat; a node that was away sends the rest with the next ones."""


class Reads:
    """Each method is a transaction, or one for each node."""

    def __init__(self, engine: Engine, log_share: float) -> None:
        self._engine = engine
        self._log_share = log_share
        self._verifiers: dict[bytes, Verifier] = {}
        self._introduced: set[tuple[str, str]] = set()
        self._limits: tuple[int, dict[tuple[str, str], int]] = (-1, {})
        self._shortest: dict[str, int] = {}

    def take(
        self, node: str, certificate: bytes, clock_us: int, said: Sequence[node_pb2.Attestation]
    ) -> None:
        """Keep what *node* signed with *certificate*; what is older than what is here changes nothing. Raises Refused."""
        if not said:
            return
        if len(said) > MAX_ATTESTATIONS:
            raise Refused(f"{len(said)} attestations at once, more than {MAX_ATTESTATIONS}", where=node)
        signer = _Signer(identity_of_pem(certificate).fingerprint, self._verifier(certificate))
        checked = [(_checked(node, signer.verifier, each), each) for each in said]
        checked.sort(key=lambda pair: pair[0].proven_us)
        with writing(self._engine) as connection:
            promises = self._promises(connection)
            sheet = Sheet(connection, node, {statement.stream for statement, _ in checked})
            if (node, signer.fingerprint) not in self._introduced:
                sheet.introduce(signer.fingerprint, certificate)
            for statement, attestation in checked:
                sheet.keep(_row(statement, attestation, signer, clock_us, sheet.now_us), promises)
            sheet.close()
        self._introduced.add((node, signer.fingerprint))

    def pace_s(self, node: str) -> int:
        """How often *node* should prove its reads, so that its shortest limit is never missed by a beat; 0 = as it likes."""
        shortest = self._shortest.get(node)
        return max(1, int(shortest * self._log_share / 1_000_000)) if shortest else 0

    def settle(self) -> int:
        """Put on record what nobody followed up: the last word of a table before it fell silent. Returns how many.

        Called before anybody is judged.
        """
        newest = NEWEST_READS.c
        waiting = select(newest.stream, newest.table_name, newest.logged_us)
        with reading(self._engine) as connection:
            promises, now = self._promises(connection), now_us(connection)
            # No table of any limit is due earlier than this.
            soonest = now - int(min(promises.limits.values(), default=0) * self._log_share)
            old = (newest.proven_us > newest.logged_us, newest.logged_us <= soonest)
            rows = connection.execute(waiting.where(*old)).all()
        silent: dict[str, set[str]] = {}
        for row in rows:
            if promises.due(row.stream, row.table_name, row.logged_us, now):
                silent.setdefault(node_of(row.stream), set()).add(row.stream)
        logged = 0
        for node, streams in silent.items():
            with writing(self._engine) as connection:
                sheet = Sheet(connection, node, streams)
                logged += sheet.settle(promises)
                sheet.close()
        return logged

    def _promises(self, connection: Connection) -> Promises:
        release = newest_release(connection)
        if release != self._limits[0]:
            self._limits = (release, {place: limit_us_of(text) for place, text in bound_limits(connection)})
            shortest: dict[str, int] = {}
            for (stream, _), limit in self._limits[1].items():
                shortest[node_of(stream)] = min(limit, shortest.get(node_of(stream), limit))
            self._shortest = shortest
        return Promises(self._limits[1], self._log_share)

    def _verifier(self, certificate: bytes) -> Verifier:
        if len(self._verifiers) > MOST_VERIFIERS:
            self._verifiers.clear()
            self._introduced.clear()
        return self._verifiers.setdefault(certificate, Verifier(certificate))


@dataclass(frozen=True, slots=True)
class _Signer:
    fingerprint: str
    verifier: Verifier


def reads_of(connection: Connection, stream: str, table: str, since_us: int = 0) -> list[Read]:
    """The reads of one table on record, oldest first; of those before *since_us* only the last one."""
    here = (READS.c.stream == stream, READS.c.table_name == table)
    before = select(func.max(READS.c.proven_us)).where(*here, READS.c.proven_us < since_us)
    first = connection.execute(before).scalar_one() or since_us
    rows = connection.execute(
        select(READS).where(*here, READS.c.proven_us >= first).order_by(READS.c.proven_us)
    )
    return [Read(row.proven_us, row.received_us) for row in rows]


def reads_in_log(connection: Connection, node: str) -> dict[tuple[str, str], list[Read]]:
    """The same of all tables of *node*, from the audit log alone, every signature checked (SD23.2).

    Raises Diverged for a log that was changed, SignatureWrong for a read nobody signed.
    """
    found: dict[tuple[str, str], list[Read]] = {}
    verifiers: dict[str, Verifier] = {}
    for record in audit.records(connection, chain_of(node)):
        facts = json.loads(record.facts)
        if record.event == "signer_seen":
            verifiers[facts["fingerprint"]] = Verifier(facts["certificate"].encode())
            continue
        statement = base64.b64decode(facts["statement"])
        verifiers[facts["fingerprint"]].demand(ATTESTATION, statement, base64.b64decode(facts["signature"]))
        said = node_pb2.ReadStatement.FromString(statement)
        read = Read(min(said.proven_us - facts["skew_us"], facts["received_us"]), facts["received_us"])
        found.setdefault((said.stream, said.table), []).append(read)
    return found


def _checked(node: str, verifier: Verifier, said: node_pb2.Attestation) -> node_pb2.ReadStatement:
    verifier.demand(ATTESTATION, said.statement, said.signature)
    try:
        statement = node_pb2.ReadStatement.FromString(said.statement)
    except DecodeError as error:
        raise Refused("an attestation holds no statement", where=node) from error
    if not statement.stream.startswith(f"{node}/"):
        raise Refused("an attestation speaks of another node's stream", where=statement.stream[:80])
    return statement


def _row(
    statement: node_pb2.ReadStatement, said: node_pb2.Attestation, signer: _Signer, clock_us: int, now: int
) -> dict[str, Any]:
    skew = clock_us - now
    return {
        "stream": statement.stream,
        "table_name": statement.table,
        # A clock that runs ahead proves nothing about times to come.
        "proven_us": min(statement.proven_us - skew, now),
        "received_us": now,
        "skew_us": skew,
        "fingerprint": signer.fingerprint,
        "statement": said.statement,
        "signature": said.signature,
    }
