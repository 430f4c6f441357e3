"""Who is calling: from the verified certificate and the registry, never from a message.

Every call is looked up anew, and an open stream is looked up again every two seconds, so that a revoked or expired
certificate is out within five (fault G10). For all open streams together that is one question to the registry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Final, Protocol

from central.rpc.answers import Context
from proto.channel import identity_of_pem
from proto.errors import ExchangeError, NotAdmitted, Transient

RECHECK_S: Final = 2.0
PATROL_S: Final = 1.0
UNKNOWN_S: Final = 30.0
"""How long an open stream goes on while the registry cannot be read."""


class Admission(Protocol):
    """What the registry decides about a certificate."""

    def admit(self, fingerprint: str, uri: str) -> str:
        """The node's name; raises NotAdmitted."""
        ...

    def admit_operator(self, fingerprint: str, uri: str) -> str:
        """The operator's name; raises NotAdmitted."""
        ...

    def admit_person(self, fingerprint: str, uri: str) -> str:
        """The person's name; raises NotAdmitted."""
        ...

    def usable(self) -> set[str]:
        """Every fingerprint that would be admitted now."""
        ...


class Visiting(Protocol):
    """Puts on record who comes; blocking."""

    def came(self, role: str, name: str, fingerprint: str) -> None:
        """The first call with this certificate today."""
        ...

    def opened(self, call: str, name: str, about: str) -> None:
        """A node opened a call."""
        ...

    def turned_away(self, call: str, fingerprint: str, uri: str, error: ExchangeError) -> None:
        """A call was refused."""
        ...


class Doorkeeper:
    """Admits callers by their certificate. *run* calls a blocking function off the event loop."""

    def __init__(self, admission: Admission, visitors: Visiting, run: Callable[..., Awaitable[Any]]) -> None:
        self._admission = admission
        self._visitors = visitors
        self._run = run
        self._came: set[str] = set()
        self._day = date.min
        self._usable: set[str] = set()
        self._usable_until_s = 0.0

    async def node(self, context: Context) -> str:
        """The calling node's name; raises NotAdmitted."""
        return await self._let_in(context, "node", self._admission.admit)

    async def operator(self, context: Context) -> str:
        """The calling operator's name; raises NotAdmitted."""
        return await self._let_in(context, "operator", self._admission.admit_operator)

    async def person(self, context: Context) -> str:
        """The calling person's name; raises NotAdmitted."""
        return await self._let_in(context, "person", self._admission.admit_person)

    async def opened(self, call: str, name: str, about: str) -> None:
        """Put a node's call on record before it is answered."""
        await self._run(self._visitors.opened, call, name, about)

    async def note(self, context: Context, call: str, error: ExchangeError) -> None:
        """Put a refused call on record; when the database is away, central's own log has it."""
        try:
            who = caller(context)
        except NotAdmitted:
            who = ("", "")
        with suppress(ExchangeError):
            await self._run(self._visitors.turned_away, call, *who, error)

    async def _let_in(self, context: Context, role: str, admit: Callable[[str, str], str]) -> str:
        fingerprint, uri = caller(context)
        name: str = await self._run(admit, fingerprint, uri)
        today = datetime.now(UTC).date()
        if today != self._day:
            self._day, self._came = today, set()
        if fingerprint not in self._came:
            await self._run(self._visitors.came, role, name, fingerprint)
            self._came.add(fingerprint)
        return name

    async def patrol(self) -> None:
        """Keep the list of usable certificates fresh; while it cannot be read, every stream asks for itself."""
        while True:
            asked_s = time.monotonic()
            with suppress(Transient):
                self._usable = await self._run(self._admission.usable)
                self._usable_until_s = asked_s + RECHECK_S
            await asyncio.sleep(PATROL_S)

    async def watch(self, context: Context, check: Callable[[Context], Awaitable[str]]) -> None:
        """Raise once *check* refuses, or once nobody could say for too long; ends in no other way."""
        fingerprint, _ = caller(context)
        known_s = time.monotonic()
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                if fingerprint not in self._usable or time.monotonic() > self._usable_until_s:
                    await check(context)
                known_s = time.monotonic()
            except Transient:
                if time.monotonic() - known_s > UNKNOWN_S:
                    raise


def caller(context: Context) -> tuple[str, str]:
    """Fingerprint and URI of the certificate that this connection was opened with."""
    pem = certificate_of(context)
    if not pem:
        raise NotAdmitted("no certificate was shown", fix="connect with the certificate this node was given")
    try:
        identity = identity_of_pem(pem)
    except ExchangeError as error:
        raise NotAdmitted("the certificate cannot be read") from error
    return identity.fingerprint, identity.uri


def certificate_of(context: Context) -> bytes:
    """The certificate this connection was opened with, PEM; empty when none was shown."""
    auth: Mapping[str, Iterable[bytes]] = context.auth_context()
    return b"".join(auth.get("x509_pem_cert", ()))
