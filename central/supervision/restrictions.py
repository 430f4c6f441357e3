"""What follows from being late (Art. 28 ¶2): warned, proposed, confirmed, in force; and lifted by itself.

A restriction takes from the late department its own right to hosted and composite resources, and nothing else: nobody
else loses access to the late department's data (SD28.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

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
    return next(iter(advance_all(connection, [case], policy, now_us)), None)


def advance_all(
    connection: Connection, cases: Sequence[Case], policy: SupervisionPolicy, now_us: int
) -> list[Restriction]:
    """The same for several resources, at the cost of one; returns those that moved."""
    hold(connection)
    rows = _rows(connection, [case.resource for case in cases])
    moves = []
    for case in cases:
        row = rows.get(case.resource)
        step = Step(row.state) if row else Step.NONE
        to = wanted(step, case.judgement, policy)
        if to is not step:
            found = Restriction(case.resource, case.department, to, now_us, sentence(case, to, policy))
            moves.append(_Move(found, step, {"who": "clock"}, case.evidence))
    _write(connection, moves)
    return [move.to for move in moves]


def confirm(connection: Connection, resource: str, hand: Mapping[str, str], now_us: int) -> Restriction:
    """The authority, whose *hand* it is, puts a proposed restriction in force; raises Refused when none is proposed."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state != Step.PROPOSED:
        where = f"it is {row.state}" if row else "nobody proposed one"
        raise Refused(f"there is no restriction to confirm: {where}", where=resource, fix="case restrictions")
    said = row.sentence.replace(_NEXT[Step.PROPOSED], _NEXT[Step.ACTIVE])
    found = Restriction(resource, row.department, Step.ACTIVE, now_us, said)
    _write(connection, [_Move(found, Step.PROPOSED, hand, row.evidence)])
    return found


def reject(
    connection: Connection, resource: str, why: tuple[Mapping[str, str], str], now_us: int
) -> Restriction:
    """The authority does not follow a proposal, or lifts what is in force; *why* is whose hand it is and the reason."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state not in {Step.PROPOSED, Step.ACTIVE}:
        raise Refused("there is no restriction to lift", where=resource, fix="case restrictions")
    return lift(connection, resource, why, now_us)


def lift(
    connection: Connection, resource: str, why: tuple[Mapping[str, str], str], now_us: int
) -> Restriction:
    """End a warning, a proposal or a restriction, whatever the judgement."""
    hold(connection)
    row = _row(connection, resource)
    if row is None or row.state == Step.NONE:
        raise Refused("there is nothing to lift", where=resource, fix="case restrictions")
    hand, reason = why
    found = Restriction(resource, row.department, Step.NONE, now_us, reason)
    _write(connection, [_Move(found, Step(row.state), hand, row.evidence)])
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
    return _rows(connection, [resource]).get(resource)


def _rows(connection: Connection, resources: Sequence[str]) -> dict[str, Row[Any]]:
    here = RESTRICTIONS.c.resource.in_(resources)
    return {
        row.resource: row for row in connection.execute(select(RESTRICTIONS).where(here).with_for_update())
    }


@dataclass(frozen=True, slots=True)
class _Move:
    """One step, who took it, and which records say why."""

    to: Restriction
    before: Step
    hand: Mapping[str, str]
    evidence: str

    @property
    def row(self) -> dict[str, Any]:
        """What changes."""
        to = self.to
        confirmed = (
            {"confirmed_us": to.since_us, "confirmed_by": self.hand["who"]} if to.step is Step.ACTIVE else {}
        )
        return {
            "resource": to.resource,
            "department": to.department,
            "state": str(to.step),
            "since_us": to.since_us,
            "sentence": to.sentence,
            "evidence": self.evidence,
            **confirmed,
        }

    @property
    def event(self) -> tuple[str, dict[str, audit.Fact]]:
        """As it goes on record."""
        to = self.to
        facts: dict[str, audit.Fact] = {
            "resource": to.resource,
            "department": to.department,
            "before": str(self.before),
            "sentence": to.sentence,
            **self.hand,
            "evidence": self.evidence,
        }
        return "restriction_lifted" if to.step is Step.NONE else f"restriction_{to.step}", facts


def _write(connection: Connection, moves: Sequence[_Move]) -> None:
    """Take every step, on record; raises Refused when one of them is none."""
    for move in moves:
        if move.to.step not in NEXT[move.before]:
            what = f"a restriction cannot go from {move.before} to {move.to.step}"
            raise Refused(what, where=move.to.resource)
    there = _rows(connection, [move.to.resource for move in moves])
    rows = [move.row for move in moves]
    if new := [row for row in rows if row["resource"] not in there]:
        connection.execute(insert(RESTRICTIONS), new)
    for is_confirmed in (False, True):
        old = [row for row in rows if row["resource"] in there and ("confirmed_us" in row) is is_confirmed]
        if old:
            here = RESTRICTIONS.c.resource == bindparam("which")
            values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in old[0] if name != "resource"}
            told = [
                {"which": row["resource"], **{f"new_{name}": row[name] for name in values}} for row in old
            ]
            connection.execute(update(RESTRICTIONS).where(here).values(values), told)
    audit.extend(connection, audit.tip(connection, DECISIONS), [move.event for move in moves])
