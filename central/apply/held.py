"""What a person may do about a batch or a table that is held: try it again, or declare a gap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, insert, select, update

from central import audit
from central.apply import lease
from central.apply.applier import ONE_TRANSACTION
from central.apply.holding import copy_afresh
from central.ledger import Ledger, tableholds
from central.ledger.tableholds import HeldTable
from central.store import now_us, writing
from central.store.tables import APPLIED, GAPS, LEDGER
from proto.batch import Head
from proto.errors import Refused
from proto.states import State

PREFIX_CHARACTERS: Final = 8
"""Of the digest in hexadecimal: enough to show that the person looked at this batch."""
_GOING: Final = {"state": State.RUNNING, "code": "", "sentence": "", "fix": "", "held_seq": 0}
Why = tuple[str, str]
"""Who decided, and the reason."""


class Held:
    """Streams and tables whose apply is stopped; each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ledger = Ledger()

    def retry(self, stream: str, who: str = "", reason: str = "") -> list[str]:
        """Try everything again that is held of *stream*; returns its tables. Without anything held this changes nothing.

        Raises Refused for an unknown stream, and where only fresh copies would mend what is held.
        """
        with writing(self._engine) as connection:
            row = lease.lock(connection, stream)
            if row.held_seq:
                connection.execute(update(APPLIED).where(APPLIED.c.stream == stream).values(_GOING))
                audit.record(connection, stream, "apply_retried", seq=row.held_seq, who=who, reason=reason)
            held = tableholds.held_tables(connection, stream).values()
            mendable = [each for each in held if not each.left_out]
            if held and not mendable and not row.held_seq:
                raise _only_a_copy(next(iter(held)))
            for each in mendable:
                _ask(connection, each, (who, reason))
        return [each.table for each in mendable]

    def retry_table(self, stream: str, table: str, who: str = "", reason: str = "") -> None:
        """Apply what waits of *table*, from the ledger. Raises Refused when it is not held, or only a copy mends it."""
        with writing(self._engine) as connection:
            lease.lock(connection, stream)
            held = _held(connection, stream, table)
            if held.left_out:
                raise _only_a_copy(held)
            _ask(connection, held, (who, reason))

    def skip(self, stream: str, seq: int, digest_prefix: str, who: str, reason: str) -> None:
        """Pass over the held batch *seq* and its whole source transaction: a declared gap. A repeat changes nothing.

        Its tables must be copied afresh. Raises Refused when another batch is held, or none.
        """
        with writing(self._engine) as connection:
            row = lease.lock(connection, stream)
            if row.held_seq != seq:
                if _was_skipped(connection, stream, "", (seq, digest_prefix)):
                    return
                held = f"batch {row.held_seq} is held" if row.held_seq else "no batch is held"
                raise Refused(f"{held}, not {seq}", where=stream, fix=_of_a_table(connection, stream, seq))
            digest = self._ledger.digests(connection, stream, [seq]).get(seq, b"")
            _demand_same(digest, (seq, digest_prefix), stream)
            end = self._end_after(connection, stream, row.seq)
            moved = {**_GOING, "seq": end.seq, "epoch": end.epoch, "digest": end.digest}
            connection.execute(update(APPLIED).where(APPLIED.c.stream == stream).values(moved))
            gap = {"stream": stream, "first_seq": row.seq + 1, "last_seq": end.seq, "digest": digest}
            facts: dict[str, audit.Fact] = {"seq": seq, "first_seq": row.seq + 1, "last_seq": end.seq}
            _declare(connection, gap, (who, reason))
            facts |= {"digest": digest.hex(), "who": who, "reason": reason}
            audit.record(connection, stream, "apply_skipped", **facts)

    def skip_table(self, stream: str, table: str, batch: tuple[int, str], why: Why) -> None:
        """Pass over what the source transaction of *batch* (number, digest) brought to *table*, and replay the rest.

        A declared gap of that table, which must be copied afresh. A repeat changes nothing. Raises Refused when
        another batch holds the table, or none.
        """
        with writing(self._engine) as connection:
            lease.lock(connection, stream)
            if _was_skipped(connection, stream, table, batch):
                return
            held = _held(connection, stream, table)
            if held.left_out:
                raise _only_a_copy(held)
            if held.held_seq != batch[0]:
                raise Refused(f"batch {held.held_seq} holds table {table}, not {batch[0]}", where=stream)
            _demand_same(held.held_digest, batch, stream)
            end = self._end_after(connection, stream, held.after.seq)
            broken = max(held.broken_seq, end.seq)
            tableholds.write(connection, replace(held, after=end, is_asked=True, broken_seq=broken))
            first = held.after.seq + 1
            gap = {"stream": stream, "first_seq": first, "last_seq": end.seq, "digest": held.held_digest}
            _declare(connection, {**gap, "table_name": table}, why)
            facts: dict[str, audit.Fact] = {"table": table, "first_seq": first, "last_seq": end.seq}
            facts |= {"seq": batch[0], "digest": held.held_digest.hex(), "who": why[0], "reason": why[1]}
            audit.record(connection, stream, "table_skipped", **facts)

    def _end_after(self, connection: Connection, stream: str, seq: int) -> Head:
        """The end of the source transaction after *seq*."""
        last = self._ledger.span(connection, stream, seq, ONE_TRANSACTION)
        if last is None:
            raise Refused("the last part of its transaction has not come yet", where=stream, fix="try later")
        end = connection.execute(
            select(LEDGER.c.epoch, LEDGER.c.digest).where(LEDGER.c.stream == stream, LEDGER.c.seq == last)
        ).one()
        return Head(end.epoch, last, bytes(end.digest))


def _ask(connection: Connection, held: HeldTable, why: Why) -> None:
    tableholds.write(connection, replace(held, is_asked=True))
    facts: dict[str, audit.Fact] = {"table": held.table, "seq": held.held_seq}
    audit.record(connection, held.stream, "table_retried", **facts, who=why[0], reason=why[1])


def _declare(connection: Connection, gap: dict[str, Any], why: Why) -> None:
    said = {"who": why[0], "reason": why[1], "at_us": now_us(connection)}
    connection.execute(insert(GAPS), {"table_name": "", **gap, **said})


def _held(connection: Connection, stream: str, table: str) -> HeldTable:
    held = tableholds.held_table(connection, stream, table)
    if held is None:
        raise Refused(f"table {table} is not held", where=stream, fix="see exchange-central stream list")
    return held


def _only_a_copy(held: HeldTable) -> Refused:
    what = f"table {held.table} can only be copied afresh: {held.sentence}"
    return Refused(what, where=held.stream, fix=copy_afresh(held.table))


def _of_a_table(connection: Connection, stream: str, seq: int) -> str:
    held = tableholds.held_tables(connection, stream).values()
    table = next((each.table for each in held if each.held_seq == seq), "")
    return f"it holds one table: say --table {table}" if table else ""


def _demand_same(digest: bytes, batch: tuple[int, str], stream: str) -> None:
    seq, prefix = batch
    if len(prefix) < PREFIX_CHARACTERS or not digest.hex().startswith(prefix.lower()):
        fix = "give its digest as 'stream list --json' shows it"
        raise Refused(f"batch {seq} has another digest", where=stream, fix=fix)


def _was_skipped(connection: Connection, stream: str, table: str, batch: tuple[int, str]) -> bool:
    seq, prefix = batch
    covering = select(GAPS.c.digest).where(
        GAPS.c.stream == stream, GAPS.c.table_name == table, GAPS.c.first_seq <= seq, GAPS.c.last_seq >= seq
    )
    is_named = len(prefix) >= PREFIX_CHARACTERS
    return is_named and any(
        digest.hex().startswith(prefix.lower()) for digest in connection.scalars(covering)
    )
