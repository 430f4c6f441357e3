"""What is known about an entry when the rules look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from central.catalogue.entry import Entry
from central.catalogue.states import EntryState
from central.policy.catalogue import CataloguePolicy
from proto.v1 import node_pb2


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column of the department's table."""

    kind: str
    source_type: str


@dataclass(frozen=True, slots=True)
class Live:
    """The table behind an entry: as its node described it last, and as the platform has it."""

    columns: Mapping[str, LiveColumn] = field(default_factory=dict)
    """Empty while no node has described it."""
    key: tuple[str, ...] = ()
    captured: tuple[str, ...] = ()
    trouble: str = ""
    at_us: int = 0
    answers: bool = False
    """The platform has the table."""
    updated_us: int = 0
    """When its stream was last proven read to its end, or last brought a change; 0 = never."""
    sampled: int = 0
    repeats: int = 0
    """Of the sampled rows, how many had the key of another."""
    reported: node_pb2.TableReport = field(default_factory=node_pb2.TableReport)
    """What its node last said of it."""


@dataclass(frozen=True, slots=True)
class Offices:
    """Who of the provider holds which office."""

    registrars: frozenset[str] = frozenset()
    auditors: frozenset[str] = frozenset()
    administrators: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """One entry with all that the rules ask about it; what is None was not looked at."""

    entry: Entry
    policy: CataloguePolicy
    today: date
    now_us: int = 0
    version: int = 1
    state: EntryState = EntryState.DRAFT
    holder: str = ""
    """The other provider that has this code already."""
    same_name: tuple[str, ...] = ()
    """Other entries of the provider that are called alike."""
    unknown_codes: tuple[str, ...] = ()
    """Related codes and sources that nobody has."""
    offices: Offices | None = None
    verification: Mapping[str, Any] = field(default_factory=dict)
    registration_no: str = ""
    level: str = "city"
    """Of the platform."""
    live: Live | None = None


def period(text: str) -> timedelta:
    """How long an ISO 8601 duration of days, hours, minutes and seconds is."""
    days, _, clock = text.removeprefix("P").partition("T")
    total = timedelta(days=int(days[:-1] or 0) if days else 0)
    number = ""
    for letter in clock:
        if letter.isdigit():
            number += letter
            continue
        unit = {"H": 3600, "M": 60, "S": 1}[letter]
        total += timedelta(seconds=int(number) * unit)
        number = ""
    return total
