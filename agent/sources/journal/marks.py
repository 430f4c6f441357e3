"""Where a reader is in a journal: which entries it has read that may still lie there.

Numbers of journal entries become visible out of order, because they are drawn before their transaction commits. So
nothing here rests on their order. The law is: *what lies in the journal and was not read is to be read, and what is
confirmed is deleted.* A position therefore names the entries that were read and may not be deleted yet. The newest
of them always stays, so that a reader with an older position finds it missing and learns that it has a gap.

As text: ``journal/<identity>/<kept entry>/<runs>``, a run being ``first``, ``first-last`` or ``first-last~step`` (several
servers of a cluster draw their numbers with a step).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from proto.batch import Position
from proto.errors import Diverged

_RUN: Final = re.compile(r"(\d{1,19})(?:-(\d{1,19})(?:~(\d{1,19}))?)?", re.ASCII)
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
    runs: tuple[Run, ...] = ()
    """What was read and may not be deleted yet, *kept* included."""

    def __str__(self) -> Position:
        return f"journal/{self.identity}/{self.kept}/{','.join(map(str, self.runs))}"

    @classmethod
    def parse(cls, position: Position) -> Self:
        """The mark a position stands for. Raises Diverged for one of another kind of source."""
        parts = position.split("/")
        runs = parts[3].split(",") if len(parts) == 4 and parts[3] else []
        found = [_RUN.fullmatch(run) for run in runs]
        if len(parts) != 4 or parts[0] != "journal" or not parts[2].isdecimal() or None in found:
            raise Diverged("the position is not one of a journal", where=position[:80], fix=_FIX)
        groups = [match.groups() for match in found if match]
        return cls(
            parts[1],
            int(parts[2]),
            tuple(Run(int(first), int(last or first), int(step or 1)) for first, last, step in groups),
        )

    def read(self) -> set[int]:
        """Every entry of the runs."""
        return {number for run in self.runs for number in run.ids}

    def after(self, ids: Iterable[int]) -> Self:
        """The mark once *ids* were read as well."""
        every = self.read().union(ids)
        return type(self)(self.identity, max(every, default=self.kept), runs_of(every))

    def without(self, ids: set[int]) -> Self:
        """The mark once *ids* are deleted."""
        return type(self)(self.identity, self.kept, runs_of(self.read() - ids))


def runs_of(ids: Iterable[int]) -> tuple[Run, ...]:
    """The fewest runs this simple way of looking finds, in order."""
    return tuple(_runs(sorted(ids)))


def _runs(ids: list[int]) -> Iterator[Run]:
    at = 0
    while at < len(ids):
        end = at + 1
        step = ids[end] - ids[at] if end < len(ids) else 1
        while end < len(ids) and ids[end] - ids[end - 1] == step:
            end += 1
        if end - at == 2 and step != 1:
            # Two numbers make no pattern: the second may begin a better one.
            end = at + 1
        yield Run(ids[at], ids[end - 1], step if end - at > 1 else 1)
        at = end
