"""Grounds on which a department can be told to correct something (Art. 38), each with the records of the log that show it.

A ground is a question to the log, so a finding always has evidence: the chain and the number of each record, which
anybody can check against the chain's digests. Nothing is judged here; whether a ground is made out, people decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from central.people import Role
from central.people.verb import DECISIONS
from central.sharing.steps import Answer, StepKind
from central.store.catalogue import ENTRIES
from central.store.grants import GRANTS
from central.store.office import DEPARTMENT_NODES
from central.store.sharing import STEPS
from central.store.supervision import CASES
from central.store.tables import AUDIT
from central.supervision.sheet import chain_of
from central.supervision.spans import Span
from proto.errors import Refused

MOST_RECORDS: Final = 500
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """One ground, and how the log shows it."""

    code: str
    title: str
    events: tuple[str, ...]
    whose: Callable[[Connection, Facts], str]
    """The department that a record is about."""
    when: Callable[[Facts], bool] = lambda facts: True


@dataclass(frozen=True, slots=True)
class Evidence:
    """One record of the log."""

    chain: str
    record: int
    at_us: int
    event: str
    about: str
    """A resource, request, grant or case."""
    who: str


def _late(connection: Connection, facts: Facts) -> str:
    del connection
    return str(facts["department"])


def _handler(connection: Connection, facts: Facts) -> str:
    query = select(CASES.c.handler).where(CASES.c.number == facts["case"])
    return connection.execute(query).scalar_one_or_none() or ""


def _party(connection: Connection, facts: Facts) -> str:
    """Whose step it was that ended in a refusal, or was not answered in time; "" for the authority's."""
    s = STEPS.c
    one = s.n == facts["step"] if "step" in facts else s.answer == Answer.REFUSED
    query = select(func.max(s.department)).where(s.request == facts["request"], one)
    return connection.execute(query).scalar_one_or_none() or ""


def _consumer(connection: Connection, facts: Facts) -> str:
    query = select(GRANTS.c.department).where(GRANTS.c.grant_id == facts["grant"])
    found = connection.execute(query).scalar_one_or_none() or ""
    # Whoever gives its own grant back did nothing wrong.
    return "" if found == facts.get("department") else found


def _provider(connection: Connection, facts: Facts) -> str:
    query = select(func.max(ENTRIES.c.provider)).where(ENTRIES.c.code == facts["code"])
    return connection.execute(query).scalar_one_or_none() or ""


def _was_answerable(facts: Facts) -> bool:
    return facts.get("kind") not in {str(StepKind.APPROVE), str(StepKind.ROUTE)}


def _by_authority(facts: Facts) -> bool:
    return facts.get("role") == str(Role.AUTHORITY)


GROUNDS: Final = (
    Ground(
        "late",
        "updates later than the published limit",
        ("restriction_warned", "restriction_proposed", "restriction_active"),
        _late,
    ),
    Ground(
        "not-sharing",
        "requests refused, or not answered in time",
        ("request_refused", "step_overdue"),
        _party,
        _was_answerable,
    ),
    Ground(
        "untrue",
        "data found untrue or incomplete: ruled or corrected",
        ("case_ruled", "case_corrected"),
        _handler,
    ),
    Ground("unanswered", "disputes left standing", ("case_escalated",), _handler),
    Ground(
        "catalogue",
        "entries the authority had to adjust, or did not accept as not shared",
        ("catalogue_adjust", "catalogue_verify"),
        _provider,
        _by_authority,
    ),
    Ground(
        "misuse",
        "grants that were suspended or revoked by others than their holder",
        ("grant_suspended", "grant_revoked"),
        _consumer,
    ),
    Ground("no-feedback", "reports of use that were not made in time", ("feedback_overdue",), _consumer),
)
"""Every ground there is."""


def evidence(connection: Connection, ground: Ground, department: str, window: Span) -> list[Evidence]:
    """The records of *window* about *department*, oldest first, at most MOST_RECORDS."""
    found = []
    for row in _records(connection, ground, window):
        facts = json.loads(row.facts)
        if ground.when(facts) and ground.whose(connection, facts) == department:
            about = next((str(facts[name]) for name in _ABOUT if name in facts), "")
            found.append(Evidence(row.chain, row.n, row.at_us, row.event, about, str(facts.get("who", ""))))
            if len(found) == MOST_RECORDS:
                break
    return found


def read_chains(connection: Connection, department: str) -> list[str]:
    """The chains with every read the department proved: whoever doubts a judgement reckons it again from them."""
    query = select(DEPARTMENT_NODES.c.node).where(DEPARTMENT_NODES.c.department == department)
    return [chain_of(node) for node in connection.scalars(query.order_by(DEPARTMENT_NODES.c.node))]


def ground_called(code: str) -> Ground:
    """One ground; raises Refused naming all of them."""
    for ground in GROUNDS:
        if ground.code == code:
            return ground
    raise Refused(
        "no such ground", where=code[:40], fix=f"there are: {', '.join(each.code for each in GROUNDS)}"
    )


_ABOUT: Final = ("case", "grant", "request", "resource", "code")


def _records(connection: Connection, ground: Ground, window: Span) -> Iterator[Row[Any]]:
    here = (AUDIT.c.chain == DECISIONS, AUDIT.c.n >= _first_since(connection, window.start_us))
    query = select(AUDIT).where(*here, AUDIT.c.event.in_(ground.events), AUDIT.c.at_us <= window.end_us)
    yield from connection.execute(query.order_by(AUDIT.c.n))


def _first_since(connection: Connection, at_us: int) -> int:
    """The first record of the decisions at *at_us* or later, found by halving: the log of years is not read for it."""
    newest = select(func.coalesce(func.max(AUDIT.c.n), 0)).where(AUDIT.c.chain == DECISIONS)
    low, high = 1, connection.execute(newest).scalar_one() + 1
    while low < high:
        middle = (low + high) // 2
        when = select(AUDIT.c.at_us).where(AUDIT.c.chain == DECISIONS, AUDIT.c.n == middle)
        if connection.execute(when).scalar_one() < at_us:
            low = middle + 1
        else:
            high = middle
    return low
