"""Is a resource on time? Computed from signed reads, never from row counts (Art. 23, 28). Pure functions.

A *read* says: at this moment the department's database was proven read to its end. Whether anything had changed does
not matter: "looked, nothing changed" is on time. A resource is on time while its newest read is not older than its
published limit. Time in which the platform was down, or in which maintenance was agreed, is nobody's fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from central.supervision.spans import Span, both, joined, total_us, without

_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII)
_SECONDS: Final = (86_400, 3_600, 60, 1)
SECOND_US: Final = 1_000_000


class Punctuality(StrEnum):
    """How a resource stands at one moment."""

    ON_TIME = "on_time"
    DUE = "due"
    """Most of the limit is used up."""
    LATE = "late"
    SERIOUSLY_LATE = "seriously_late"
    UNKNOWN = "unknown"
    """Never read: nothing was promised yet."""


@dataclass(frozen=True, slots=True)
class Read:
    """One proven read, by central's clock."""

    proven_us: int
    received_us: int
    """When central heard of it; later than *proven_us* when the way was cut."""


@dataclass(frozen=True, slots=True)
class Excuses:
    """Time that is never counted against a department (SD28.5)."""

    platform: Sequence[Span] = ()
    """Central was down."""
    maintenance: Sequence[Span] = ()
    """Agreed beforehand."""

    @property
    def all(self) -> list[Span]:
        """Both."""
        return joined([*self.platform, *self.maintenance])


@dataclass(frozen=True, slots=True)
class Rules:
    """From the policy profile."""

    due_share: float
    """Of the limit; from there on it is DUE."""
    serious_factor: float
    """Times the limit; from there on it is SERIOUSLY_LATE."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a resource stands, and why."""

    state: Punctuality
    limit_us: int
    newest_us: int
    """The newest read; 0 = none."""
    age_us: int
    """Since the newest read, without excused time."""

    @property
    def cycles_late(self) -> int:
        """How many whole limits have gone by since it should have been read again."""
        return max(0, self.age_us // self.limit_us) if self.newest_us else 0


@dataclass(frozen=True, slots=True)
class Shares:
    """Late time as central saw it, by whose it was."""

    department_us: int
    network_us: int
    """The department had read in time, and the way was cut."""
    platform_us: int
    excused_us: int


def limit_us_of(duration: str) -> int:
    """An ISO 8601 duration of days, hours, minutes and seconds, in microseconds."""
    found = _DURATION.fullmatch(duration)
    if not found or not any(found.groups()):
        raise ValueError(f"{duration!r} is no duration")
    parts = zip(found.groups(), _SECONDS, strict=True)
    return sum(int(part or 0) * seconds for part, seconds in parts) * SECOND_US


def judge(reads: Sequence[Read], limit_us: int, at_us: int, excuses: Excuses, rules: Rules) -> Judgement:
    """How the resource stands at *at_us*, by what central had heard until then."""
    newest = max((read.proven_us for read in reads if read.received_us <= at_us), default=0)
    return judge_newest(newest, limit_us, at_us, excuses.all, rules)


def judge_newest(
    newest_us: int, limit_us: int, at_us: int, excused: Sequence[Span], rules: Rules
) -> Judgement:
    """The same by the newest read alone, 0 for none; *excused* is in order and joined."""
    if not newest_us:
        return Judgement(Punctuality.UNKNOWN, limit_us, 0, 0)
    age = max(0, at_us - newest_us)
    for span in reversed(excused):
        if span.end_us <= newest_us:
            break
        age -= max(0, min(span.end_us, at_us) - max(span.start_us, newest_us))
    return Judgement(_state(age, limit_us, rules), limit_us, newest_us, age)


def deadline_us(proven_us: int, limit_us: int, excused: Sequence[Span]) -> int:
    """When a read becomes too old: its limit and all excused time later. *excused* is in order and joined."""
    end = proven_us + limit_us
    for span in excused:
        if span.start_us >= end:
            break
        end += max(0, span.end_us - max(span.start_us, proven_us))
    return end


def share(reads: Sequence[Read], limit_us: int, window: Span, excuses: Excuses) -> Shares:
    """Whose the late time in *window* was, as far as it is known now.

    Late is what central saw as late: no read it had *heard of* was young enough. Of that, the platform's is the time it was
    down; the network's is the time in which the department *had* read in time; the rest is the department's.
    Excused time also puts off when a read becomes too old, as it does for whoever is judged.
    """
    begun, all_excused = min((read.proven_us for read in reads), default=window.end_us), excuses.all
    ends = [deadline_us(read.proven_us, limit_us, all_excused) for read in reads]
    seen = [Span(read.received_us, end) for read, end in zip(reads, ends, strict=True)]
    true = [Span(read.proven_us, end) for read, end in zip(reads, ends, strict=True)]
    late = without([Span(max(window.start_us, begun), window.end_us)], seen)
    return divide(late, true, excuses)


def divide(late: Sequence[Span], had_read: Sequence[Span], excuses: Excuses) -> Shares:
    """Late time by whose it was; *had_read* is when the department had a young read, heard of or not."""
    platform = both(late, excuses.platform)
    rest = without(late, platform)
    excused = both(rest, excuses.maintenance)
    rest = without(rest, excused)
    network = both(rest, had_read)
    return Shares(
        department_us=total_us(without(rest, network)),
        network_us=total_us(network),
        platform_us=total_us(platform),
        excused_us=total_us(excused),
    )


def _state(age_us: int, limit_us: int, rules: Rules) -> Punctuality:
    if age_us > limit_us * rules.serious_factor:
        return Punctuality.SERIOUSLY_LATE
    if age_us > limit_us:
        return Punctuality.LATE
    return Punctuality.DUE if age_us > limit_us * rules.due_share else Punctuality.ON_TIME
