"""The judge: compares what a reader sees at central with what really happened, commit by commit.

Four promises, and the names everything else uses for them: *prefix* (every snapshot at central is the source after
its first k commits, k being the position stored beside the rows), *no-loss*, *no-phantom* and *once*.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.support.reference import UNCHANGED, Change, Columns, Row, Transaction, Value

SHOWN: Final = 2


class Broken(AssertionError):
    """A promise was broken; the message starts with its name."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A multiset of rows in two numbers."""

    rows: int = 0
    content: int = 0

    def plus(self, row: Row) -> Digest:
        """With one row more."""
        return Digest(self.rows + 1, (self.content + hash_of(row)) % 2**128)

    def minus(self, row: Row) -> Digest:
        """With one row less."""
        return Digest(self.rows - 1, (self.content - hash_of(row)) % 2**128)


def hash_of(row: Row) -> int:
    """128 bits of one row."""
    return int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest(), "big")


def digest_of(rows: Iterable[Row]) -> Digest:
    """The digest of a whole table."""
    found = [hash_of(row) for row in rows]
    return Digest(len(found), sum(found) % 2**128)


@dataclass(slots=True)
class TableModel:
    """One table as the reference's changes make it: rows by key, or a multiset where there is no key."""

    columns: Columns
    rows: dict[Row, dict[str, Value]] = field(default_factory=dict)
    loose: Counter[Row] = field(default_factory=Counter)
    digest: Digest = Digest()

    def apply(self, change: Change) -> None:
        """What the database did."""
        if change.verb == "TRUNCATE":
            self.rows, self.loose, self.digest = {}, Counter(), Digest()
        elif not self.columns.key:
            self._append(self._row(change.new))
        elif change.verb == "INSERT":
            self._put(change.new)
        elif change.verb == "UPDATE":
            old = self._take(self.columns.key_of(change.old or change.new))
            self._put({name: old[name] if new == UNCHANGED else new for name, new in change.new.items()})
        else:
            self._take(self.columns.key_of(change.old))

    def contents(self) -> Counter[Row]:
        """All rows."""
        return self.loose if not self.columns.key else Counter(self._row(row) for row in self.rows.values())

    def _row(self, values: Mapping[str, Value]) -> Row:
        return tuple(values[name] for name in self.columns.types)

    def _append(self, row: Row) -> None:
        self.loose[row] += 1
        self.digest = self.digest.plus(row)

    def _put(self, values: dict[str, Value]) -> None:
        self.rows[self.columns.key_of(values)] = values
        self.digest = self.digest.plus(self._row(values))

    def _take(self, key: Row) -> dict[str, Value]:
        old = self.rows.pop(key)
        self.digest = self.digest.minus(self._row(old))
        return old


@dataclass(frozen=True, slots=True)
class Sight:
    """What one reader saw in one transaction: how far the stream says it is, and every table's rows."""

    lsn: int
    seq: int
    tables: Mapping[str, list[Row]]


class Judge:
    """Knows every table after every commit, and compares."""

    def __init__(self, tables: Mapping[str, Columns]) -> None:
        self._columns = tables
        self._models = {name: TableModel(columns) for name, columns in tables.items()}
        self._log: list[Transaction] = []
        self._lsns: list[int] = []
        self._states: list[dict[str, Digest]] = []
        self._seen: dict[str, tuple[int, int]] = {}
        self.checks = 0

    @property
    def transactions(self) -> int:
        """How many commits are known."""
        return len(self._log)

    @property
    def end_lsn(self) -> int:
        """Where the last known commit ends; 0 before the first."""
        return self._lsns[-1] if self._lsns else 0

    def learn(self, transactions: Iterable[Transaction]) -> None:
        """Take in what was committed next."""
        for transaction in transactions:
            for change in transaction.changes:
                if change.table in self._models:
                    self._models[change.table].apply(change)
            self._log.append(transaction)
            self._lsns.append(transaction.lsn)
            self._states.append({name: model.digest for name, model in self._models.items()})

    def check(self, sight: Sight, reader: str = "central") -> int:
        """*Prefix* and monotony of one snapshot, judged by what has been learnt; returns k."""
        before = self._seen.get(reader, (0, 0))
        if (sight.lsn, sight.seq) < before or sight.seq < before[1]:
            raise Broken(f"prefix: {reader} went back from {before} to {(sight.lsn, sight.seq)}")
        self._seen[reader] = (sight.lsn, sight.seq)
        commits = bisect_right(self._lsns, sight.lsn)
        expected = self._states[commits - 1] if commits else dict.fromkeys(self._columns, Digest())
        wrong = [name for name, rows in sight.tables.items() if digest_of(rows) != expected[name]]
        if wrong:
            raise Broken(f"prefix: {reader} after {commits} commits: {self._explain(sight, commits, wrong)}")
        self.checks += 1
        return commits

    def forget(self, reader: str = "central") -> None:
        """*reader* was restored from an older copy: it may be behind what it showed before."""
        self._seen.pop(reader, None)

    def contents(self, table: str, commits: int | None = None) -> Counter[Row]:
        """A table's rows after so many commits; after all of them when none is given."""
        if commits is None:
            return self._models[table].contents()
        model = TableModel(self._columns[table])
        for transaction in self._log[:commits]:
            for change in transaction.changes:
                if change.table == table:
                    model.apply(change)
        return model.contents()

    def _explain(self, sight: Sight, commits: int, wrong: list[str]) -> str:
        return "; ".join(self._difference(name, sight.tables[name], commits) for name in wrong)

    def _difference(self, table: str, rows: list[Row], commits: int) -> str:
        expected, found = self.contents(table, commits), Counter(rows)
        missing, extra = expected - found, found - expected
        says = f"{table}: {sum(missing.values())} rows missing, {sum(extra.values())} too many"
        return f"{says}; missing {_some(missing)}; too many {_some(extra)}; {self._nearest(table, rows)}"

    def _nearest(self, table: str, rows: list[Row]) -> str:
        """After which commits the table did look like this; tells a torn state from a false one."""
        found = digest_of(rows)
        fits = [k + 1 for k, state in enumerate(self._states) if state[table] == found]
        return (
            f"it looks like this after commits {fits[0]} to {fits[-1]}"
            if fits
            else "it never looked like this"
        )


def _some(rows: Counter[Row]) -> str:
    return str([tuple(_short(value) for value in row) for row in list(rows)[:SHOWN]])


def _short(value: Value) -> Value:
    return f"{value[:40]!r}… ({len(value)})" if isinstance(value, str | bytes) and len(value) > 40 else value


def check_once(
    sight: Sight, acknowledged: Iterable[int], aborted: Iterable[int], table: str = "events"
) -> None:
    """*No-loss*, *no-phantom* and *once* by the keyless table every transaction writes its number into."""
    seen = Counter(int(row[1] or 0) for row in sight.tables[table])
    lost = [n for n in acknowledged if n not in seen]
    phantoms = [n for n in aborted if n in seen]
    repeated = [n for n, times in seen.items() if times > 1]
    for promise, numbers in (("no-loss", lost), ("no-phantom", phantoms), ("once", repeated)):
        if numbers:
            raise Broken(f"{promise}: transactions {numbers[:SHOWN]} ({len(numbers)} in all)")
