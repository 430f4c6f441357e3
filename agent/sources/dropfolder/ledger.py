"""What a folder remembers: who it is, which numbers it gave and which are done, and every accepted content.

Numbers are given before a file is taken and never twice. What an accepted file held is known by its SHA-256, so that
the same changes dropped again, under whatever name, are one effect.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Final

from agent.sources.dropfolder.folder import OURS, Folder
from proto.batch import Position
from proto.errors import Diverged, Gap

_STATE, _SEEN, _HOLDS = "state.json", "seen", "holds.json"
_AFRESH: Final = "copy all tables afresh: exchange-agent snapshot --all"


@dataclass(frozen=True, slots=True)
class Memory:
    """What the folder knows of itself."""

    identity: str = ""
    taken: int = 0
    """The highest number ever given to a file."""
    confirmed: int = 0
    """The highest number whose batch is committed for good."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One accepted file."""

    number: int
    table: str
    digest: str


class Ledger:
    """The memory of one open folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.memory = Memory()
        self.seen: dict[int, Seen] = {}
        self.holds: dict[str, dict[str, str]] = {}
        """Tables that are left out until they are copied afresh, and why: a restart tells it again."""

    def load(self, position: Position) -> int:
        """Read what is remembered and return the number that *position* names; ``""`` names the newest.

        Raises Diverged for a position of another folder or a later past, Gap for one older than what was confirmed.
        """
        found = self._folder.content(_STATE, OURS)
        self.memory = Memory(**json.loads(found)) if found else Memory()
        self.seen = {each.number: each for each in _seen(self._whole_lines())}
        self.holds = dict(json.loads(self._folder.content(_HOLDS, OURS) or b"{}"))
        if position:
            return self._checked(position)
        if not self.memory.identity:
            self._remember(Memory(secrets.token_hex(8)))
        return self.memory.taken

    def position(self, number: int) -> Position:
        """The position after the file with this number."""
        return f"drop/{self.memory.identity}/{number}"

    def give_number(self) -> int:
        """The next file's number; remembered first, so that no two files ever share one."""
        self._remember(replace(self.memory, taken=self.memory.taken + 1))
        return self.memory.taken

    def confirm(self, number: int) -> None:
        """Everything up to *number* is committed."""
        if number > self.memory.confirmed:
            self._remember(replace(self.memory, confirmed=number))

    def accept(self, seen: Seen) -> None:
        """Remember an accepted content; saying it twice is saying it once."""
        if seen.number not in self.seen:
            self.seen[seen.number] = seen
            self._folder.append(_SEEN, OURS, f"{seen.number} {seen.digest} {seen.table}\n".encode())

    def twin(self, table: str, digest: str, number: int) -> int | None:
        """The earlier file of this table with the same content."""
        return next(
            (n for n, s in self.seen.items() if n < number and (s.table, s.digest) == (table, digest)), None
        )

    def accepted(self, table: str) -> list[int]:
        """The numbers of a table's accepted files, in order."""
        return sorted(seen.number for seen in self.seen.values() if seen.table == table)

    def hold(self, table: str, what: dict[str, str]) -> None:
        """Leave the table out from here on."""
        self.holds[table] = what
        self._folder.write(_HOLDS, OURS, json.dumps(self.holds).encode())

    def resume(self, table: str) -> None:
        """The table is taken again."""
        if self.holds.pop(table, None) is not None:
            self._folder.write(_HOLDS, OURS, json.dumps(self.holds).encode())

    def _whole_lines(self) -> bytes:
        """A last line without its end was cut off by a crash; what it speaks of is filed again."""
        data = self._folder.content(_SEEN, OURS)
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            self._folder.write(_SEEN, OURS, whole)
        return whole

    def _checked(self, position: Position) -> int:
        kind, _, rest = position.partition("/")
        identity, _, number = rest.partition("/")
        place = str(self._folder.path)
        if kind != "drop" or identity != self.memory.identity or not number.isdigit():
            raise Diverged(
                f"the position is of another folder than {place}", where=self._folder.where, fix=_AFRESH
            )
        if int(number) > self.memory.taken:
            raise Diverged(
                f"{place} is older than the position: was it restored?", where=self._folder.where, fix=_AFRESH
            )
        if int(number) < self.memory.confirmed:
            what = f"files after the position were confirmed and filed away in {place}"
            raise Gap(what, where=self._folder.where, fix=_AFRESH)
        return int(number)

    def _remember(self, memory: Memory) -> None:
        self._folder.write(_STATE, OURS, json.dumps(asdict(memory)).encode())
        self.memory = memory


def _seen(data: bytes) -> list[Seen]:
    lines = [line.split(" ", 2) for line in data.decode().split("\n")[:-1]]
    return [Seen(int(line[0]), line[2], line[1]) for line in lines if len(line) == 3 and line[0].isdigit()]
