"""One walk over frames: which rows pass a filter, and what of them is handed on.

Hostile bytes raise FrameCorrupt with the byte they break at, as in :mod:`proto.frames`; so does a value that the
filter or a mask has to read and that cannot be one of its column's kind. The class here is the fallback and the
oracle; when the package was built with a compiler, the same name comes from ``_sieve``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from proto.errors import FrameCorrupt, Refused
from proto.frames import MAX_FIELDS, Span, corrupt, walk
from proto.masks import Masking
from proto.predicate import Op, Step, check_steps, order

Pick = tuple[int, Masking | None]
"""A column that is handed on, and the mask on it."""

_COUNT: Final = struct.Struct(">h")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_SIGNS: Final = {Op.EQ: (0,), Op.NE: (-1, 1), Op.LT: (-1,), Op.LE: (-1, 0), Op.GT: (1,), Op.GE: (0, 1)}
"""How the value may stand to the literal: below, the same, above."""


class Truth(IntEnum):
    """SQL's three; ``and`` is the least of its parts, ``or`` the greatest."""

    FALSE = 0
    UNKNOWN = 1
    TRUE = 2


class Sieve:
    """Frames of *width* columns divided by a filter: a row that passes is handed on as *passing* says, another
    as *left* says. Without steps every row passes."""

    def __init__(
        self, width: int, steps: Sequence[Step], passing: Sequence[Pick], left: Sequence[Pick]
    ) -> None:
        check_steps(steps, width)
        for place, _ in (*passing, *left):
            if not 0 <= place < min(width, MAX_FIELDS):
                raise corrupt(0, f"a frame has no column {place}")
        self._width = width
        self._steps = [(step, [order(step.kind, literal) for literal in step.literals]) for step in steps]
        self._passing = tuple(passing)
        self._left = tuple(left)

    def divide(self, data: bytes) -> tuple[bytes, int, bytes, int]:
        """The rows that pass and their number, the rows that do not and theirs."""
        passing, left = _Output(data, self._passing), _Output(data, self._left)
        at = 0
        while at < len(data):
            start = at
            spans, at = walk(data, start)
            if len(spans) != self._width:
                raise corrupt(start, f"a frame has {len(spans)} columns instead of {self._width}")
            (passing if self._passes(data, spans) else left).add(spans)
        return b"".join(passing.parts), passing.count, b"".join(left.parts), left.count

    def _passes(self, data: bytes, spans: Sequence[Span]) -> bool:
        stack: list[Truth] = []
        for step, literals in self._steps:
            if step.op >= Op.AND:
                parts = [stack.pop() for _ in range(step.parts)]
                stack.append(_connected(step.op, parts))
            else:
                stack.append(_decided(step, literals, data, spans[step.column]))
        return not stack or stack[-1] is Truth.TRUE


class _Output:
    """Rows handed on, as pieces."""

    def __init__(self, data: bytes, picks: Sequence[Pick]) -> None:
        self.parts: list[bytes] = []
        self.count = 0
        self._data = data
        self._picks = picks
        self._head = _COUNT.pack(len(picks))

    def add(self, spans: Sequence[Span]) -> None:
        """Hand on one row."""
        self.count += 1
        self.parts.append(self._head)
        for place, mask in self._picks:
            start, end = spans[place]
            if mask is None or self._data[start] >= 0x80:
                self.parts.append(self._data[start:end])
            else:
                self.parts.append(_masked(mask, self._data, spans[place]))


def unfit(at: int) -> FrameCorrupt:
    """The error for a value at byte *at* that cannot be one of its column's kind."""
    return corrupt(at, "a value is not one of its column's kind")


def _masked(mask: Masking, data: bytes, span: Span) -> bytes:
    start, end = span
    try:
        field = mask(data[start + 4 : end])
    except Refused:
        raise unfit(start) from None
    return _NULL if field is None else _LENGTH.pack(len(field)) + field


def _connected(op: Op, parts: Sequence[Truth]) -> Truth:
    if op is Op.NOT:
        return Truth(Truth.TRUE - parts[0])
    return min(parts) if op is Op.AND else max(parts)


def _decided(step: Step, literals: Sequence[Any], data: bytes, span: Span) -> Truth:
    start, end = span
    is_null = data[start] >= 0x80
    if step.op is Op.NULL:
        return Truth.TRUE if is_null else Truth.FALSE
    if is_null:
        return Truth.UNKNOWN
    value = data[start + 4 : end]
    if step.op is Op.STARTS:
        return Truth.TRUE if value.startswith(step.literals[0]) else Truth.FALSE
    try:
        found = order(step.kind, value)
    except Refused:
        raise unfit(start) from None
    return Truth.TRUE if _compares(step.op, found, literals) else Truth.FALSE


def _compares(op: Op, value: Any, literals: Sequence[Any]) -> bool:
    """*value* and the literals are of one kind, as :func:`proto.predicate.order` gives them."""
    if op is Op.IN:
        at = bisect_left(literals, value)
        return at < len(literals) and bool(literals[at] == value)
    sign = (value > literals[0]) - (value < literals[0])
    return sign in _SIGNS[op]


ACCELERATED: bool = False
"""True when the class above was replaced by a compiled one."""

if not TYPE_CHECKING:
    try:
        from proto._sieve import Sieve  # noqa: F401
    except ImportError:
        pass
    else:
        ACCELERATED = True
