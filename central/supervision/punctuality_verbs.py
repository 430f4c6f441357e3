"""What people do about being on time: look, agree maintenance, decide about restrictions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from central.catalogue.published import published
from central.people import Role, Turn, Verb
from central.supervision.punctuality import Standing, page_of_bound, shares, standing, standings
from central.supervision.restrictions import Restriction, confirm, reject, restrictions
from central.supervision.spans import Span
from central.supervision.timeliness import Shares
from central.supervision.uptime import agree_maintenance
from proto.errors import Refused
from proto.process import Section

DAY_US: Final = 86_400_000_000
LONGEST_DAYS: Final = 92
PAGE: Final = 100


class Nothing(Section):
    """No arguments."""


class Page(Section):
    """A page of resources, by code."""

    after: str = ""
    department: str = ""
    count: int = Field(PAGE, ge=1, le=500)


class OneResource(Section):
    """One resource by its code."""

    resource: str


class Window(OneResource):
    """One resource and how many days back."""

    days: int = Field(30, ge=1, le=LONGEST_DAYS)


class Decision(OneResource):
    """A decision with its reason."""

    reason: str = Field(min_length=1, max_length=2000)


class Maintenance(Section):
    """Hours that are not counted."""

    department: str
    begin: datetime
    """Local time of the policy's zone."""
    end: datetime
    reason: str = Field(min_length=1, max_length=2000)


def _punctuality(turn: Turn, page: Page) -> list[dict[str, Any]]:
    found = page_of_bound(turn.connection, page.after, page.department, page.count)
    return [_standing(each) for each in standings(turn.connection, found, turn.profile.supervision)]


def _why_late(turn: Turn, asked: Window) -> dict[str, Any]:
    resource = published(turn.connection, asked.resource)
    now = standing(turn.connection, resource, turn.profile.supervision)
    window = Span(turn.now_us - asked.days * DAY_US, turn.now_us)
    return {**_standing(now), "days": asked.days, **_shares(shares(turn.connection, resource, window))}


def _restrictions(turn: Turn, asked: Nothing) -> list[dict[str, Any]]:
    del asked
    everything = turn.actor.roles & {Role.AUTHORITY, Role.AUDIT_ADMIN}
    own = "" if everything else turn.actor.department
    return [_restriction(each) for each in restrictions(turn.connection, own)]


def _confirm(turn: Turn, asked: OneResource) -> dict[str, Any]:
    return _restriction(confirm(turn.connection, asked.resource, turn.hand, turn.now_us))


def _reject(turn: Turn, asked: Decision) -> dict[str, Any]:
    why = (turn.hand, asked.reason)
    return _restriction(reject(turn.connection, asked.resource, why, turn.now_us))


def _maintenance(turn: Turn, asked: Maintenance) -> dict[str, Any]:
    span = Span(_moment(turn, asked.begin), _moment(turn, asked.end))
    if not span.length_us:
        raise Refused("it ends before it begins", where="end")
    if span.start_us < turn.now_us:
        fix = "raise a dispute instead"
        raise Refused("what has passed cannot be agreed afterwards", where="begin", fix=fix)
    number = agree_maintenance(turn.connection, asked.department, span, asked.reason, turn.hand)
    return {"maintenance": number, "department": asked.department}


def _moment(turn: Turn, local: datetime) -> int:
    """A local time without a zone is the policy's."""
    aware = local if local.tzinfo else local.replace(tzinfo=turn.profile.calendar.zone)
    return int(aware.timestamp() * 1_000_000)


def _standing(each: Standing) -> dict[str, Any]:
    judged = each.judgement
    return {
        "resource": each.resource,
        "name": each.name,
        "department": each.department,
        "state": str(judged.state),
        "limit_us": judged.limit_us,
        "newest_us": judged.newest_us,
        "age_us": judged.age_us,
        "limits_late": judged.cycles_late,
    }


def _shares(found: Shares) -> dict[str, int]:
    return {
        "late_department_us": found.department_us,
        "late_network_us": found.network_us,
        "late_platform_us": found.platform_us,
        "excused_us": found.excused_us,
    }


def _restriction(each: Restriction) -> dict[str, Any]:
    return {
        "resource": each.resource,
        "department": each.department,
        "step": str(each.step),
        "since_us": each.since_us,
        "sentence": each.sentence,
    }


VERBS: Final = (
    Verb("report.punctuality", Page, _punctuality, writes=False, help="How each resource stands, by code."),
    Verb("report.late", Window, _why_late, writes=False, help="Whose the late time of one resource was."),
    Verb(
        "case.restrictions", Nothing, _restrictions, writes=False, help="Warnings, proposals, restrictions."
    ),
    Verb("case.confirm", OneResource, _confirm, frozenset({Role.AUTHORITY}), help="Put a proposal in force."),
    Verb("case.reject", Decision, _reject, frozenset({Role.AUTHORITY}), help="Do not follow, or lift."),
    Verb(
        "case.maintenance",
        Maintenance,
        _maintenance,
        frozenset({Role.AUTHORITY}),
        help="Agree hours that are not counted against a department.",
    ),
)
