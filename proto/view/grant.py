"""The part of a grant that says what is seen, as JSON and with a fingerprint; and its fitting to a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from proto import masks, predicate
from proto.errors import Refused
from proto.masks import Mask, Masking
from proto.predicate import Predicate
from proto.schema import MAX_COLUMNS, Column, TableSchema
from proto.view.bound import BoundView

_KEYS: Final = {"columns", "masks", "rows"}


@dataclass(frozen=True)
class View:
    """Chosen columns in the order they are delivered, masks on some of them, and the filter of the rows.

    The filter sees the values as they are stored: it may look at a masked column, or at one that is not chosen.
    """

    columns: tuple[str, ...]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    rows: Predicate | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.columns) <= MAX_COLUMNS or len(set(self.columns)) != len(self.columns):
            raise Refused(f"a view needs 1 to {MAX_COLUMNS} columns with different names", where="columns")
        # What the fingerprint says must not change afterwards.
        object.__setattr__(self, "masks", MappingProxyType(dict(self.masks)))
        for name in self.masks:
            if name not in self.columns:
                raise Refused("a column is masked but not chosen", where=name, fix="take its mask away")
        if self.rows is not None:
            predicate.check(self.rows)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @staticmethod
    def from_json(form: object) -> View:
        """The view of a parsed JSON document: ``columns``; ``masks`` and ``rows`` may be left out; nothing else."""
        if not isinstance(form, Mapping) or not {"columns"} <= set(form) <= _KEYS:
            raise Refused("a view is an object of exactly columns, masks and rows", where="view")
        chosen, masked, rows = form["columns"], form.get("masks", {}), form.get("rows")
        if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
            raise Refused("is not a list of names", where="columns")
        if not isinstance(masked, Mapping) or not all(isinstance(name, str) for name in masked):
            raise Refused("is not an object of masks by column", where="masks")
        return View(
            tuple(chosen),
            {name: masks.from_json(mask, f"masks.{name}") for name, mask in masked.items()},
            None if rows is None else predicate.from_json(rows),
        )

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads back; masks in the order of the columns."""
        masked = {name: masks.to_json(self.masks[name]) for name in self.columns if name in self.masks}
        rows = None if self.rows is None else predicate.to_json(self.rows)
        return {"columns": list(self.columns), "masks": masked, "rows": rows}

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that differ whenever anything in the view differs."""
        form = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(form.encode()).digest()[:16]

    def bind(self, schema: TableSchema, pseudonym_key: bytes) -> BoundView:
        """The view on this table. Raises Refused naming the column that does not go with it.

        *pseudonym_key* is the grant's own; it is used by pseudonyms only.
        """
        places = {column.name: at for at, column in enumerate(schema.columns)}
        for name in self.columns:
            if name not in places:
                raise Refused(
                    "the table has no such column", where=name, fix="choose columns that the table has"
                )
        for name in schema.key:
            if name not in self.columns:
                raise Refused(
                    "a key column is left out", where=name, fix="choose it; 'pseudonym' can mask it"
                )
            if name in self.masks and not self.masks[name].keeps_keys:
                raise Refused(
                    "the mask would make keys alike", where=name, fix="use 'pseudonym' on key columns"
                )
        chosen = tuple(self._delivered(schema.columns[places[name]]) for name in self.columns)
        steps = () if self.rows is None else predicate.bind(self.rows, schema)
        masking = {
            places[name]: _ready(self.masks[name], schema.columns[places[name]], pseudonym_key)
            for name in self.masks
        }
        return BoundView(schema, TableSchema(schema.name, chosen, schema.key), steps, masking)

    def _delivered(self, column: Column) -> Column:
        mask = self.masks.get(column.name)
        if mask is None:
            return column
        with _naming(column):
            kind = mask.kind_after(column.kind)
        # Stars or a pseudonym may be longer than the source's type allows, and a hidden number is NULL.
        source_type = column.source_type if isinstance(mask, masks.Year) else ""
        return Column(column.name, kind, source_type, column.nullable or isinstance(mask, masks.Hide))


def _ready(mask: Mask, column: Column, key: bytes) -> Masking:
    with _naming(column):
        return mask.ready(column.kind, key)


@contextmanager
def _naming(column: Column) -> Iterator[None]:
    """What a mask refuses, it refuses for a column."""
    try:
        yield
    except Refused as error:
        raise Refused(error.what, where=column.name, fix=error.fix) from None
