"""What people look up about departments and grants: figures, who uses what, and evidence for a correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from pydantic import Field
from sqlalchemy import ColumnElement, true

from central.catalogue.published import provider_of
from central.people import Turn, Verb
from central.sharing.lists import sees_all
from central.store.grants import GRANTS
from central.supervision.figures import figures
from central.supervision.grounds import GROUNDS, evidence, ground_called, read_chains
from central.supervision.spans import Span
from central.supervision.usage import usage
from proto.errors import NotAdmitted
from proto.process import Section

DAY_US: Final = 86_400_000_000
LONGEST_DAYS: Final = 366
PAGE: Final = 200


class Figures(Section):
    """One department, or all; how many days back."""

    department: str = ""
    days: int = Field(30, ge=1, le=LONGEST_DAYS)


class Grants(Section):
    """A page of grants, by name."""

    after: str = ""
    count: int = Field(PAGE, ge=1, le=500)


class Consumers(Grants):
    """A page of the grants of one resource."""

    resource: str


class Grounds(Figures):
    """Records about one department; of every ground when none is named."""

    ground: str = ""


def _figures(turn: Turn, asked: Figures) -> list[dict[str, Any]]:
    department = _whose(turn, asked.department)
    return figures(turn.connection, turn.profile.supervision, _window(turn, asked.days), department)


def _consumers(turn: Turn, asked: Consumers) -> list[dict[str, Any]]:
    provider = provider_of(turn.connection, asked.resource)
    if not sees_all(turn.actor) and turn.actor.department != provider:
        raise NotAdmitted("only its provider sees who uses a resource", where=asked.resource[:80])
    return _usage(turn, GRANTS.c.resource == asked.resource, asked)


def _grants(turn: Turn, asked: Grants) -> list[dict[str, Any]]:
    which = true() if sees_all(turn.actor) else GRANTS.c.department == turn.actor.department
    return _usage(turn, which, asked)


def _usage(turn: Turn, which: ColumnElement[bool], page: Grants) -> list[dict[str, Any]]:
    place = (turn.now_us, page.after, page.count)
    return usage(turn.connection, which, turn.profile.supervision, place)


def _grounds(turn: Turn, asked: Grounds) -> dict[str, Any]:
    department = _whose(turn, asked.department) or turn.actor.department
    window = _window(turn, asked.days)
    chosen = (ground_called(asked.ground),) if asked.ground else GROUNDS
    return {
        "department": department,
        "days": asked.days,
        "grounds": [
            {
                "ground": each.code,
                "title": each.title,
                "events": list(each.events),
                "records": [asdict(one) for one in evidence(turn.connection, each, department, window)],
            }
            for each in chosen
        ],
        "reads": read_chains(turn.connection, department),
    }


def _whose(turn: Turn, department: str) -> str:
    """The department asked for; for people of a department their own."""
    if sees_all(turn.actor):
        return department
    if department and department != turn.actor.department:
        raise NotAdmitted("figures of other departments are the authority's", where=department[:40])
    return turn.actor.department


def _window(turn: Turn, days: int) -> Span:
    return Span(turn.now_us - days * DAY_US, turn.now_us)


def _looks(name: str, arguments: type[Section], act: Callable[[Turn, Any], Any], said: str) -> Verb:
    return Verb(name, arguments, act, writes=False, help=said)


VERBS: Final = (
    _looks("report.figures", Figures, _figures, "Each department in figures; your own for a department."),
    _looks("report.consumers", Consumers, _consumers, "Who uses a resource, how much, what for."),
    _looks("report.grants", Grants, _grants, "Your department's grants: use, end, next report."),
    _looks("report.grounds", Grounds, _grounds, "Records of the log that are grounds for a correction."),
)
