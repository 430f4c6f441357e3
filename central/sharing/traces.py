"""Which keys went out under a grant: 8-byte digests that only its secret can make, beside the record (Art. 26).

A trace is made from keys as they are delivered. How a key is written (its columns, kinds and masks) is its form, kept
by grant, so that a key can be looked for years later, when the table has another key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Text, bindparam, insert, literal, select

from central.store.traces import KEY_FORMS, TRACES
from proto import frames
from proto.batch import Delta, Frames, Partial
from proto.errors import Refused
from proto.log import canonical
from proto.schema import Column, TableSchema
from proto.values import FLOATS, Kind, from_text
from proto.view import View

TRACE_BYTES: Final = 8
_PERSON: Final = b"exchange trace"
AMBIGUOUS: Final = frozenset({Kind.DECIMAL, *FLOATS})
"""1.0 and 1.00 are equal and differ in their bytes."""
_KEEP: Final = insert(TRACES)
_THERE = KEY_FORMS.c.grant_id == bindparam("which"), KEY_FORMS.c.form == bindparam("at")
_KEEP_FORM: Final = insert(KEY_FORMS).from_select(
    ["grant_id", "form", "document"],
    select(
        bindparam("which", type_=Text), bindparam("at", type_=BigInteger), bindparam("said", type_=Text)
    ).where(~select(literal(1)).where(*_THERE).exists()),
)


class OtherKey(Refused):
    """The key that is asked for is not of this form."""

    code = "OTHER_KEY"


@dataclass(frozen=True)
class Form:
    """How the keys of a grant are written when they go out."""

    columns: tuple[tuple[str, str], ...]
    """Names and kinds, as they are stored."""
    masks: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(stored: TableSchema, masks: Mapping[str, Any]) -> Form:
        """Of the rows of *stored* under a grant with *masks*."""
        kinds = {column.name: str(column.kind) for column in stored.columns}
        said = {name: masks[name] for name in stored.key if name in masks}
        return Form(tuple((name, kinds[name]) for name in stored.key), said)

    @staticmethod
    def read(document: str) -> Form:
        """The inverse of :attr:`document`."""
        said = json.loads(document)
        return Form(tuple((name, kind) for name, kind in said["key"]), said["masks"])

    @cached_property
    def document(self) -> str:
        """As it is kept."""
        return canonical({"key": [list(each) for each in self.columns], "masks": dict(self.masks)})

    @cached_property
    def number(self) -> int:
        """Its name among the forms of its grant."""
        digest = hashlib.sha256(self.document.encode()).digest()
        return int.from_bytes(digest[:TRACE_BYTES], "big", signed=True)

    def key(self, texts: Mapping[str, str], secret: bytes) -> bytes | None:
        """The key frame as it goes out; None when no key of this form can be that. Raises OtherKey."""
        kinds = {name: Kind(kind) for name, kind in self.columns}
        if not kinds or set(texts) != set(kinds):
            raise OtherKey("the key had other columns then", where="key")
        if not AMBIGUOUS.isdisjoint(kinds.values()):
            raise OtherKey("keys with fractions are written in several ways", where="key")
        try:
            frame = frames.pack([from_text(kind, texts[name]) for name, kind in kinds.items()])
        except Refused:
            return None
        names = tuple(kinds)
        table = TableSchema("key", tuple(Column(name, kind) for name, kind in kinds.items()), names)
        view = View.from_json({"columns": list(names), "masks": dict(self.masks)}).bind(table, secret)
        return view.keys(Frames(frame, 1)).data


@dataclass(frozen=True, slots=True)
class Tracer:
    """Makes the traces of one grant."""

    form: Form
    secret: bytes = field(repr=False)

    def of(self, deltas: Iterable[Delta]) -> bytes:
        """Of every row that comes or changes with *deltas*, in delivered form; a deleted row does not come."""
        if not self.form.columns:
            return b""
        found: list[bytes] = []
        for delta in deltas:
            key = delta.schema.key_indexes
            found += frames.keys(delta.inserts.data, key)
            found += frames.keys(delta.upserts.data, key)
            for part in delta.partials:
                found += frames.keys(part.frames.data, range(len(key)))
                if not set(key).isdisjoint(part.columns):
                    found += frames.keys(part.frames.data, new_key(delta.schema, part))
        return self.keys(found)

    def keys(self, found: Sequence[bytes]) -> bytes:
        """Of key frames in delivered form."""
        begun = hashlib.blake2b(digest_size=TRACE_BYTES, key=self.secret, person=_PERSON)
        traces = []
        for frame in found:
            one = begun.copy()
            one.update(frame)
            traces.append(one.digest())
        return b"".join(traces)


def new_key(schema: TableSchema, part: Partial) -> list[int]:
    """Where each field of the key after an update lies in its frames."""
    places = {column: at for at, column in enumerate((*schema.key_indexes, *part.columns))}
    return [places[column] for column in schema.key_indexes]


def fact(digests: bytes) -> str:
    """What the record says of its trace, so that nobody changes it unseen."""
    return hashlib.sha256(digests).hexdigest()[:32]


def keep_form(connection: Connection, grant: str, form: Form) -> None:
    """Remember how keys are written under *grant*."""
    said = {"which": grant, "at": form.number, "said": form.document}
    connection.execute(_KEEP_FORM, said)


def keep(
    connection: Connection, grant: str, record: tuple[str, int, int], form: Form, what: tuple[int, bytes]
) -> None:
    """Keep the trace of a *record*: its chain, number and time. *what*: how many rows went out, and their trace."""
    (chain, n, at_us), (rows, digests) = record, what
    keep_form(connection, grant, form)
    values = {"grant_id": grant, "chain": chain, "n": n, "at_us": at_us, "form": form.number, "rows": rows}
    connection.execute(_KEEP, {**values, "traced": len(digests) // TRACE_BYTES, "digests": digests})


def forms_of(connection: Connection, grant: str) -> dict[int, Form]:
    """Every form of its keys there was."""
    c = KEY_FORMS.c
    rows = connection.execute(select(c.form, c.document).where(c.grant_id == grant))
    return {row.form: Form.read(row.document) for row in rows}
