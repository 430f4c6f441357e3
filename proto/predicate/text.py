"""The expression as people type it: ``region = '370100' and not (status in ('注销', '死亡'))``.

Keywords in any case. A column's name stands as it is, Chinese included, or in double quotes. Literals are
texts in single quotes, numbers, true and false.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from proto.errors import Refused
from proto.predicate.tree import (
    MAX_BYTES,
    MAX_DEPTH,
    And,
    Compare,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    StartsWith,
    check,
)

MAX_TEXT: Final = 8 * MAX_BYTES
"""Characters; no expression within its limits is written in as many."""
_MAX_OPEN: Final = 2 * MAX_DEPTH  # "not (" opens twice
KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "null", "starts", "with", "true", "false"})
_WORD: Final = re.compile(r"[^\W\d]\w*")
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*+')
    | (?P<quoted>"(?:[^"]|"")*+")
    | (?P<number>[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?!\w)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_OPENING: Final = {"'": "a closing '", '"': 'a closing "'}
_FULL_WIDTH: Final = frozenset("（），＝＜＞！‘’“”＇＂")
_COMPARISON: Final = "a comparison (= != < <= > >=), 'in', 'starts with' or 'is null'"


def parse(text: str) -> Predicate:
    """The expression in *text*. Raises Refused that says at which character, counted from 1, what was expected."""
    if len(text) > MAX_TEXT:
        raise Refused(f"the row filter has more than {MAX_TEXT} characters", where="rows")
    reader = _Reader(text)
    predicate = reader.either(1)
    if reader.kind != "end":
        reader.expected("'and', 'or' or the end")
    check(predicate)
    return predicate


def to_text(predicate: Predicate) -> str:
    """The text that :func:`parse` reads back as the same expression."""
    check(predicate)
    return _written(predicate)


def _written(node: Predicate) -> str:
    match node:
        case Not(IsNull(column)):
            return f"{_name(column)} is not null"
        case Not():
            return f"not ({_written(node.part)})"
        case And() | Or():
            word = " and " if isinstance(node, And) else " or "
            return word.join(
                f"({_written(part)})" if isinstance(part, And | Or) else _written(part) for part in node.parts
            )
    name = _name(node.column)
    match node:
        case Compare():
            return f"{name} {node.op} {_string(node.value)}"
        case In():
            return f"{name} in ({', '.join(map(_string, node.values))})"
        case _:
            return (
                f"{name} starts with {_string(node.prefix)}"
                if isinstance(node, StartsWith)
                else f"{name} is null"
            )


def _name(column: str) -> str:
    if _WORD.fullmatch(column) and column.lower() not in KEYWORDS:
        return column
    return '"' + column.replace('"', '""') + '"'


def _string(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class _Reader:
    """Goes from token to token; each method reads one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self.next()

    def next(self) -> None:
        """Go to the next token."""
        found = _TOKEN.match(self._text, self._end)
        if found is None:
            self._unreadable()
        self.kind = str(found.lastgroup)
        self.token = found[self.kind]
        self._at = found.start(self.kind)
        self._end = found.end()
        if self.kind == "word" and self.token.lower() in KEYWORDS:
            self.kind, self.token = "keyword", self.token.lower()

    def either(self, depth: int) -> Predicate:
        """Conditions connected by ``or``."""
        parts = [self.both(depth)]
        while self._take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def both(self, depth: int) -> Predicate:
        """Conditions connected by ``and``."""
        parts = [self.single(depth)]
        while self._take("and"):
            parts.append(self.single(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def single(self, depth: int) -> Predicate:
        """One condition, turned round or in parentheses."""
        if depth > _MAX_OPEN:
            self.expected(f"no more than {_MAX_OPEN} parentheses and 'not' inside one another")
        if self._take("not"):
            return Not(self.single(depth + 1))
        if self._take("("):
            inner = self.either(depth + 1)
            self._need(")", "'and', 'or' or ')'")
            return inner
        if self.kind not in ("word", "quoted"):
            self.expected("a column's name, 'not' or '('")
        column = self.token if self.kind == "word" else self.token[1:-1].replace('""', '"')
        self.next()
        return self._condition(column)

    def _condition(self, column: str) -> Predicate:
        if self._take("is"):
            turned = self._take("not")
            self._need("null", "'null'" if turned else "'null' or 'not null'")
            return Not(IsNull(column)) if turned else IsNull(column)
        if self._take("not"):
            return Not(self._membership(column, "'in' or 'starts with'"))
        if self.kind == "sign" and self.token not in ("(", ")", ","):
            op = "!=" if self.token == "<>" else self.token  # noqa: S105
            self.next()
            return Compare(column, op, self._literal())
        return self._membership(column, _COMPARISON)

    def _membership(self, column: str, expected: str) -> Predicate:
        if self._take("starts"):
            self._need("with", "'with'")
            if self.kind != "string":
                self.expected("a text in single quotes")
            return StartsWith(column, self._literal())
        self._need("in", expected)
        self._need("(", "'('")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._need(")", "',' or ')'")
        return In(column, tuple(values))

    def _literal(self) -> str:
        token = self.token
        if self.kind == "keyword" and token == "null":  # noqa: S105
            self.expected("a value", fix="write: is null")
        if self.kind == "string":
            token = token[1:-1].replace("''", "'")
        elif self.kind != "number" and token not in ("true", "false"):
            self.expected("a text in single quotes, a number, true or false")
        self.next()
        return token

    def _take(self, token: str) -> bool:
        """Go on if the present token is this keyword or sign."""
        if self.kind not in ("keyword", "sign") or self.token != token:
            return False
        self.next()
        return True

    def _need(self, token: str, expected: str) -> None:
        if not self._take(token):
            self.expected(expected)

    def expected(self, what: str, *, fix: str = "") -> NoReturn:
        """Refuse the present token."""
        _refuse(self._at, f"expected {what}", fix)

    def _unreadable(self) -> NoReturn:
        rest = self._text[self._end :].lstrip()
        at = len(self._text) - len(rest)
        if rest[0] in _FULL_WIDTH:
            _refuse(at, "a full-width sign", "type it half-width, as in English text")
        if rest[0] in _OPENING:
            _refuse(len(self._text), f"expected {_OPENING[rest[0]]}", "")
        if rest[0].isdigit() or rest[0] in "+-.":
            _refuse(at, "expected a number that ends before a letter", "put a text in single quotes")
        _refuse(at, "a sign that has no meaning here", "")


def _refuse(at: int, what: str, fix: str) -> NoReturn:
    raise Refused(what, where=f"character {at + 1}", fix=fix)
