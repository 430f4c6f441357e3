"""The ways of listening at one place: what each sees, needs and costs, and what is missing for it now.

What is missing is what the source's own ``check`` says of these very settings; nothing is promised that was not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from agent.cli.places import Place
from agent.sources.kinds import SourceSettings, new_source
from agent.sources.source import NoMirror
from proto.errors import ExchangeError, Refused


@dataclass(frozen=True, slots=True)
class Price:
    """What is true of a way wherever it is gone."""

    how: str
    sees_deletes: str
    needs: str
    load: str
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way of listening at one place."""

    kind: str
    price: Price
    missing: tuple[str, ...]
    """Each is a statement, a command or a line of settings; none: it is possible now."""


PRICES: Final = {
    "postgresql": Price(
        "its log",
        "yes",
        "REPLICATION, SELECT, a publication",
        "almost none",
        "every change in the order it was committed, at the least cost for the database",
    ),
    "mysql": Price(
        "its binary log",
        "yes",
        "REPLICATION SLAVE, BINLOG MONITOR (MySQL: REPLICATION CLIENT), SELECT",
        "almost none",
        "every change in the order it was committed, at the least cost for the database",
    ),
    "journal": Price(
        "triggers",
        "yes",
        "triggers that its administrator makes once; SELECT, and DELETE on the journal",
        "one more small row written for each change",
        "every change, deletes at once; there is no log to read, or it may not be read",
    ),
    "polling": Price(
        "questions",
        "once a day, or as set",
        "SELECT",
        "each poll reads what is new, each comparison all rows",
        "nothing but SELECT is needed",
    ),
    "dropfolder": Price(
        "files",
        "in whole lists",
        "a folder that its owner and the agent may write",
        "none",
        "no database has to be asked",
    ),
}


def ways(place: Place, sections: dict[str, dict[str, Any]]) -> list[Way]:
    """Every way that is possible at *place*, the recommended one first; *sections* are the settings of each."""
    return [Way(kind, PRICES[kind], tuple(_missing(sections[kind]))) for kind in place.addresses]


def chosen_kind(found: Sequence[Way], wanted: str) -> str:
    """The kind that was asked for, or the recommended one. Raises Refused for one that is not possible there."""
    kinds = [way.kind for way in found]
    if wanted and wanted not in kinds:
        raise Refused(f"there is no way {wanted!r} there", where="--kind", fix=f"choose {' or '.join(kinds)}")
    return wanted or kinds[0]


def _missing(section: dict[str, Any]) -> list[str]:
    try:
        settings = TypeAdapter[SourceSettings](SourceSettings).validate_python(section)
        findings = new_source(settings, NoMirror()).check()
    except ExchangeError as error:
        return [error.fix or error.what]
    except ValidationError as error:
        return [str(fault["msg"]) for fault in error.errors(include_input=False, include_url=False)]
    return [finding.fix or finding.sentence for finding in findings if not finding.passed]
