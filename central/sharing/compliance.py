"""What the machine checks before anybody is asked: the five elements, the catalogue, and the provider's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from central.catalogue.entry import Entry, Item, Mode, ShareType, Storage
from central.catalogue.published import Published, published
from central.ledger import shape_of
from central.policy import Profile
from central.sharing.asked import Asked, terms_of, view_form
from central.sharing.terms import Terms
from central.sharing.users import faults_of, nobody_of
from proto.errors import Refused
from proto.schema import TableSchema
from proto.view import BoundView, View

TRIAL_KEY = bytes(32)
"""Stands for the grant's secret while a view is only tried."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who wants which resource."""

    consumer: str
    department: str
    resource: str


def comply(
    connection: Connection, wanted: Wanted, asked: Asked, profile: Profile, now_us: int
) -> tuple[Published, Asked]:
    """The entry in force and what is asked with columns for items. Raises Refused with every fault at once."""
    found = published(connection, wanted.resource)
    items = _columns(found.entry, asked)
    checked = asked.model_copy(update={"items": items})
    faults = [*_days_faults(asked, profile, now_us), *_entry_faults(found.entry, wanted, checked)]
    by_column = found.entry.columns
    faults += [
        f"{item} is not shared: only the authority can direct it to you by law (Article 5)"
        for item in items
        if by_column[item].share_type is ShareType.NOT_SHARED
    ]
    if faults:
        raise Refused("; ".join(faults), where=wanted.resource, fix="correct the request")
    demand_fit(connection, found.entry, terms_of(checked, ()))
    return found, checked


def comply_directed(
    connection: Connection, wanted: Wanted, asked: Asked, profile: Profile, now_us: int
) -> tuple[Published, Asked]:
    """The same for a statutory grant (Art. 5 ¶5): what is not shared may be named, and a law must be."""
    found = published(connection, wanted.resource)
    checked = asked.model_copy(update={"items": _columns(found.entry, asked)})
    faults = [*_days_faults(asked, profile, now_us), *_entry_faults(found.entry, wanted, checked)]
    if asked.basis is None:
        faults.append("basis: a directed grant names the law and the article that demand it")
    if faults:
        raise Refused("; ".join(faults), where=wanted.resource)
    demand_fit(connection, found.entry, terms_of(checked, ()))
    return found, checked


def demand_fit(connection: Connection, entry: Entry, terms: Terms) -> BoundView:
    """Raise Refused unless the terms fit the provider's table as it is: columns, keys, masks, row filter.

    Rows of every mode come from that table, so nothing can be granted that nothing serves.
    """
    view = View.from_json(view_form(terms))
    return view.bind(shape_of_entry(connection, entry), TRIAL_KEY)


def demand_somebody(connection: Connection, department: str, asked: Asked) -> None:
    """Raise Refused when people will ask at the platform and one of the users is nobody there.

    Asked of who writes a request, once: that somebody leaves later is not for its provider to mend.
    """
    if asked.mode is Mode.QUERY and (faults := list(nobody_of(connection, asked.users, department))):
        raise Refused("; ".join(faults), where=department, fix="correct the request")


def shape_of_entry(connection: Connection, entry: Entry) -> TableSchema:
    """The provider's table behind *entry*. Raises Refused, saying whose move it is."""
    binding = entry.binding
    if binding is None:
        fix = f"its provider {entry.provider_name} binds it in the catalogue"
        raise Refused("no table carries this resource", where=entry.code, fix=fix)
    shape = shape_of(connection, binding.stream, binding.table)
    if shape is None:
        fix = f"its provider {entry.provider_name} starts the source; see exchange-central stream list"
        raise Refused(
            "nothing of its table has come to the platform yet",
            where=f"{binding.stream} {binding.table}",
            fix=fix,
        )
    return shape


def needs_double_consent(entry: Entry) -> bool:
    """Whether Article 28 ¶1 is about it: stored on the platform, or made of others' resources."""
    return entry.storage is Storage.HOSTED or bool(entry.sources)


def is_conditional(entry: Entry, asked: Asked) -> bool:
    """Whether any item asked for is shared on conditions."""
    by_column: Mapping[str, Item] = entry.columns
    return any(by_column[item].share_type is ShareType.CONDITIONAL for item in asked.items)


def _columns(entry: Entry, asked: Asked) -> tuple[str, ...]:
    by_name = {item.name: item.column for item in entry.items}
    found = tuple(item if item in entry.columns else by_name.get(item, "") for item in asked.items)
    missing = [item for item, column in zip(asked.items, found, strict=True) if not column]
    if missing:
        known = ", ".join(entry.columns)
        raise Refused(
            f"the catalogue has no item {', '.join(missing)[:200]}",
            where=entry.code,
            fix=f"its items are: {known[:400]}",
        )
    if len(set(found)) != len(found):
        raise Refused("an item is named twice, by name and by column", where=entry.code)
    return found


def _days_faults(asked: Asked, profile: Profile, now_us: int) -> list[str]:
    today = profile.calendar.day_of(now_us)
    longest = today + timedelta(days=profile.sharing.longest_grant_calendar_days)
    faults = []
    if asked.until < today:
        faults.append(f"until: {asked.until} is over")
    if asked.until > longest:
        faults.append(f"until: the policy {profile.name} lets a grant last until {longest} at most")
    if asked.since is not None and asked.since > asked.until:
        faults.append("since: begins after its end")
    return faults


def _entry_faults(entry: Entry, wanted: Wanted, asked: Asked) -> list[str]:
    faults = []
    if asked.mode not in entry.modes:
        faults.append(f"mode: it is offered for {', '.join(entry.modes)}, not for {asked.mode}")
    elif asked.mode is Mode.CUSTOM and not entry.sources:
        what = "mode: a customised product names the resources it is made of (Article 24)"
        faults.append(f"{what}; its provider {entry.provider_name} lists them as the entry's sources")
    faults += faults_of(asked.users, asked.mode)
    if entry.provider == wanted.department:
        faults.append("it is the department's own resource")
    return faults
