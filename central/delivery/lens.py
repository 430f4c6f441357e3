"""A grant fitted to its table: which columns and rows, as the terms, the catalogue in force and the table say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection

from central.catalogue.published import moment
from central.ledger import shape_of
from central.sharing.contract import Contract, contract_of
from central.sharing.permits import Permit
from central.sharing.traces import Form, Tracer
from proto.errors import ExchangeError, SchemaHold
from proto.schema import TableSchema
from proto.view import BoundView, View


@dataclass(frozen=True, slots=True)
class Lens:
    """What one grant shows of its table."""

    bound: BoundView
    fingerprint: bytes
    """Differs whenever anything differs that the consumer could see."""
    contract: Contract
    moment: tuple[int, int, int]
    """Of the catalogue, when it was made (:func:`central.catalogue.published.moment`)."""
    left_out: tuple[str, ...]
    """Columns that the terms name and the catalogue does not let out."""
    tracer: Tracer

    @property
    def release(self) -> int:
        """Of the catalogue, in force when it was made."""
        return self.contract.release

    @property
    def resource_name(self) -> str:
        """As people call it."""
        return self.contract.entry.name

    @property
    def stored(self) -> TableSchema:
        """The platform's table."""
        return self.bound.stored


class Lenses:
    """Makes the lens of one grant, anew when its terms, the catalogue or the table changed."""

    def __init__(self) -> None:
        self._made: tuple[tuple[object, ...], Lens] | None = None

    def of(self, connection: Connection, permit: Permit, now_us: int) -> Lens | None:
        """The lens of *permit* now; None while the provider has sent no row of the table.

        Raises Refused when the resource is not in the catalogue, SchemaHold when the grant does not fit its table.
        """
        shape = shape_of(connection, permit.stream, permit.table)
        if shape is None:
            return None
        # A suspended or withdrawn entry ends at once, not with the next release.
        at = moment(connection, permit.resource, now_us)
        now = (permit.version, at, shape.fingerprint)
        if self._made is None or self._made[0] != now:
            self._made = now, _lens(permit, contract_of(connection, permit, now_us), shape, at)
        return self._made[1]


def _lens(permit: Permit, found: Contract, shape: TableSchema, at: tuple[int, int, int]) -> Lens:
    columns = found.shown(permit.terms)
    left_out = tuple(name for name in permit.terms.items if name not in columns)
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
    tracer = Tracer(Form.of(shape, permit.terms.masks), permit.secret)
    return Lens(bound, fingerprint, found, at, left_out, tracer)
