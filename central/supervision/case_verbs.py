"""What people do about disputes and corrections, and about reporting what use was made of a grant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic import Field

from central.catalogue.published import provider_of
from central.people import Role, Turn, Verb
from central.sharing.changes import Reasoned, suspend
from central.sharing.grants import grant_row
from central.supervision.cases import CaseState, Kind, Opening, Step, case, cases_of, move, open_case
from central.supervision.evidence import batch_digest, demand_source, source_of
from central.supervision.feedback import mark_read, overdue, reports, submit
from proto.errors import Refused
from proto.process import Section

PAGE: Final = 100
_SEES_ALL: Final = frozenset({Role.AUTHORITY, Role.AUDIT_ADMIN})


class Raise(Section):
    """A new case."""

    kind: Kind
    resource: str
    text: str = Field(min_length=1, max_length=4000)
    grant: str = ""
    evidence: str = Field("", max_length=4000)


class OneCase(Section):
    """One case by its number."""

    case: int


class Said(OneCase):
    """A step with what was said."""

    text: str = Field(min_length=1, max_length=4000)


class Rule(Said):
    """A decision, and what follows from it."""

    suspends: str = ""
    """A grant that is suspended by it; nothing else stops because of a dispute (Art. 25)."""


class Transfer(Said):
    """To whom a case goes."""

    department: str


class Correct(Said):
    """What was corrected, and which batch carries it."""

    stream: str
    seq: int = Field(ge=1)


class Evaluate(Said):
    """How it ended, in the eyes of who raised it."""

    score: int = Field(ge=1, le=5)
    solved: bool


class Cases(Section):
    """A page of cases, by number."""

    after: int = 0
    count: int = Field(PAGE, ge=1, le=500)


class Submit(Section):
    """A report of use."""

    grant: str
    text: str = Field(min_length=1, max_length=4000)
    figures: dict[str, int] = Field(default_factory=dict)


class ReadReport(Section):
    """Which report was read."""

    grant: str
    n: int


class OneGrant(Section):
    """One grant."""

    grant: str


class Nothing(Section):
    """No arguments."""


def _raise(turn: Turn, asked: Raise) -> dict[str, Any]:
    provider = provider_of(turn.connection, asked.resource)
    if not provider:
        raise Refused("no such resource", where=asked.resource[:80], fix="exchange-central catalogue list")
    opening = Opening(asked.kind, asked.resource, provider, asked.text, asked.grant, asked.evidence)
    return {"case": open_case(turn, opening), "handler": provider}


def _rule(turn: Turn, asked: Rule) -> dict[str, Any]:
    if asked.suspends:
        about = case(turn.connection, asked.case)["resource"]
        if grant_row(turn.connection, asked.suspends, lock=True).resource != about:
            raise Refused("the grant is for another resource than the case", where=asked.suspends)
    step = Step(CaseState.RULED, asked.text, facts={"suspends": asked.suspends})
    state = str(move(turn, asked.case, step))
    if asked.suspends:
        suspend(turn, Reasoned(grant=asked.suspends, reason=f"case {asked.case}: {asked.text}"[:2000]))
    return {"case": asked.case, "state": state, "suspended": asked.suspends}


def _step(to: CaseState, turn: Turn, asked: Said) -> dict[str, Any]:
    return {"case": asked.case, "state": str(move(turn, asked.case, Step(to, asked.text)))}


def _transfer(turn: Turn, asked: Transfer) -> dict[str, Any]:
    step = Step(CaseState.TRANSFERRED, asked.text, handler=asked.department)
    return {"case": asked.case, "state": str(move(turn, asked.case, step))}


def _correct(turn: Turn, asked: Correct) -> dict[str, Any]:
    about = case(turn.connection, asked.case)
    demand_source(turn.connection, about["resource"], asked.stream)
    digest = batch_digest(turn.connection, asked.stream, asked.seq)
    facts: dict[str, str | int | bool] = {"stream": asked.stream, "seq": asked.seq, "digest": digest}
    step = Step(CaseState.CORRECTED, asked.text, facts=facts)
    return {"case": asked.case, "state": str(move(turn, asked.case, step))}


def _close(turn: Turn, asked: Evaluate) -> dict[str, Any]:
    step = Step(CaseState.CLOSED, asked.text, facts={"score": asked.score, "solved": asked.solved})
    return {"case": asked.case, "state": str(move(turn, asked.case, step))}


def _list(turn: Turn, asked: Cases) -> list[dict[str, Any]]:
    department = "" if turn.actor.roles & _SEES_ALL else turn.actor.department
    return cases_of(turn.connection, department, asked.after, asked.count)


def _show(turn: Turn, asked: OneCase) -> dict[str, Any]:
    found = case(turn.connection, asked.case)
    if not turn.actor.roles & _SEES_ALL and turn.actor.department not in {found["raiser"], found["handler"]}:
        raise Refused("no such case", where=f"case {asked.case}", fix="exchange-central case list")
    return {**found, "source": source_of(turn.connection, found["resource"])}


def _overdue(turn: Turn, asked: Nothing) -> list[dict[str, Any]]:
    del asked
    department = "" if turn.actor.roles & _SEES_ALL else turn.actor.department
    return overdue(turn.connection, turn.now_us, department)


def _reports(turn: Turn, asked: OneGrant) -> list[dict[str, Any]]:
    return reports(turn.connection, asked.grant)


def _submit(turn: Turn, asked: Submit) -> dict[str, Any]:
    return {"grant": asked.grant, "n": submit(turn, asked.grant, asked.text, asked.figures)}


def _read(turn: Turn, asked: ReadReport) -> dict[str, Any]:
    mark_read(turn, asked.grant, asked.n)
    return {"grant": asked.grant, "n": asked.n}


def _stepping(to: CaseState) -> Callable[[Turn, Said], dict[str, Any]]:
    return partial(_step, to)


VERBS: Final = (
    Verb("case.raise", Raise, _raise, help="Open a case against the provider of a resource."),
    Verb("case.accept", Said, _stepping(CaseState.ACCEPTED), help="Take a case on."),
    Verb("case.transfer", Transfer, _transfer, help="Hand a case to the department it concerns."),
    Verb("case.answer", Said, _stepping(CaseState.ANSWERED), help="Answer who raised it."),
    Verb("case.agree", Said, _stepping(CaseState.AGREED), help="The answer is accepted."),
    Verb(
        "case.dispute",
        Said,
        _stepping(CaseState.DISPUTED),
        help="The answer is not accepted: the authority rules.",
    ),
    Verb(
        "case.rule",
        Rule,
        _rule,
        frozenset({Role.AUTHORITY}),
        help="Decide a dispute; it may suspend a grant.",
    ),
    Verb("case.correct", Correct, _correct, help="Say which batch carries the correction."),
    Verb("case.close", Evaluate, _close, help="Close a case with a score from 1 to 5."),
    Verb(
        "case.list",
        Cases,
        _list,
        writes=False,
        help="Cases of the own department; all of them for the authority.",
    ),
    Verb("case.show", OneCase, _show, writes=False, help="One case with everything that was said."),
    Verb("report.overdue", Nothing, _overdue, writes=False, help="Reports of use that should be here."),
    Verb("report.use", OneGrant, _reports, writes=False, help="What was reported of one grant."),
    Verb("report.submit", Submit, _submit, help="Report what use was made of a grant."),
    Verb("report.read", ReadReport, _read, help="Note that a report was read."),
)
