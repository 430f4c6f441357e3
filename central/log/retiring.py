"""Records that were kept long enough may leave: two persons, an export first, and a tombstone that stays (Art. 26)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import date
from typing import Any, Final

from pydantic import Field
from sqlalchemy import delete, func, insert, select, update

from central import audit
from central.people import Role, Turn, Verb
from central.store.grants import GRANTS
from central.store.log import RETIREMENTS, SIGNERS, TOMBSTONES
from central.store.tables import AUDIT, AUDIT_HEADS, EVIDENCE
from central.store.traces import TRACES
from proto.errors import Refused
from proto.log import EXPORT, canonical
from proto.process import Section
from proto.signing import SignatureWrong, Verifier


class Retire(Section):
    """``audit.retire``: asked by whoever administers the log."""

    before: date
    """Records of earlier days, as the policy's calendar has them."""
    reason: str = Field(min_length=1, max_length=2000)
    index: str
    """The index of an export that was verified and that holds every record that is to go."""
    signature: str
    certificate: str


class Number(Section):
    """One retirement."""

    number: int = Field(ge=1)


class Nothing(Section):
    """No arguments."""


def ask(turn: Turn, wanted: Retire) -> dict[str, Any]:
    """Propose which records go. Nothing is removed yet. Raises Refused."""
    before_us = turn.profile.calendar.begin_of(wanted.before)
    if before_us > _limit_us(turn):
        years = turn.profile.log.keep_years
        raise Refused(f"records are kept for {years} years", where="before", fix="name an earlier day")
    spans = {span["chain"]: span for span in _index(turn, wanted)["chains"]}
    cuts = [cut for chain in audit.chains(turn.connection) if (cut := _cut(turn, chain, before_us))]
    if not cuts:
        raise Refused("nothing is as old as that", where="before", fix="name a later day")
    for chain, n, _ in cuts:
        _demand_covered(turn, spans.get(chain), chain, n)
    export = hashlib.sha256(wanted.index.encode()).hexdigest()
    made = turn.connection.execute(
        insert(RETIREMENTS)
        .values(
            before_us=before_us,
            export=export,
            covered=canonical({"cuts": cuts}),
            asked_by=turn.actor.person,
            asked_us=turn.now_us,
            reason=wanted.reason,
        )
        .returning(RETIREMENTS.c.id)
    ).scalar_one()
    facts: dict[str, audit.Fact] = {"number": made, "before": wanted.before.isoformat(), "export": export}
    turn.record("retirement_asked", **facts, chains=len(cuts), reason=wanted.reason)
    return {**facts, "chains": [{"chain": chain, "up_to": n} for chain, n, _ in cuts]}


def confirm(turn: Turn, wanted: Number) -> dict[str, Any]:
    """Remove what was proposed, as another person. Raises Refused."""
    c = RETIREMENTS.c
    found = turn.connection.execute(
        select(RETIREMENTS).where(c.id == wanted.number).with_for_update()
    ).one_or_none()
    if found is None or found.confirmed_us is not None:
        raise Refused("no such retirement waits", where=str(wanted.number), fix="audit retirement list")
    if found.asked_by == turn.actor.person:
        raise Refused("the one who asked cannot confirm", where=found.asked_by, fix="another person does")
    cuts = json.loads(found.covered)["cuts"]
    total = 0
    for chain, n, digest in cuts:
        gone = _remove(turn, found, (chain, n, digest))
        facts: dict[str, audit.Fact] = {"number": found.id, "of_chain": chain, "up_to": n}
        facts |= {"digest": digest}
        turn.record("records_retired", **facts, records=gone, export=found.export, asked_by=found.asked_by)
        total += gone
    turn.connection.execute(
        update(RETIREMENTS)
        .where(c.id == found.id)
        .values(confirmed_by=turn.actor.person, confirmed_us=turn.now_us)
    )
    return {"number": found.id, "records": total, "chains": len(cuts)}


def listed(turn: Turn, _: Nothing) -> list[dict[str, Any]]:
    """Every retirement, newest first."""
    rows = turn.connection.execute(select(RETIREMENTS).order_by(RETIREMENTS.c.id.desc()))
    names = ("id", "before_us", "export", "asked_by", "asked_us", "reason", "confirmed_by", "confirmed_us")
    return [{name: getattr(row, name) for name in names} for row in rows]


def _limit_us(turn: Turn) -> int:
    today = turn.profile.calendar.day_of(turn.now_us)
    year = today.year - turn.profile.log.keep_years
    # The day before a 29 February that the earlier year does not have: a day longer, never one too few.
    day = today.replace(day=28) if (today.month, today.day) == (2, 29) else today
    return turn.profile.calendar.begin_of(day.replace(year=year))


def _index(turn: Turn, wanted: Retire) -> dict[str, Any]:
    """The export's index, if this platform signed it."""
    fingerprint = hashlib.sha256(wanted.certificate.encode()).hexdigest()
    ours = select(SIGNERS.c.fingerprint).where(SIGNERS.c.fingerprint == fingerprint)
    if turn.connection.scalar(ours) is None:
        raise SignatureWrong("the export is not this platform's", where="certificate")
    try:
        signature = base64.b64decode(wanted.signature, validate=True)
    except binascii.Error as error:
        raise SignatureWrong("the export's signature cannot be read", where="signature") from error
    Verifier(wanted.certificate.encode()).demand(EXPORT, wanted.index.encode(), signature)
    found: dict[str, Any] = json.loads(wanted.index)
    return found


def _cut(turn: Turn, chain: str, before_us: int) -> tuple[str, int, str] | None:
    """How far a chain is old without a gap: a prefix goes, never a record from the middle."""
    begins, _ = audit.begins(turn.connection, chain)
    young = select(func.min(AUDIT.c.n)).where(AUDIT.c.chain == chain, AUDIT.c.at_us >= before_us)
    head = select(AUDIT_HEADS.c.n).where(AUDIT_HEADS.c.chain == chain)
    first_young = turn.connection.scalar(young)
    n = first_young - 1 if first_young else turn.connection.execute(head).scalar_one()
    if n <= begins:
        return None
    digest = select(AUDIT.c.digest).where(AUDIT.c.chain == chain, AUDIT.c.n == n)
    return chain, n, bytes(turn.connection.execute(digest).scalar_one()).hex()


def _demand_covered(turn: Turn, span: dict[str, Any] | None, chain: str, n: int) -> None:
    begins, _ = audit.begins(turn.connection, chain)
    fix = "exchange-central audit export, without --since, and verify it"
    if span is None or span["first"] > begins + 1 or span["last"] < n:
        raise Refused(f"the export does not hold records {begins + 1} to {n}", where=chain, fix=fix)
    last = select(AUDIT.c.digest).where(AUDIT.c.chain == chain, AUDIT.c.n == span["last"])
    found = turn.connection.scalar(last)
    if found is None or bytes(found).hex() != span["digest"]:
        raise Refused(f"the export's record {span['last']} is not the one here", where=chain, fix=fix)


def _remove(turn: Turn, found: Any, cut: tuple[str, int, str]) -> int:
    chain, n, digest = cut
    begins, _ = audit.begins(turn.connection, chain)
    turn.connection.execute(
        insert(TOMBSTONES),
        {
            "chain": chain,
            "n": n,
            "digest": bytes.fromhex(digest),
            "before_us": found.before_us,
            "at_us": turn.now_us,
            "asked_by": found.asked_by,
            "confirmed_by": turn.actor.person,
            "export": found.export,
        },
    )
    gone = turn.connection.execute(delete(AUDIT).where(AUDIT.c.chain == chain, AUDIT.c.n <= n)).rowcount
    turn.connection.execute(delete(EVIDENCE).where(EVIDENCE.c.chain == chain, EVIDENCE.c.n <= n))
    _remove_traces(turn, found, chain, n)
    if gone != n - begins:
        raise Refused(f"{gone} records are there instead of {n - begins}", where=chain, fix="audit verify")
    return gone


def _remove_traces(turn: Turn, found: Any, chain: str, n: int) -> None:
    """They are found by their grant; whose time is older than any of them has none."""
    c = TRACES.c
    for grant in turn.connection.scalars(select(GRANTS.c.grant_id).order_by(GRANTS.c.grant_id)).all():
        here = (c.grant_id == grant, c.at_us < found.before_us, c.chain == chain, c.n <= n)
        turn.connection.execute(delete(TRACES).where(*here))


_ASKS: Final = frozenset({Role.AUDIT_ADMIN})
_CONFIRMS: Final = frozenset({Role.AUTHORITY, Role.SECURITY_ADMIN})
VERBS: Final[tuple[Verb, ...]] = (
    Verb("audit.retire", Retire, ask, _ASKS, help="propose that old records leave the log"),
    Verb("audit.confirm_retirement", Number, confirm, _CONFIRMS, help="let them go, as another person"),
    Verb("audit.retirements", Nothing, listed, _ASKS | _CONFIRMS, writes=False, help="every retirement"),
)
