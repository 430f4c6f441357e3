"""Which tables a statement of the log changes, and how: just enough to know what our copies of them survive.

Rows come as rows; what comes as a statement is a change of structure, a transaction's end, or nothing to us. What is
not understood and could concern a captured table counts as the worst: a table held without need costs a copy, a
change overlooked costs the truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proto.errors import Refused

Name = tuple[str, str]
"""Database and table."""

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--[ \t\r\n][^\n]*|\#[^\n]*)
      | (?P<open>/\*M?!\d*)
      | (?P<comment>/\*.*?\*/)
      | (?P<close>\*/)
      | `(?P<quoted>(?:[^`]|``)*)`
      | (?P<string>[xXbBnN]?'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<word>[\w$@\u0080-\U0010ffff]+)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_LOUD: Final = {"quoted", "string", "word", "sign"}


class Effect(Enum):
    """What a statement does to a table."""

    TRUNCATED = "emptied"
    ALTERED = "altered"
    """Its structure may be another one; its rows are still right if the structure says so."""
    LOST = "renamed, dropped or replaced"
    REWRITTEN = "changed without a word about its rows"
    BY_STATEMENT = "changed by a statement that was logged instead of its rows"


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one table. An empty name: to any table."""

    table: Name
    effect: Effect
    dropped: frozenset[str] = frozenset()
    """Columns an ALTER dropped or renamed, in lower case."""
    added: frozenset[str] = frozenset()
    modified: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a quoted name, a string or a sign."""

    kind: str
    text: str

    def says(self, *words: str) -> bool:
        """Whether it is one of these keywords."""
        return self.kind == "word" and self.text.upper() in words

    def is_sign(self, sign: str) -> bool:
        """Whether it is this sign."""
        return self.kind == "sign" and self.text == sign

    @property
    def is_name(self) -> bool:
        """Whether it can be an identifier."""
        return self.kind in ("word", "quoted")


_DML: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "DO", "SELECT", "VALUES", "WITH")
_QUIET_DROPS: Final = {
    "TEMPORARY",
    "VIEW",
    "INDEX",
    "TRIGGER",
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "USER",
    "ROLE",
}
_NOT_COLUMNS: Final = frozenset(
    {"KEY", "INDEX", "PRIMARY", "FOREIGN", "CONSTRAINT", "CHECK", "DEFAULT", "PERIOD", "SYSTEM"}
    | {"UNIQUE", "FULLTEXT", "SPATIAL", "PARTITION"}
)
_NOISE: Final = (
    "IF",
    "NOT",
    "EXISTS",
    "IGNORE",
    "ONLINE",
    "OFFLINE",
    "LOW_PRIORITY",
    "QUICK",
    "WAIT",
    "NOWAIT",
)
_REWRITING: Final = {"IMPORT", "DISCARD", "EXCHANGE"}


def changes(statement: str, database: str) -> list[Change]:
    """What *statement*, run in *database*, does to which tables."""
    tokens = list(_tokens(statement))
    while tokens and tokens[0].says("SET") and any(token.says("FOR") for token in tokens):
        # SET STATEMENT x = 1 FOR …
        at = next(at for at, token in enumerate(tokens) if token.says("FOR"))
        tokens = tokens[at + 1 :]
    if not tokens:
        return []
    return list(_effects(_Reader(tokens, database)))


def _effects(reader: _Reader) -> Iterator[Change]:
    if reader.took("CREATE"):
        yield from _create(reader)
    elif reader.took("ALTER"):
        yield from _alter(reader)
    elif reader.took("RENAME"):
        yield from _rename(reader)
    elif reader.took("DROP"):
        yield from _drop(reader)
    elif reader.took("TRUNCATE"):
        reader.took("TABLE")
        yield Change(reader.table(), Effect.TRUNCATED)
    elif reader.took("DELETE") and reader.took("FROM"):
        # A server that starts again says so of each table it kept in memory only. Any other one was not ROW.
        table = reader.table()
        yield Change(table, Effect.TRUNCATED if reader.is_at_end else Effect.BY_STATEMENT)
    elif reader.sees(*_DML):
        yield Change(("", ""), Effect.BY_STATEMENT)


def _create(reader: _Reader) -> Iterator[Change]:
    replaces = reader.took("OR") and reader.took("REPLACE")
    if reader.sees("TABLE", "SEQUENCE"):
        reader.took("TABLE", "SEQUENCE")
        reader.skip_noise()
        # Without OR REPLACE it was not there before: whoever followed a table of this name knows already.
        yield Change(reader.table(), Effect.LOST if replaces else Effect.ALTERED)


def _drop(reader: _Reader) -> Iterator[Change]:
    if reader.took("DATABASE", "SCHEMA"):
        reader.skip_noise()
        yield Change((reader.name(), ""), Effect.LOST)
    elif not reader.sees(*_QUIET_DROPS) and reader.took("TABLE", "TABLES", "SEQUENCE"):
        yield from (Change(table, Effect.LOST) for table in reader.tables())


def _rename(reader: _Reader) -> Iterator[Change]:
    if not reader.took("TABLE", "TABLES"):
        return
    reader.skip_noise()
    while not reader.is_at_end:
        yield Change(reader.table(), Effect.LOST)
        while not reader.is_at_end and not reader.took("TO"):
            reader.step()
        yield Change(reader.table(), Effect.LOST)
        if not reader.took_sign(","):
            return


def _alter(reader: _Reader) -> Iterator[Change]:
    ignores = False
    while reader.sees("ONLINE", "OFFLINE", "IGNORE"):
        ignores = reader.sees("IGNORE") or ignores
        reader.step()
    if not reader.took("TABLE", "SEQUENCE"):
        return
    reader.skip_noise()
    table = reader.table()
    rest = reader.rest
    to = _renamed_to(rest, table[0])
    if to is not None:
        yield Change(table, Effect.LOST)
        yield Change(to, Effect.LOST)
    elif ignores or _rewrites(rest):
        yield Change(table, Effect.REWRITTEN)
    else:
        yield Change(table, Effect.ALTERED, **_columns(rest))


def _renamed_to(rest: Sequence[Token], database: str) -> Name | None:
    """The new name, if the table is given one: RENAME [TO|AS] name, but not RENAME COLUMN or INDEX."""
    for at, token in enumerate(rest):
        if token.says("RENAME") and at + 1 < len(rest) and not rest[at + 1].says("COLUMN", "INDEX", "KEY"):
            reader = _Reader([*rest[at + 1 :]], database)
            reader.took("TO", "AS", "=")
            return reader.table()
    return None


def _rewrites(rest: Sequence[Token]) -> bool:
    """Whether rows went or came with a partition or a tablespace."""
    for token, after in zip(rest, [*rest[1:], Token("sign", "")], strict=True):
        if token.kind == "word" and token.text.upper() in _REWRITING:
            return True
        if (
            token.says("DROP", "TRUNCATE", "CONVERT", "ADD")
            and after.says("PARTITION")
            and not token.says("ADD")
        ):
            return True
        if token.says("CONVERT") and after.says("TABLE"):
            return True
        if token.says("SYSTEM") and after.says("VERSIONING"):
            return True
    return False


def _columns(rest: Sequence[Token]) -> dict[str, frozenset[str]]:
    """The columns an ALTER names after DROP or a new name, after ADD, and after MODIFY."""
    reader = _Reader(list(rest), "")
    found: dict[str, set[str]] = {"dropped": set(), "added": set(), "modified": set()}
    while not reader.is_at_end:
        if reader.took("DROP"):
            found["dropped"].update(reader.column())
        elif reader.took("ADD"):
            found["added"].update(reader.column_list())
        elif reader.took("MODIFY"):
            found["modified"].update(reader.column())
        elif reader.sees("CHANGE") or (reader.sees("RENAME") and reader.follows("COLUMN")):
            reader.step()
            old, new = reader.column(), []
            reader.took("TO")
            new = [reader.name().lower()]
            found["modified" if old == new else "dropped"].update(old)
        else:
            reader.step()
    return {what: frozenset(names) for what, names in found.items()}


class _Reader:
    """Walks over tokens."""

    def __init__(self, tokens: list[Token], database: str) -> None:
        self.rest = tokens
        self._database = database

    @property
    def is_at_end(self) -> bool:
        return not self.rest or (len(self.rest) == 1 and self.rest[0].is_sign(";"))

    @property
    def next_word(self) -> str:
        return self.rest[0].text.upper() if self.rest and self.rest[0].kind == "word" else ""

    def sees(self, *words: str) -> bool:
        return bool(self.rest) and self.rest[0].says(*words)

    def took(self, *words: str) -> bool:
        found = self.sees(*words)
        if found:
            self.step()
        return found

    def took_sign(self, sign: str) -> bool:
        found = bool(self.rest) and self.rest[0].is_sign(sign)
        if found:
            self.step()
        return found

    def step(self) -> Token:
        if not self.rest:
            raise Refused("a statement of the binlog ends where a name was expected")
        return self.rest.pop(0)

    def follows(self, word: str) -> bool:
        return len(self.rest) > 1 and self.rest[1].says(word)

    def column(self) -> list[str]:
        """The column a clause speaks of, in lower case; none when it is about something else."""
        if self.next_word in _NOT_COLUMNS:
            return []
        self.took("COLUMN")
        self.skip_noise()
        return [self.name().lower()]

    def column_list(self) -> list[str]:
        """After ADD: one column, or several in brackets, each with its definition."""
        if self.next_word in _NOT_COLUMNS:
            return []
        self.took("COLUMN")
        self.skip_noise()
        if not self.took_sign("("):
            return [self.name().lower()]
        found = [self.name().lower()]
        depth = 1
        while depth and not self.is_at_end:
            token = self.step()
            depth += token.is_sign("(") - token.is_sign(")")
            if depth == 1 and token.is_sign(",") and self.next_word not in _NOT_COLUMNS:
                found.append(self.name().lower())
        return found

    def skip_noise(self) -> None:
        while self.sees(*_NOISE):
            self.step()

    def name(self) -> str:
        token = self.step()
        if not token.is_name and not (token.kind == "string" and token.text.startswith('"')):
            raise Refused("a statement of the binlog has no name where one was expected")
        return token.text[1:-1].replace('""', '"') if token.kind == "string" else token.text

    def table(self) -> Name:
        if self.took_sign("."):
            return (self._database, self.name())
        first = self.name()
        return (first, self.name()) if self.took_sign(".") else (self._database, first)

    def tables(self) -> Iterator[Name]:
        self.skip_noise()
        yield self.table()
        while self.took_sign(","):
            yield self.table()


def _tokens(statement: str) -> Iterator[Token]:
    """The words of a statement without its comments; what stands in a conditional comment was executed."""
    for found in _TOKEN.finditer(statement):
        kind = found.lastgroup or ""
        if kind in _LOUD:
            text = found.group(kind)
            yield Token(kind, text.replace("``", "`") if kind == "quoted" else text)
