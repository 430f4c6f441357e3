"""Stretches of time: joined, cut and measured. Microseconds since 1970, the end not included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_NEVER_US: Final = 2**62


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From *start_us* up to *end_us*."""

    start_us: int
    end_us: int

    @property
    def length_us(self) -> int:
        """How long it is; 0 when it ends before it begins."""
        return max(0, self.end_us - self.start_us)


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as possible, in order."""
    found: list[Span] = []
    for span in sorted(each for each in spans if each.length_us):
        if found and span.start_us <= found[-1].end_us:
            found[-1] = Span(found[-1].start_us, max(found[-1].end_us, span.end_us))
        else:
            found.append(span)
    return found


def both(these: Iterable[Span], those: Iterable[Span]) -> list[Span]:
    """The time that is in both."""
    one, other = joined(these), joined(those)
    found: list[Span] = []
    at = 0
    for span in one:
        while at < len(other) and other[at].end_us <= span.start_us:
            at += 1
        following = at
        while following < len(other) and other[following].start_us < span.end_us:
            cut = other[following]
            found.append(Span(max(span.start_us, cut.start_us), min(span.end_us, cut.end_us)))
            following += 1
    return found


def without(these: Iterable[Span], those: Iterable[Span]) -> list[Span]:
    """The time of *these* that is not in *those*."""
    ends = [Span(-_NEVER_US, -_NEVER_US), *joined(those), Span(_NEVER_US, _NEVER_US)]
    return both(these, [Span(gap.end_us, after.start_us) for gap, after in pairwise(ends)])


def total_us(spans: Iterable[Span]) -> int:
    """How much time they are together."""
    return sum(span.length_us for span in joined(spans))
