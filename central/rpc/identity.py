"""Who is calling: from the verified certificate and the registry, never from a message.

Every call is looked up anew, and an open stream is looked up again every two seconds, so that a revoked or expired
certificate is out within five (fault G10).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from central.rpc.answers import Context
from proto.channel import identity_of_pem
from proto.errors import ExchangeError, NotAdmitted, Transient

RECHECK_S: Final = 2.0
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


class Doorkeeper:
    """Admits callers by their certificate. *run* calls a blocking function off the event loop."""

    def __init__(self, admission: Admission, run: Callable[..., Awaitable[str]]) -> None:
        self._admission = admission
        self._run = run

    async def node(self, context: Context) -> str:
        """The calling node's name; raises NotAdmitted."""
        return await self._run(self._admission.admit, *caller(context))

    async def operator(self, context: Context) -> str:
        """The calling operator's name; raises NotAdmitted."""
        return await self._run(self._admission.admit_operator, *caller(context))

    async def watch(self, check: Callable[[], Awaitable[str]]) -> None:
        """Raise once *check* refuses, or once nobody could say for too long; ends in no other way."""
        known_s = time.monotonic()
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                await check()
                known_s = time.monotonic()
            except Transient:
                if time.monotonic() - known_s > UNKNOWN_S:
                    raise


def caller(context: Context) -> tuple[str, str]:
    """Fingerprint and URI of the certificate that this connection was opened with."""
    auth: Mapping[str, Iterable[bytes]] = context.auth_context()
    pem = b"".join(auth.get("x509_pem_cert", ()))
    if not pem:
        raise NotAdmitted("no certificate was shown", fix="connect with the certificate this node was given")
    try:
        identity = identity_of_pem(pem)
    except ExchangeError as error:
        raise NotAdmitted("the certificate cannot be read") from error
    return identity.fingerprint, identity.uri
