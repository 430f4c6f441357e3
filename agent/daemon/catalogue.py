"""The node's part of the platform's catalogue: heard of in heartbeats, fetched, verified, kept, and given to the lanes.

What was kept stays in force while central is away, and when what central sends does not verify: then nothing is widened. A
node that never heard from its platform lets nothing leave, because it cannot know what may (SD05.2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from agent.exchange import Catalogued, Signed
from agent.link import Link
from proto.catalogue import NodeCatalogue, verify_node
from proto.errors import Busy, ExchangeError, Refused
from proto.signing import SignatureWrong
from proto.states import State
from proto.v1 import node_pb2

WAIT_S: Final = 30.0
"""What waits for the first word is woken by it; this is only how often it says so in the log."""
_log = structlog.get_logger()


class NeverHeard(Busy):
    """The platform has not said yet what may leave."""

    code = "NEVER_HEARD"


class Catalogue:
    """What may leave, as far as the platform has a say. Any thread may call it; *changed* hears of every other part."""

    def __init__(self, link: Link, kept: Catalogued, node: str, authorities: Path) -> None:
        self._link, self._kept, self._node, self._authorities = link, kept, node, authorities
        self._lock = threading.Lock()
        self._is_known = False
        self._part: NodeCatalogue | None = None
        self._digest = ""
        self._wanted: str | None = None
        self._trouble: ExchangeError | None = None
        self.changed: Callable[[], None] = lambda: None
        self.fetch_soon: Callable[[], None] = lambda: None
        """Lets :meth:`fetch` be called by somebody who may wait."""

    def part(self) -> NodeCatalogue | None:
        """What is in force here; None while the platform has no catalogue. Raises NeverHeard."""
        if not self._is_known:
            what = "nothing leaves before the platform was heard once: it says what may leave"
            trouble = f"; {self._trouble.what}" if self._trouble else ""
            raise NeverHeard(f"{what}{trouble}", where=self._node, fix=self._fix(), retry_s=WAIT_S)
        return self._part

    @property
    def is_current(self) -> bool:
        """Whether nothing was heard of that is not in force here yet."""
        return self._is_known and self._wanted is None

    @property
    def release(self) -> int:
        """The release that is gone by; 0 = none."""
        return self._part.release if self._part else 0

    @property
    def standing(self) -> tuple[State, str, str]:
        """State, sentence and what to do, for people."""
        part = self._part
        in_force = "no release binds what leaves yet"
        if part is not None and part.release:
            in_force = f"release {part.release} binds what leaves"
        if self._trouble is not None:
            return State.CREDENTIAL, f"{self._trouble.what}; {in_force}", self._fix()
        if not self._is_known:
            return State.BACKING_OFF, "the platform was not heard yet: nothing leaves", self._fix()
        if part is not None and part.release and not part.binds:
            in_force += "; what it does not know leaves as well"
        if not self.is_current:
            in_force += "; the platform has another one, and nothing is sent before it was fetched"
        return State.RUNNING, in_force, ""

    def recall(self) -> None:
        """Go on under what was kept, verified anew. Raises Transient and Halt of the exchange database."""
        if self._is_known or (kept := self._kept.read()) is None:
            return
        with self._lock:
            # Central may have been heard meanwhile, and knows better.
            if not self._is_known:
                self._take(kept)

    def heard(self, release: int, digest: str) -> None:
        """What a heartbeat said: the newest release, and the digest of our part; "" when central signs none."""
        del release
        with self._lock:
            is_news = digest != self._digest if digest else not self._is_known
            self._wanted = digest if is_news else None
            if not is_news:
                self._trouble = None
        if is_news:
            self.fetch_soon()

    def fetch(self) -> None:
        """Fetch what was heard of, keep it, and go by it. Raises what kept us from it."""
        wanted = self._wanted
        if wanted is None:
            return
        said = self._link.catalogue() if wanted else node_pb2.NodeCatalogue()
        with self._lock:
            self._take(Signed(said.document, said.signature, said.certificate), self._kept.keep)
            self._wanted = None
        self.changed()

    def _take(self, signed: Signed, keep: Callable[[Signed], None] = lambda _: None) -> None:
        """Go by *signed* if it verifies; otherwise everything stays as it is, and people are told."""
        try:
            part = verified(signed, self._authorities, self._node) if signed.document else None
        except Refused as error:
            if self._trouble is None or self._trouble.what != error.what:
                _log.error("catalogue_refused", error=str(error))
            self._trouble = error
            return
        keep(signed)
        self._part, self._digest = part, part.digest if part else ""
        self._is_known, self._trouble = True, None
        _log.info("catalogue_in_force", release=self.release, entries=len(part.entries) if part else 0)

    def _fix(self) -> str:
        if self._trouble is not None:
            return f"ask the platform: whoever signs its catalogue must be certified by an authority in {self._authorities}"
        return "see that central is reached: exchange-agent check"


def verified(signed: Signed, authorities: Path, node: str) -> NodeCatalogue:
    """The part that *signed* holds, if the platform signed it for *node*. Raises Refused, SignatureWrong among them."""
    try:
        trusted = authorities.read_bytes()
    except OSError as error:
        raise SignatureWrong(f"{authorities} cannot be read: {error.strerror}", where="central.ca") from error
    part = verify_node(signed.document, signed.signature, signed.certificate, trusted)
    if part.node != node:
        raise SignatureWrong(f"the catalogue is of node {part.node[:40]}", where=node)
    return part
