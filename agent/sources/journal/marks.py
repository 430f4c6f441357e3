"""Where a reader is in a journal: which entries it has read that may still lie there.

Numbers of journal entries become visible out of order, because they are drawn before their transaction commits. So
nothing here rests on their order. The law is: *what lies in the journal and was not read is to be read, and what is
confirmed is deleted.* A position therefore names the entries that were read and may not be deleted yet. The newest
of them always stays, so that a reader with an older position finds it missing and learns that it has a gap.

As text: ``journal/<identity>/<kept entry>@<its time>/<runs>``, a run being ``first``, ``first-last`` or ``first-last~step`` (several
servers of a cluster draw their numbers with a step).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import Final, Self

from proto.batch import Position
from proto.errors import Diverged

_RUN: Final = re.compile(r"(\d{1,19})(?:-(\d{1,19})(?:~(\d{1,19}))?)?", re.ASCII)
_KEPT: Final = re.compile(r"(\d{1,19})@(\d{1,19})", re.ASCII)
_FIX: Final = "if the database was replaced on purpose, copy all tables afresh: exchange-agent snapshot --all"


@dataclass(frozen=True, slots=True)
class Run:
    """Entries first, first + step … last."""

    first: int
    last: int
    step: int = 1

    @property
    def ids(self) -> range:
        """Each entry."""
        return range(self.first, self.last + 1, self.step)

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}-{self.last}" + (f"~{self.step}" if self.step != 1 else "")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in one journal."""

    identity: str
    kept: int
    """The newest entry ever read; it stays in the journal until a newer one was confirmed."""
    kept_us: int
    """When it was made: a database restored from a backup draws the same numbers again."""
    runs: tuple[Run, ...] = ()
    """What was read and may not be deleted yet, *kept* included."""

    def __str__(self) -> Position:
        return f"journal/{self.identity}/{self.kept}@{self.kept_us}/{','.join(map(str, self.runs))}"

    @classmethod
    def parse(cls, position: Position) -> Self:
        """The mark a position stands for. Raises Diverged for one of another kind of source."""
        parts = position.split("/")
        runs = parts[3].split(",") if len(parts) == 4 and parts[3] else []
        found = [_RUN.fullmatch(run) for run in runs]
        kept = _KEPT.fullmatch(parts[2]) if len(parts) == 4 and parts[0] == "journal" else None
        if kept is None or None in found:
            raise Diverged("the position is not one of a journal", where=position[:80], fix=_FIX)
        groups = [match.groups() for match in found if match]
        return cls(
            parts[1],
            int(kept[1]),
            int(kept[2]),
            tuple(Run(int(first), int(last or first), int(step or 1)) for first, last, step in groups),
        )

    def finder(self) -> Callable[[int], bool]:
        """A function that tells whether an entry is in the runs."""
        firsts = [run.first for run in self.runs]

        def has(number: int) -> bool:
            at = bisect_right(firsts, number) - 1
            return at >= 0 and number in self.runs[at].ids

        return has

    def after(self, ids: Sequence[int], kept_us: int) -> Self:
        """The mark once *ids*, which are in order, were read as well; the newest of all was made at *kept_us*."""
        newest = ids[-1] if ids else 0
        kept, at_us = (newest, kept_us) if newest > self.kept else (self.kept, self.kept_us)
        return replace(self, kept=kept, kept_us=at_us, runs=tuple(runs_of(merge(_all(self.runs), ids))))

    def without(self, deleted: Self) -> Self:
        """The mark once everything that *deleted* has read is gone, but for its newest."""
        gone = deleted.finder()
        left = (number for number in _all(self.runs) if number == deleted.kept or not gone(number))
        return replace(self, runs=tuple(runs_of(left)))


def runs_of(ids: Iterable[int]) -> Iterator[Run]:
    """Numbers in order, as few runs as this simple way of looking finds: one after another, never interleaved."""
    first = last = step = None
    for number in ids:
        if first is None or last is None:
            first = last = number
        elif step is None:
            step, last = number - last, number
        elif number - last == step:
            last = number
        elif first + step == last and step != 1:
            # Two numbers make no pattern: the second may begin a better one.
            yield Run(first, first)
            first, step, last = last, number - last, number
        else:
            yield Run(first, last, step)
            first, last, step = number, number, None
    if first is not None and last is not None:
        yield Run(first, last, step or 1)


def _all(runs: Iterable[Run]) -> Iterator[int]:
    for run in runs:
        yield from run.ids
