"""What is asked for, and the conditions under which it is agreed to: together they make the terms of a grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from central.catalogue.entry import LegalBasis, Mode
from central.policy import Profile
from central.sharing.terms import Limits, Line, Terms
from proto import predicate
from proto.errors import Refused
from proto.process import Section

EVERYTHING: Final = frozenset({"*", "all", "all items", "全部", "所有", "全部信息项", "所有信息项"})


def _read_rows(form: object) -> dict[str, Any] | None:
    if form is None or form == "":
        return None
    try:
        read = predicate.parse(form) if isinstance(form, str) else predicate.from_json(form)
        return predicate.to_json(read)
    except Refused as error:
        raise ValueError(f"{error.where}: {error.what}{f' ({error.fix})' if error.fix else ''}") from error


class Asked(Section):
    """The five elements of Article 29 and what goes with them."""

    business: Line
    """For which duty the data is used."""
    users: tuple[Line, ...] = Field(min_length=1)
    """Who works with it, in the forms of central/sharing/users.py."""
    items: tuple[Line, ...] = Field(min_length=1)
    """Columns or names of information items; never "all"."""
    mode: Mode
    until: date
    """The last day."""
    since: date | None = None
    """The first day; None = at once."""
    purpose: Line
    basis: LegalBasis | None = None
    """The law the asking department acts upon."""
    rows: dict[str, Any] | None = None
    """As text or JSON of proto/predicate; None = all that is agreed."""
    at_end: Literal["keep", "withdraw"] = "keep"

    @field_validator("rows", mode="before")
    @classmethod
    def _rows(cls, form: object) -> dict[str, Any] | None:
        return _read_rows(form)

    @field_validator("users")
    @classmethod
    def _users(cls, users: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(user.strip() for user in users))
        if not all(names):
            raise ValueError("a user without a name")
        return names

    @field_validator("items")
    @classmethod
    def _items(cls, items: tuple[str, ...]) -> tuple[str, ...]:
        if any(item.strip().lower() in EVERYTHING for item in items):
            raise ValueError('"all items" is not accepted: name each one (Article 29)')
        if len(set(items)) != len(items):
            raise ValueError("an item is named twice")
        return items


class Conditions(Section):
    """What a provider attaches; each one is checked by the machine (Art. 25). They narrow, they never widen."""

    items: tuple[Line, ...] | None = None
    """Fewer items; None = those that were asked for."""
    rows: dict[str, Any] | None = None
    masks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    limits: Limits | None = None
    until: date | None = None
    at_end: Literal["keep", "withdraw"] | None = None

    @field_validator("rows", mode="before")
    @classmethod
    def _rows(cls, form: object) -> dict[str, Any] | None:
        return _read_rows(form)


def terms_of(asked: Asked, agreed: Sequence[Conditions], *, is_directed: bool = False) -> Terms:
    """What holds when every one of *agreed* holds. Raises Refused where they contradict each other."""
    items = asked.items
    masks: dict[str, dict[str, Any]] = {}
    for each in agreed:
        if each.items is not None:
            if beyond := [item for item in each.items if item not in asked.items]:
                raise Refused("was not asked for", where=beyond[0], fix="agree to fewer items, not to more")
            items = tuple(item for item in items if item in each.items)
        for column, mask in each.masks.items():
            if masks.setdefault(column, mask) != mask:
                raise Refused("two consents mask the same column differently", where=column)
    if not items:
        raise Refused("no item is left", where="items")
    said = [asked.at_end, *(each.at_end for each in agreed)]
    return Terms(
        business=asked.business,
        users=asked.users,
        items=items,
        masks={column: mask for column, mask in masks.items() if column in items},
        rows=_both([asked.rows, *(each.rows for each in agreed)]),
        purpose=asked.purpose,
        basis=asked.basis,
        limits=_tightest([each.limits for each in agreed]),
        is_directed=is_directed,
        at_end="withdraw" if "withdraw" in said else "keep",
    )


def days_of(asked: Asked, agreed: Sequence[Conditions], profile: Profile, now_us: int) -> tuple[int, int]:
    """First and last moment of a grant, microseconds since 1970."""
    last = min([asked.until, *(each.until for each in agreed if each.until)])
    calendar = profile.calendar
    begins = calendar.begin_of(asked.since) if asked.since else now_us
    return max(begins, now_us), calendar.end_of(last)


def is_narrower(before: Terms, after: Terms) -> bool:
    """Whether the consumer would lose anything by the change."""
    was, will = before.limits, after.limits
    return (
        not set(before.items) <= set(after.items)
        or (after.rows is not None and after.rows != before.rows)
        or any(before.masks.get(column) != mask for column, mask in after.masks.items())
        or _is_lower(was.rows_per_day, will.rows_per_day)
        or (will.hours is not None and will.hours != was.hours)
        or will.query_rows < was.query_rows
        or will.queries_per_hour < was.queries_per_hour
    )


def view_form(terms: Terms) -> dict[str, Any]:
    """The terms as proto/view.py reads them."""
    return {"columns": list(terms.items), "masks": terms.masks, "rows": terms.rows}


def _is_lower(before: int | None, after: int | None) -> bool:
    return after is not None and (before is None or after < before)


def _both(rows: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    parts: list[dict[str, Any]] = []
    for each in rows:
        if each is not None and each not in parts:
            parts.append(dict(each))
    if len(parts) < 2:
        return parts[0] if parts else None
    joined = {"op": "and", "parts": parts}
    return predicate.to_json(predicate.from_json(joined))


def _tightest(limits: Sequence[Limits | None]) -> Limits:
    given = [each for each in limits if each is not None]
    if not given:
        return Limits()  # type: ignore[call-arg]
    hours = {each.hours for each in given if each.hours is not None}
    if len(hours) > 1:
        raise Refused("two consents name different hours", where="limits.hours")
    per_day = [each.rows_per_day for each in given if each.rows_per_day is not None]
    return Limits(
        rows_per_day=min(per_day, default=None),
        hours=next(iter(hours), None),
        query_rows=min(each.query_rows for each in given),
        queries_per_hour=min(each.queries_per_hour for each in given),
    )
