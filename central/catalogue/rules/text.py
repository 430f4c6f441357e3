"""Rules that need the entry alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Final

from central.catalogue.differences import name_key
from central.catalogue.entry import Item, Mode
from central.catalogue.rules.facts import Facts, period
from central.catalogue.rules.rule import Problem, Severity
from central.catalogue.states import EntryState
from central.people.codes import check_credit_code
from proto.errors import Refused

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NEEDS_TEXT: Final = frozenset({"irregular", "other"})


def required_fields(facts: Facts) -> Iterator[Problem]:
    """V01."""
    for name in facts.policy.required:
        if _is_empty(facts, name):
            yield Problem(name, "is missing")
    if facts.entry.update_cycle in _NEEDS_TEXT and not facts.entry.update_cycle_text.strip():
        yield Problem("update_cycle_text", "this cycle needs words of explanation")


def code_pattern(facts: Facts) -> Iterator[Problem]:
    """V02."""
    entry, policy = facts.entry, facts.policy
    if not re.fullmatch(policy.code_pattern, entry.code, re.ASCII):
        yield Problem("code", f"{entry.code[:40]!r} does not fit the pattern of codes")
        return
    if entry.code[0] not in policy.classes:
        yield Problem("code", f"there is no class {entry.code[0]}")
    class_code = entry.code.partition("/")[0]
    for place, (part, digits) in enumerate(zip(entry.class_path, policy.class_digits, strict=False)):
        if not re.fullmatch(f"[0-9]{{{digits}}}", part, re.ASCII):
            yield Problem(f"class_path[{place}]", f"{part[:20]!r} is not of {digits} digits")
    if "".join(entry.class_path) != class_code:
        yield Problem("class_path", f"{'/'.join(entry.class_path)} is not the class of code {entry.code}")


def credit_code(facts: Facts) -> Iterator[Problem]:
    """V04."""
    try:
        check_credit_code(facts.entry.provider)
    except Refused as error:
        yield Problem("provider", error.what)


def system_name(facts: Facts) -> Iterator[Problem]:
    """V06."""
    if word := next((each for each in facts.policy.system_words if facts.entry.name.endswith(each)), ""):
        yield Problem("name", f"ends with {word}: that is a system's name, not a resource's")


def format_and_mode(facts: Facts) -> Iterator[Problem]:
    """V07."""
    allowed = facts.policy.modes_for_format.get(str(facts.entry.format_class), ())
    if odd := [mode for mode in facts.entry.modes if mode not in allowed]:
        what = f"{', '.join(odd)} does not go with format class {facts.entry.format_class}"
        yield Problem("modes", what)
    if not facts.entry.modes:
        yield Problem("modes", "there is none")


def conditions(facts: Facts) -> Iterator[Problem]:
    """V08."""
    for item in _without_condition(facts):
        name = facts.policy.share_types.get(item.share_type, item.share_type)
        yield Problem(f"items[{item.column}].condition", f"{name} needs a condition")


def legal_basis(facts: Facts) -> Iterator[Problem]:
    """V09: the ground itself; whether the authority has verified it stands beside the entry."""
    for item in facts.entry.items:
        if item.share_type in facts.policy.basis_needed_for and not (item.basis or facts.entry.basis):
            name = facts.policy.share_types.get(item.share_type, item.share_type)
            what = f"{name} needs a legal basis: title, document number, article"
            yield Problem(f"items[{item.column}].basis", what)


def verified(facts: Facts) -> Iterator[Problem]:
    """V09: the authority's word."""
    if facts.state not in (EntryState.PUBLISHED, EntryState.RELEASED, EntryState.CHANGED):
        return
    if needs_verification(facts) and facts.verification.get("result") != EntryState.VERIFIED:
        yield Problem("verification", "what is not shared was not verified by the authority")


def items(facts: Facts) -> Iterator[Problem]:
    """V10."""
    if not facts.entry.items:
        yield Problem("items", "there is none")
    names = Counter(name_key(item.name) for item in facts.entry.items)
    columns = Counter(item.column for item in facts.entry.items)
    for item in facts.entry.items:
        if names[name_key(item.name)] > 1:
            yield Problem(f"items[{item.column}].name", f"{item.name[:40]!r} occurs twice")
        if columns[item.column] > 1:
            yield Problem(f"items[{item.column}].column", "occurs twice")


def key_declared(facts: Facts) -> Iterator[Problem]:
    """V13: the declaration; whether it holds is seen in the data."""
    if facts.entry.binding and not any(item.is_key for item in facts.entry.items):
        yield Problem("items", "no item is the key", Severity.WARNING)


def cycle_and_limit(facts: Facts) -> Iterator[Problem]:
    """V14."""
    limit = period(facts.entry.update_limit)
    if not limit:
        yield Problem("update_limit", "is no time at all")
        return
    usual = facts.policy.update_limits.get(facts.entry.update_cycle)
    if usual and limit > 2 * period(usual):
        what = f"{facts.entry.update_limit} is more than twice what is usual for {facts.entry.update_cycle}, {usual}"
        yield Problem("update_limit", what, Severity.WARNING)


def dates(facts: Facts) -> Iterator[Problem]:
    """V17."""
    text = facts.entry.published_on
    if not text:
        return
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        yield Problem("published_on", "is no date written CCYY-MM-DD")
    elif day > facts.today:
        yield Problem("published_on", "lies in the future")


def survey_numbers(facts: Facts) -> Iterator[Problem]:
    """V18; that they are numbers is the model's business."""
    survey = facts.entry.survey
    if survey is None:
        return
    if survey.shared_rows > survey.structured_rows:
        yield Problem("survey.shared_rows", "more rows are shared than there are", Severity.WARNING)
    if survey.opened_rows > survey.structured_rows:
        yield Problem("survey.opened_rows", "more rows are open than there are", Severity.WARNING)


def secret(facts: Facts) -> Iterator[Problem]:
    """V20."""
    if facts.entry.is_secret:
        yield Problem("is_secret", "a secret resource is not for this platform")


def seven_elements(facts: Facts) -> Iterator[Problem]:
    """V22."""
    for field, name in facts.policy.elements.items():
        if field == "condition":
            missing = any(True for _ in _without_condition(facts))
        else:
            missing = _is_empty(facts, field)
        if missing:
            yield Problem(field, f"the sharing catalogue must say its {name} (Art. 16)")


def personal_data(facts: Facts) -> Iterator[Problem]:
    """V23."""
    for item in facts.entry.items:
        if item.is_personal and item.share_type == "unconditional":
            yield Problem(f"items[{item.column}].share_type", "personal data is shared without a condition")


def customised(facts: Facts) -> Iterator[Problem]:
    """V26: whoever provides a source must consent, so a product that names none cannot be asked for."""
    entry = facts.entry
    if Mode.CUSTOM in entry.modes and not entry.sources:
        yield Problem("sources", "a customised product names the resources it is made of (Art. 24)")
    if entry.code in entry.sources:
        yield Problem("sources", "an entry is not made of itself")


def needs_verification(facts: Facts) -> bool:
    """Whether anything in it needs the authority's word."""
    needed = facts.policy.verification_needed_for
    return any(item.share_type in needed for item in facts.entry.items)


def _is_empty(facts: Facts, field: str) -> bool:
    value = getattr(facts.entry, field, None)
    return not (value.strip() if isinstance(value, str) else value)


def _without_condition(facts: Facts) -> Iterator[Item]:
    for item in facts.entry.items:
        if item.share_type in facts.policy.condition_needed_for and not (
            item.condition.strip() or facts.entry.condition.strip()
        ):
            yield item
