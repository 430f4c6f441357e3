"""A key as bytes that sort: numbers by their value, texts by their characters, everything else in one fixed order."""

from __future__ import annotations

from collections.abc import Sequence

from proto import frames
from proto.schema import TableSchema
from proto.values import INTEGERS, Kind


class Placing:
    """The place of each key of one table; different keys have different places."""

    def __init__(self, schema: TableSchema) -> None:
        self.indexes = schema.key_indexes
        self._fixed = [schema.kinds[at] in INTEGERS or schema.kinds[at] is Kind.DATE for at in self.indexes]

    def of_row(self, fields: Sequence[bytes | None]) -> bytes:
        """The place of a whole row."""
        return self.of_key([fields[at] for at in self.indexes])

    def of_key(self, key: Sequence[bytes | None]) -> bytes:
        """The place of a key's fields, in key order; none of them is NULL."""
        parts = zip(self._fixed, key, strict=True)
        return b"".join(_signed(field or b"") if fixed else _ended(field or b"") for fixed, field in parts)

    def of_frame(self, key: bytes) -> bytes:
        """The place of a key's frame."""
        return self.of_key(frames.fields(key))


def _signed(field: bytes) -> bytes:
    return bytes((field[0] ^ 0x80,)) + field[1:]


def _ended(field: bytes) -> bytes:
    return field.replace(b"\0", b"\0\xff") + b"\0\0"
