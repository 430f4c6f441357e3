"""Rules that need the rest of the catalogue, the departments and the people."""

from __future__ import annotations

from collections.abc import Iterator

from central.catalogue.rules.facts import Facts
from central.catalogue.rules.rule import Problem, Severity
from central.catalogue.states import EntryState


def code_taken(facts: Facts) -> Iterator[Problem]:
    """V03."""
    if facts.holder:
        yield Problem("code", f"belongs to provider {facts.holder} already")


def same_name(facts: Facts) -> Iterator[Problem]:
    """V05."""
    if facts.same_name:
        yield Problem("name", f"is also the name of {', '.join(facts.same_name[:5])}")


def related_codes(facts: Facts) -> Iterator[Problem]:
    """V19."""
    for code in facts.unknown_codes:
        field = "sources" if code in facts.entry.sources else "related"
        yield Problem(field, f"there is no entry {code[:60]}")


def offices(facts: Facts) -> Iterator[Problem]:
    """V21."""
    found = facts.offices
    if found is None:
        return
    if not found.registrars:
        yield Problem("provider", "the department has no registrar")
    if not found.auditors:
        yield Problem("provider", "the department has no auditor")
    elif len(found.registrars | found.auditors) < 2:
        yield Problem("provider", "its only registrar is its only auditor")
    if not found.administrators:
        yield Problem("provider", "the department has no resource administrator (Art. 29)", Severity.WARNING)


def filed(facts: Facts) -> Iterator[Problem]:
    """V24."""
    if facts.level not in facts.policy.filing_needed_at or facts.state is not EntryState.RELEASED:
        return
    if not facts.registration_no:
        yield Problem("registration_no", "the province has not registered it")
