"""What a grant says: the five elements of Article 29, and the limits a machine can check (Art. 25)."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Literal

from pydantic import Field

from central.catalogue.entry import LegalBasis
from proto.process import Section

Line = Annotated[str, Field(min_length=1, max_length=2000)]


class Limits(Section):
    """Reaching one makes delivery wait or refuses a query, with a sentence; None = not limited."""

    rows_per_day: int | None = Field(None, ge=1)
    hours: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")
    """Local time of the policy's zone, e.g. 22:00-06:00, which goes through midnight; the same twice is the whole day."""
    query_rows: int = Field(100, ge=1, le=10_000)
    """Of one query."""
    queries_per_hour: int = Field(600, ge=1)

    def are_open(self, local: time) -> bool:
        """Whether *local* is within the hours."""
        if self.hours is None:
            return True
        first, last = (time.fromisoformat(each) for each in self.hours.split("-"))
        return first <= local < last if first < last else local >= first or local < last


class Terms(Section):
    """Everything that bounds a grant but its days."""

    business: Line
    """For which duty the data is used."""
    users: tuple[Line, ...] = Field(min_length=1)
    """Who works with it, in the forms of central/sharing/users.py; who asks at the platform is one of them."""
    items: tuple[Line, ...] = Field(min_length=1)
    """Columns, in the order they are delivered; keys included."""
    masks: dict[str, Any] = Field(default_factory=dict)
    """Column to mask, as proto/masks.py writes it."""
    rows: dict[str, Any] | None = None
    """Which rows, as proto/predicate.py writes it; None = all."""
    purpose: Line
    basis: LegalBasis | None = None
    limits: Limits = Limits()  # type: ignore[call-arg]
    is_directed: bool = False
    """A statutory grant to this one recipient (Art. 5 ¶5)."""
    at_end: Literal["keep", "withdraw"] = "keep"

    @property
    def article(self) -> str:
        """The law it rests on, for every record of its use (SD05.4); "" when it names none."""
        return f"{self.basis.title} {self.basis.article}" if self.basis else ""
