"""A grant fitted to its table: which columns and rows, as the terms, the catalogue in force and the table say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection

from central.catalogue.entry import ShareType
from central.catalogue.published import Published, newest_release, published, version_in_force
from central.ledger import shape_of
from central.sharing.permits import Permit
from proto.errors import ExchangeError, Refused, SchemaHold
from proto.schema import TableSchema
from proto.view import BoundView, View


@dataclass(frozen=True, slots=True)
class Lens:
    """What one grant shows of its table."""

    bound: BoundView
    fingerprint: bytes
    """Differs whenever anything differs that the consumer could see."""
    release: int
    """Of the catalogue, in force when it was made."""
    resource_name: str
    left_out: tuple[str, ...]
    """Columns that the terms name and the catalogue does not let out."""

    @property
    def stored(self) -> TableSchema:
        """The platform's table."""
        return self.bound.stored


class Lenses:
    """Makes the lens of one grant, anew when its terms, the catalogue or the table changed."""

    def __init__(self) -> None:
        self._made: tuple[tuple[int, int, int, bytes], Lens] | None = None

    def of(self, connection: Connection, permit: Permit) -> Lens | None:
        """The lens of *permit* now; None while the provider has sent no row of the table.

        Raises Refused when the resource is not in the catalogue, SchemaHold when the grant does not fit its table.
        """
        release = newest_release(connection)
        shape = shape_of(connection, permit.stream, permit.table)
        if shape is None:
            return None
        # A suspended or withdrawn entry ends at once, not with the next release.
        version = version_in_force(connection, permit.resource)
        now = (permit.version, release, version, shape.fingerprint)
        if self._made is None or self._made[0] != now:
            self._made = now, _lens(permit, published(connection, permit.resource), shape)
        return self._made[1]


def _lens(permit: Permit, found: Published, shape: TableSchema) -> Lens:
    columns, left_out = _allowed(permit, found)
    view = View.from_json(
        {
            "columns": list(columns),
            "masks": {name: mask for name, mask in permit.terms.masks.items() if name in columns},
            "rows": permit.terms.rows,
        }
    )
    try:
        bound = view.bind(shape, permit.secret)
    except ExchangeError as error:
        fix = f"{error.fix}; change the grant, or the entry in the catalogue".removeprefix("; ")
        raise SchemaHold(permit.table, error.what, where=f"{permit.grant} {error.where}", fix=fix) from error
    said = (view.fingerprint, shape.fingerprint, bound.schema.fingerprint, permit.secret)
    fingerprint = hashlib.sha256(b"".join(said)).digest()[:16]
    return Lens(bound, fingerprint, found.release, found.entry.name, left_out)


def _allowed(permit: Permit, found: Published) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that may go, and those that the terms name all the same (SD05.2)."""
    items = found.entry.columns
    chosen = permit.terms.items
    if permit.terms.is_directed:
        return chosen, ()
    may_go = tuple(
        name for name in chosen if name in items and items[name].share_type is not ShareType.NOT_SHARED
    )
    if not may_go:
        raise Refused("the catalogue shares none of the granted items", where=permit.grant)
    return may_go, tuple(name for name in chosen if name not in may_go)
