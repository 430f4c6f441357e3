"""Who came in, and who was turned away, from the door of the running central (Art. 26).

A login is on record when a certificate first calls on a day, and when a node opens a call. What is refused is on record
whatever it was, once: where the desk or intake has written it down already, the error says so.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from central import counted
from central.audit import REGISTRY, Fact
from central.counted import Kind
from central.store import writing
from proto.errors import ExchangeError, Transient

CAME: Final = "came"
OPENED: Final = "call_opened"
MOST_WORDS: Final = 200


def chain_of(name: str) -> str:
    """The audit chain of the calls of a node, an operator or a person; no stream can be called so."""
    return f"calls:{name}"


class Visitors:
    """Each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def came(self, role: str, name: str, fingerprint: str) -> None:
        """The first call with this certificate today."""
        facts: dict[str, Fact] = {"role": role, "name": name, "fingerprint": fingerprint}
        self._count(Kind(chain_of(name), fingerprint, CAME), facts)

    def opened(self, call: str, name: str, about: str) -> None:
        """A node opened *call*: for a stream, or for its grants."""
        facts: dict[str, Fact] = {"call": call, "name": name, "about": about[:MOST_WORDS]}
        self._count(Kind(chain_of(name), f"{call} {about}"[:MOST_WORDS], OPENED), facts)

    def turned_away(self, call: str, fingerprint: str, uri: str, error: ExchangeError) -> None:
        """*call* was refused; nothing is written of what passes by itself, or is on record."""
        if isinstance(error, Transient) or error.is_on_record:
            return
        facts: dict[str, Fact] = {"call": call, "code": error.code, "what": error.what[:MOST_WORDS]}
        facts |= {"where": error.where[:MOST_WORDS], "fingerprint": fingerprint, "uri": uri[:MOST_WORDS]}
        self._count(Kind(REGISTRY, fingerprint, error.code), facts)
        error.is_on_record = True

    def _count(self, kind: Kind, facts: dict[str, Fact]) -> None:
        with writing(self._engine) as connection:
            counted.record(connection, kind, facts)
