"""A rule, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from central.catalogue.rules.facts import Facts


class Severity(StrEnum):
    """What a finding means for the entry."""

    ERROR = "error"
    """It must not go on like this."""
    WARNING = "warning"
    """A person should look."""
    INFO = "info"


class Needs(StrEnum):
    """What a rule looks at."""

    TEXT = "text"
    """The entry alone, and the policy."""
    CATALOGUE = "catalogue"
    """The other entries, the departments and the people."""
    DATA = "data"
    """The tables as they are."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with which field; a rule's own severity unless it says another."""

    field: str
    what: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the list."""

    number: str
    needs: Needs
    severity: Severity
    title: str
    fix: str
    find: Callable[[Facts], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's word on one field of one entry."""

    code: str
    rule: str
    severity: Severity
    field: str
    what: str
    fix: str

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON says it."""
        return asdict(self)


def look(facts: Facts, rules: Iterable[Rule]) -> Iterator[Finding]:
    """What *rules* find, in their order."""
    for rule in rules:
        for problem in rule.find(facts):
            severity = problem.severity or rule.severity
            yield Finding(facts.entry.code, rule.number, severity, problem.field, problem.what, rule.fix)
