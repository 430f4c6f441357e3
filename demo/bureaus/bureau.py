"""What the acts of the demonstration ask of a bureau, whatever it runs on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from demo.books import Books
from demo.bureaus.people import DISTRICTS, id_number
from demo.show import Show
from proto.batch import Frames

PEOPLE: Final = 90_000
BORN_FROM: Final = 10_000_000
"""Numbers of those who are born while somebody looks."""
ACCOUNT: Final = "ex_capture"
DATABASE: Final = "population"
TRANSACTIONS: Final = ("个事务", "transactions")
TABLES: Final = ("person", "household", "迁移登记")


class Looking(Protocol):
    """One who reads the bureau's own records."""

    def count(self, table: str) -> int:
        """How many rows a table has."""
        ...

    def living_in(self, district: str) -> int:
        """How many people are registered there."""
        ...

    def is_read(self, books: Books) -> bool:
        """Whether everything the bureau has done is in the exchange database; nobody may be at work."""
        ...

    def close(self) -> None:
        """Look no more."""
        ...


class Work(Protocol):
    """One at work at the bureau."""

    done: int
    """How many transactions, or files."""

    def work(self) -> None:
        """The next transaction, or file."""
        ...

    def close(self) -> None:
        """Go home."""
        ...


class Bureau(Protocol):
    """A department's own records."""

    source: dict[str, Any]
    """Its section in the agent's settings, but for its name."""

    @property
    def tables(self) -> Sequence[str]:
        """Their names everywhere."""
        ...

    @property
    def unit(self) -> tuple[str, str]:
        """What it does all day, counted, in both languages."""
        ...

    @property
    def pace_s(self) -> float:
        """How long it rests between two of them."""
        ...

    def open(self, show: Show) -> None:
        """Make it, with its people, and show it."""
        ...

    def mend(self, missing: Sequence[Mapping[str, Any]], config: Path, show: Show) -> None:
        """Do what ``check`` says."""
        ...

    def looking(self) -> Looking:
        """A connection to look at it."""
        ...

    def working(self) -> Work:
        """A connection to work on it."""
        ...

    def known(self) -> dict[str, Frames] | None:
        """The rows of its tables as its own records have them; None where the source can be asked."""
        ...

    def afterwards(self, show: Show) -> None:
        """What is worth a look after the day."""
        ...

    def place(self) -> str:
        """How a person gets at it."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


@dataclass(slots=True)
class Day:
    """People are born, move, marry, correct their numbers and die; each call is one transaction."""

    connection: Any
    """A connection of any driver, not committing by itself."""
    mark: str = "%s"
    """Its sign for a value."""
    random: random.Random = field(default_factory=lambda: random.Random(2015))
    done: int = 0

    def work(self) -> None:
        """Commit one small transaction."""
        acts = (self._birth, self._move, self._correct, self._redraw, self._death)
        self.random.choices(acts, (8, 8, 1, 1, 2))[0]()
        self.connection.commit()
        self.done += 1

    def close(self) -> None:
        """Go home."""
        self.connection.close()

    def _birth(self) -> None:
        household = self.random.randrange(1000)
        self._say(
            "INSERT INTO person VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, NULL, %s, %s)",
            BORN_FROM + self.done,
            f"3701{90_000_000_000_000 + self.done:014d}",
            "新生儿" + "𠮷福乐安"[self.done % 4],
            self.done % 2,
            "2026-03-07",
            DISTRICTS[household % len(DISTRICTS)],
            household,
            '{"民族": "汉族"}',
            "2026-03-07 09:30:00",
        )
        self._say("UPDATE household SET members = members + 1 WHERE number = %s", household)

    def _move(self) -> None:
        number, household = self._anyone(), self.random.randrange(1000)
        district = DISTRICTS[household % len(DISTRICTS)]
        self._say(
            "UPDATE person SET district = %s, household = %s, phone = %s WHERE number = %s",
            district,
            household,
            f"138{self.random.randrange(10**8):08d}",
            number,
        )
        register = 'INSERT INTO "迁移登记" ("身份证号", "迁出地", "迁入地", "附件") VALUES (%s, %s, %s, %s)'
        self._say(register, id_number(number), "历下区", district, self.random.randbytes(64))

    def _correct(self) -> None:
        corrected = f"3702{self.done:014d}"
        self._say("UPDATE person SET id_number = %s WHERE number = %s", corrected, self._anyone())

    def _redraw(self) -> None:
        # Where a border moves, a household has another key.
        district = self.random.choice(DISTRICTS)
        self._say(
            "UPDATE household SET district = %s WHERE number = %s", district, self.random.randrange(1000)
        )

    def _death(self) -> None:
        self._say("DELETE FROM person WHERE number = %s", self._anyone())

    def _anyone(self) -> int:
        return self.random.randrange(1, 20_000)

    def _say(self, statement: str, *values: object) -> None:
        cursor = self.connection.cursor()
        cursor.execute(statement.replace("%s", self.mark), values)
        cursor.close()


@dataclass(frozen=True, slots=True)
class Counting:
    """Counts rows over one connection; what is read is asked of *reached*."""

    connection: Any
    reached: Callable[[Any, Books], bool]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(asked(self.connection, f'SELECT count(*) FROM "{table}"'))

    def living_in(self, district: str) -> int:
        """How many people are registered there."""
        return int(asked(self.connection, f"SELECT count(*) FROM person WHERE district = '{district}'"))

    def is_read(self, books: Books) -> bool:
        """Whether everything that was done is in the exchange database."""
        return self.reached(self.connection, books)

    def close(self) -> None:
        """Hang up."""
        self.connection.close()


def asked(connection: Any, question: str) -> Any:
    """The first value of an answer."""
    cursor = connection.cursor()
    cursor.execute(question)
    found = cursor.fetchone()
    cursor.close()
    return found[0] if found else None


def show_tables(show: Show, looking: Looking, tables: Sequence[str]) -> None:
    """How large each table is."""
    for table in tables:
        show.fact(table, f"{looking.count(table):,} 行 rows")
    looking.close()
