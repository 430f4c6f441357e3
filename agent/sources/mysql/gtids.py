"""Global transaction ids as MariaDB and MySQL write them: how far a reader has come, as a value.

MariaDB counts per domain, so the last number of each says it all. MySQL counts per server and may have holes, so it
needs intervals. Both can take in one more transaction and say whether they contain another such set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, Self


class Gtids(Protocol):
    """A set of transactions."""

    def add(self, gtid: str) -> None:
        """Take in one more transaction."""
        ...

    def contains(self, other: Self) -> bool:
        """Whether everything in *other* is in this one."""
        ...

    def copy(self) -> Self:
        """One that is not changed with this one."""
        ...


@dataclass(slots=True)
class DomainGtids:
    """MariaDB's: ``0-2-3,0-1-5,1-7-20``, the last transaction of each domain after the last ones of other servers in it.

    Only the last one of a domain says where to go on. The others tell this history from one that another server wrote
    in between, and how much of them is known depends on where reading began.
    """

    last: dict[int, tuple[int, int]]
    """Server and number, by domain."""
    others: dict[int, dict[int, int]] = field(default_factory=dict)
    """The last numbers of the servers that wrote in a domain before, by domain and server."""

    @classmethod
    def parse(cls, text: str) -> DomainGtids:
        """Read a list; ValueError if it is none."""
        found = cls({})
        for part in filter(None, (part.strip() for part in text.split(","))):
            found.add(part)
        return found

    def add(self, gtid: str) -> None:
        """Take in one more transaction: the last of its domain."""
        domain, server, number = (int(part) for part in gtid.split("-"))
        before = self.last.get(domain)
        if before is not None and before[0] != server:
            others = self.others.setdefault(domain, {})
            others[before[0]] = before[1]
            others.pop(server, None)
        self.last[domain] = (server, number)

    def contains(self, other: DomainGtids) -> bool:
        """Whether no domain of *other* has come further."""
        nothing = (0, 0)
        return all(self.last.get(domain, nothing)[1] >= number for domain, (_, number) in other.last.items())

    def copy(self) -> DomainGtids:
        """One that is not changed with this one."""
        return DomainGtids(dict(self.last), {domain: dict(others) for domain, others in self.others.items()})

    @property
    def ends(self) -> str:
        """The last of each domain alone, as a replica tells them."""
        return ",".join(
            f"{domain}-{server}-{number}" for domain, (server, number) in sorted(self.last.items())
        )

    def __str__(self) -> str:
        found: list[str] = []
        for domain, (server, number) in sorted(self.last.items()):
            found += (f"{domain}-{each}-{at}" for each, at in sorted(self.others.get(domain, {}).items()))
            found.append(f"{domain}-{server}-{number}")
        return ",".join(found)


Interval = tuple[int, int]
"""First and last number, both in it."""


@dataclass(slots=True)
class ServerGtids:
    """MySQL's: ``uuid:1-5:7,uuid:1-3``, intervals of each server's transactions."""

    intervals: dict[str, list[Interval]]
    """By server, and by tag where there is one; in order, never touching."""

    @classmethod
    def parse(cls, text: str) -> ServerGtids:
        """Read a set; ValueError if it is none."""
        found: dict[str, list[Interval]] = {}
        for part in filter(None, (part.strip() for part in text.replace("\n", "").split(","))):
            server, *numbers = part.split(":")
            name = server.lower()
            for number in numbers:
                if not number[:1].isdigit():
                    # A tag: the intervals after it are counted by themselves.
                    name = f"{server.lower()}:{number}"
                    continue
                first, _, last = number.partition("-")
                found.setdefault(name, []).append((int(first), int(last or first)))
        return cls({name: _joined(numbers) for name, numbers in found.items()})

    def add(self, gtid: str) -> None:
        """Take in one more transaction."""
        name, _, number = gtid.rpartition(":")
        numbers = self.intervals.setdefault(name.lower(), [])
        if numbers and numbers[-1][1] + 1 == int(number):
            numbers[-1] = (numbers[-1][0], int(number))
        else:
            numbers[:] = _joined([*numbers, (int(number), int(number))])

    def contains(self, other: ServerGtids) -> bool:
        """Whether every interval of *other* lies in one of ours."""
        return all(
            any(first <= each[0] and each[1] <= last for first, last in self.intervals.get(name, ()))
            for name, numbers in other.intervals.items()
            for each in numbers
        )

    def copy(self) -> ServerGtids:
        """One that is not changed with this one."""
        return ServerGtids({name: list(numbers) for name, numbers in self.intervals.items()})

    def __str__(self) -> str:
        return ",".join(
            f"{name}:" + ":".join(str(a) if a == b else f"{a}-{b}" for a, b in numbers)
            for name, numbers in sorted(self.intervals.items())
        )


def _joined(numbers: list[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for first, last in sorted(numbers):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
