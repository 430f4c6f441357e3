"""Stretches of time: joined, cut and measured. Microseconds since 1970, the end not included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
    cut = (
        Span(max(this.start_us, that.start_us), min(this.end_us, that.end_us))
        for this in joined(these)
        for that in joined(those)
    )
    return joined(cut)


def without(these: Iterable[Span], those: Iterable[Span]) -> list[Span]:
    """The time of *these* that is not in *those*."""
    left = joined(these)
    for gap in joined(those):
        left = [
            part
            for span in left
            for part in (
                Span(span.start_us, min(span.end_us, gap.start_us)),
                Span(max(span.start_us, gap.end_us), span.end_us),
            )
            if part.length_us
        ]
    return left


def total_us(spans: Iterable[Span]) -> int:
    """How much time they are together."""
    return sum(span.length_us for span in joined(spans))
