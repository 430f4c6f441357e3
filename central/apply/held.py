"""What a person may do about a batch that cannot be applied: try it again, or declare it a gap."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, insert, select, update

from central import audit
from central.apply.applier import ONE_TRANSACTION
from central.ledger import Ledger
from central.store import now_us, writing
from central.store.tables import APPLIED, GAPS, LEDGER
from proto.errors import Refused
from proto.states import State

PREFIX_CHARACTERS: Final = 8
"""Of the digest in hexadecimal: enough to show that the person looked at this batch."""
_GOING: Final = {
    "state": State.RUNNING,
    "code": "",
    "sentence": "",
    "fix": "",
    "held_seq": 0,
    "held_table": "",
}


class Held:
    """Streams whose apply is stopped; each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = Ledger()

    def retry(self, stream: str, who: str = "", reason: str = "") -> None:
        """Try the held batch again; without one this changes nothing. Raises Refused for an unknown stream."""
        with writing(self._engine) as connection:
            row = _locked(connection, stream)
            if row.held_seq:
                connection.execute(update(APPLIED).where(APPLIED.c.stream == stream).values(_GOING))
                audit.record(connection, stream, "apply_retried", seq=row.held_seq, who=who, reason=reason)

    def skip(self, stream: str, seq: int, digest_prefix: str, who: str, reason: str) -> None:
        """Pass over the held batch *seq* and its whole source transaction: a declared gap. A repeat changes nothing.

        Its tables must be copied afresh. Raises Refused when another batch is held, or none.
        """
        prefix = digest_prefix.lower()
        with writing(self._engine) as connection:
            row = _locked(connection, stream)
            if row.held_seq != seq:
                if _was_skipped(connection, stream, seq, prefix):
                    return
                held = f"batch {row.held_seq} is held" if row.held_seq else "no batch is held"
                raise Refused(f"{held}, not {seq}", where=stream)
            digest = self._ledger.digests(connection, stream, [seq]).get(seq, b"")
            if len(prefix) < PREFIX_CHARACTERS or not digest.hex().startswith(prefix):
                raise Refused(
                    f"batch {seq} has another digest", where=stream, fix="give its digest as status shows it"
                )
            self._pass_over(connection, row, digest, (who, reason))

    def _pass_over(self, connection: Connection, row: Row[Any], digest: bytes, why: tuple[str, str]) -> None:
        stream, first = row.stream, row.seq + 1
        last = self._ledger.span(connection, stream, row.seq, ONE_TRANSACTION)
        if last is None:
            raise Refused("the last part of its transaction has not come yet", where=stream, fix="try later")
        end = connection.execute(
            select(LEDGER.c.epoch, LEDGER.c.digest).where(LEDGER.c.stream == stream, LEDGER.c.seq == last)
        ).one()
        moved = {**_GOING, "seq": last, "epoch": end.epoch, "digest": end.digest}
        connection.execute(update(APPLIED).where(APPLIED.c.stream == stream).values(moved))
        gap = {"stream": stream, "first_seq": first, "last_seq": last, "at_us": now_us(connection)}
        who, reason = why
        connection.execute(insert(GAPS), {**gap, "digest": digest, "who": who, "reason": reason})
        facts: dict[str, audit.Fact] = {"seq": row.held_seq, "first_seq": first, "last_seq": last}
        audit.record(
            connection, stream, "apply_skipped", **facts, digest=digest.hex(), who=who, reason=reason
        )


def _locked(connection: Connection, stream: str) -> Row[Any]:
    row = connection.execute(
        select(APPLIED).where(APPLIED.c.stream == stream).with_for_update()
    ).one_or_none()
    if row is None:
        raise Refused("no such stream", where=stream)
    return row


def _was_skipped(connection: Connection, stream: str, seq: int, prefix: str) -> bool:
    covering = select(GAPS.c.digest).where(
        GAPS.c.stream == stream, GAPS.c.first_seq <= seq, GAPS.c.last_seq >= seq
    )
    digests = connection.scalars(covering)
    return len(prefix) >= PREFIX_CHARACTERS and any(digest.hex().startswith(prefix) for digest in digests)
