"""What follows from being late (Art. 28 ¶2): warned, proposed, confirmed, in force; and lifted by itself.

A restriction takes from the late department its own right to hosted and composite resources, and nothing else: nobody
else loses access to the late department's data (SD28.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from central import audit
from central.people.verb import DECISIONS
from central.policy.supervision import SupervisionPolicy
from central.store.supervision import RESTRICTIONS
from central.supervision.timeliness import Judgement, Punctuality
from proto.errors import Refused


class Step(StrEnum):
    """How far a restriction has come."""

    NONE = "none"
    WARNED = "warned"
    PROPOSED = "proposed"
    ACTIVE = "active"


NEXT: Final[Mapping[Step, frozenset[Step]]] = {
    Step.NONE: frozenset({Step.WARNED}),
    Step.WARNED: frozenset({Step.NONE, Step.PROPOSED}),
    Step.PROPOSED: frozenset({Step.NONE, Step.ACTIVE}),
    Step.ACTIVE: frozenset({Step.NONE}),
}
"""Every move there is. Being on time again leads back from everywhere."""
_NEXT: Final = {
    Step.WARNED: "a restriction is proposed after {limits} limits",
    Step.PROPOSED: "the authority decides about a restriction",
    Step.ACTIVE: "hosted and composite resources are closed to the department",
}
"""What comes next, or holds now, in the department's sentence."""
GOOD: Final = frozenset({Punctuality.ON_TIME, Punctuality.DUE})


@dataclass(frozen=True, slots=True)
class Restriction:
    """Where one resource stands."""

    resource: str
    department: str
    step: Step
    since_us: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Case:
    """One resource at the moment it is judged."""

    resource: str
    name: str
    department: str
    judgement: Judgement
    evidence: str
    """Which records of the log say so."""


def wanted(step: Step, judgement: Judgement, policy: SupervisionPolicy) -> Step:
    """The step that *judgement* asks for next; the same one when nothing moves."""
    if judgement.state in GOOD:
        return Step.NONE
    if judgement.state is Punctuality.UNKNOWN:
        return step
    late = judgement.cycles_late
    if step is Step.NONE and late >= policy.warn_after_limits:
        return Step.WARNED
    if step is Step.WARNED and late >= policy.restrict_after_limits:
        return Step.PROPOSED
    if step is Step.PROPOSED and policy.restricts_automatically:
        return Step.ACTIVE
    return step


def hold(connection: Connection) -> None:
    """One decision at a time, in all central processes: whoever moves a restriction holds the decisions' chain first."""
    audit.tip(connection, DECISIONS)


def advance(connection: Connection, case: Case, policy: SupervisionPolicy, now_us: int) -> Restriction | None:
    """Move the resource's restriction one step if it is time; returns where it stands now, None when nothing moved."""
    hold(connection)
    row = _row(connection, case.resource)
    step = Step(row.state) if row else Step.NONE
    to = wanted(step, case.judgement, policy)
    if to is step:
        return None
    found = Restriction(case.resource, case.department, to, now_us, sentence(case, to, policy))
    _move(connection, found, step, {"who": "clock", "evidence": case.evidence})
    return found


def confirm(connection: Connection, resource: str, who: str, now_us: int) -> Restriction:
    """The authority puts a proposed restriction in force; raises Refused when none is proposed."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state != Step.PROPOSED:
        where = f"it is {row.state}" if row else "nobody proposed one"
        raise Refused(f"there is no restriction to confirm: {where}", where=resource, fix="case restrictions")
    said = row.sentence.replace(_NEXT[Step.PROPOSED], _NEXT[Step.ACTIVE])
    found = Restriction(resource, row.department, Step.ACTIVE, now_us, said)
    _move(connection, found, Step.PROPOSED, {"who": who, "evidence": row.evidence})
    return found


def reject(connection: Connection, resource: str, why: tuple[str, str], now_us: int) -> Restriction:
    """The authority does not follow a proposal, or lifts what is in force; *why* is who and the reason."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state not in {Step.PROPOSED, Step.ACTIVE}:
        raise Refused("there is no restriction to lift", where=resource, fix="case restrictions")
    return lift(connection, resource, why, now_us)


def lift(connection: Connection, resource: str, why: tuple[str, str], now_us: int) -> Restriction:
    """End a warning, a proposal or a restriction, whatever the judgement."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state == Step.NONE:
        raise Refused("there is nothing to lift", where=resource, fix="case restrictions")
    who, reason = why
    found = Restriction(resource, row.department, Step.NONE, now_us, reason)
    _move(connection, found, Step(row.state), {"who": who, "evidence": row.evidence})
    return found


def restrictions(connection: Connection, department: str = "") -> list[Restriction]:
    """Everything that is not over, of one department or of all."""
    query = select(RESTRICTIONS).where(RESTRICTIONS.c.state != Step.NONE).order_by(RESTRICTIONS.c.resource)
    if department:
        query = query.where(RESTRICTIONS.c.department == department)
    rows = connection.execute(query).all()
    return [
        Restriction(row.resource, row.department, Step(row.state), row.since_us, row.sentence) for row in rows
    ]


def restricted(connection: Connection, department: str) -> list[str]:
    """Why *department* lost the right of Art. 28 ¶1 for now, a sentence for each resource; empty when it did not."""
    found = restrictions(connection, department)
    return [each.sentence for each in found if each.step is Step.ACTIVE]


def sentence(case: Case, step: Step, policy: SupervisionPolicy) -> str:
    """Which resource, its limit, how it is, since when, what lifts it (SD28.4)."""
    judged = case.judgement
    if step is Step.NONE:
        return f"{case.name} is on time again"
    limit, age = _hours(judged.limit_us), _hours(judged.age_us)
    read_at = datetime.fromtimestamp(judged.newest_us / 1_000_000, UTC)
    next_step = _NEXT[step].format(limits=policy.restrict_after_limits)
    return (
        f"{case.name} ({case.resource}) promises to be read every {limit} and was last read {age} ago, "
        f"excused time left out (at {read_at:%Y-%m-%d %H:%M} UTC); {next_step}; the next read lifts it"
    )


def _hours(length_us: int) -> str:
    hours = length_us / 3_600_000_000
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _row(connection: Connection, resource: str) -> Row[Any] | None:
    here = RESTRICTIONS.c.resource == resource
    return connection.execute(select(RESTRICTIONS).where(here).with_for_update()).one_or_none()


def _move(connection: Connection, to: Restriction, before: Step, why: dict[str, str]) -> None:
    if to.step not in NEXT[before]:
        raise Refused(f"a restriction cannot go from {before} to {to.step}", where=to.resource)
    confirmed = {"confirmed_us": to.since_us, "confirmed_by": why["who"]} if to.step is Step.ACTIVE else {}
    said = {
        "state": str(to.step),
        "since_us": to.since_us,
        "sentence": to.sentence,
        "evidence": why["evidence"],
    }
    here = RESTRICTIONS.c.resource == to.resource
    changed = {**said, **confirmed, "department": to.department}
    if not connection.execute(update(RESTRICTIONS).where(here).values(changed)).rowcount:
        connection.execute(insert(RESTRICTIONS), {"resource": to.resource, **changed})
    event = "restriction_lifted" if to.step is Step.NONE else f"restriction_{to.step}"
    facts = {
        "resource": to.resource,
        "department": to.department,
        "before": str(before),
        "sentence": to.sentence,
    }
    audit.record(connection, DECISIONS, event, **facts, **why)
