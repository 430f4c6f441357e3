"""A verb: one thing people do, with its arguments, who may do it, and the function that does it in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from central import audit
from central.people.actor import Actor, Role
from central.policy import Profile
from central.settings import Platform
from proto.process import Section
from proto.signing import Signer

if TYPE_CHECKING:
    from sqlalchemy import Engine

DECISIONS: Final = "decisions"
"""The audit chain of what people decide."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One verb being done: an open transaction, who acts, under which policy, and when by the database's clock."""

    connection: Connection
    engine: Engine
    actor: Actor
    profile: Profile
    now_us: int
    signer: Signer | None
    platform: Platform = field(default_factory=Platform)
    """Whose platform this is, and of which level."""
    verb: str = ""
    """What is being done; "" = the clock does it."""

    def record(self, event: str, **facts: audit.Fact) -> int:
        """Put a decision on record in this transaction; returns its number."""
        who: dict[str, audit.Fact] = {**self.hand, "department": self.actor.department}
        return audit.record(self.connection, DECISIONS, event, **{**who, **facts})

    @property
    def hand(self) -> dict[str, str]:
        """Who does what, and how we know: part of every record of it."""
        said = {"who": self.actor.person, "via": self.actor.via}
        return {**said, "verb": self.verb} if self.verb else said


@dataclass(frozen=True, slots=True)
class Verb:
    """What ``Desk.Do`` offers under *name*; *act* gets the checked arguments and returns something JSON can say."""

    name: str
    """``room.verb``, e.g. ``catalogue.submit``."""
    arguments: type[Section]
    act: Callable[[Turn, Any], Any]
    roles: frozenset[Role] = frozenset()
    """One of them is needed; empty = whoever is admitted."""
    writes: bool = True
    help: str = ""
    for_systems: bool = False
    """A business system may do it too, through its node and without a person."""
