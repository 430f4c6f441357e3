"""A grant as the data path enforces it, judged by the database's clock in the transaction that uses it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection, Row, select

from central.catalogue.entry import DELIVERED
from central.sharing.states import FLOWING
from central.sharing.terms import Terms
from central.sharing.watermark import SEEN, went_back
from central.store.grants import GRANTS
from proto.errors import NotAdmitted

_GRANTS: Final = select(GRANTS, SEEN.label("seen_us"))
read_terms: Final = lru_cache(1024)(Terms.model_validate_json)
"""Read once: a grant is judged for every delivery."""


class NotGranted(NotAdmitted):
    """There is no right to this now."""

    code = "NOT_GRANTED"


@dataclass(frozen=True, slots=True)
class Permit:
    """One grant, as it is at this moment."""

    grant: str
    version: int
    state: str
    sentence: str
    consumer: str
    """The node that may have it."""
    department: str
    resource: str
    release: int
    stream: str
    table: str
    mode: str
    terms: Terms
    secret: bytes
    """The key of its pseudonyms; never leaves central."""
    valid_from_us: int
    valid_to_us: int
    seen_us: int = 0
    """The latest time seen on the database's clock."""

    def refusal(self, now_us: int) -> str:
        """Why nothing may flow at *now_us*; "" when it may."""
        if went_back(now_us, self.seen_us):
            return (
                "the platform's clock went back; nothing passes until a person trusts it (grant trust-clock)"
            )
        if self.state not in FLOWING:
            return (
                f"the grant is {self.state}: {self.sentence}"
                if self.sentence
                else f"the grant is {self.state}"
            )
        if now_us < self.valid_from_us:
            return "the grant has not begun"
        return "the grant has run out" if now_us >= self.valid_to_us else ""

    def demand(self, now_us: int) -> None:
        """Raise NotGranted when nothing may flow at *now_us*."""
        if why := self.refusal(now_us):
            raise NotGranted(
                why, where=self.grant, fix=f"exchange-central share explain {self.consumer} {self.resource}"
            )


def permit(connection: Connection, grant: str) -> Permit:
    """The grant called so, whatever its state. Raises NotGranted when there is none."""
    row = connection.execute(_GRANTS.where(GRANTS.c.grant_id == grant)).one_or_none()
    if row is None:
        raise NotGranted("no such grant", where=grant[:40])
    return _permit(row)


def permits(connection: Connection, consumer: str, modes: Collection[str] = DELIVERED) -> Sequence[Permit]:
    """Every grant *consumer* ever had in *modes*, ended ones too, by name: the node must hear of their end."""
    query = _GRANTS.where(GRANTS.c.consumer == consumer, GRANTS.c.mode.in_(modes))
    return [_permit(row) for row in connection.execute(query.order_by(GRANTS.c.grant_id)).all()]


def _permit(row: Row[tuple[object, ...]]) -> Permit:
    return Permit(
        grant=row.grant_id,
        version=row.version,
        state=row.state,
        sentence=row.sentence,
        consumer=row.consumer,
        department=row.department,
        resource=row.resource,
        release=row.release,
        stream=row.stream,
        table=row.table_name,
        mode=row.mode,
        terms=read_terms(row.terms),
        secret=bytes(row.secret),
        valid_from_us=row.valid_from_us,
        valid_to_us=row.valid_to_us,
        seen_us=row.seen_us,
    )
