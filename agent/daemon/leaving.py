"""What may leave of one source: settled in the exchange database before anything is read, and before what waits is sent.

The platform says what may leave; from the moment it is known here, or known that there is something to be heard, nothing is
sent before it is settled. So nothing that was closed while the way was cut leaves when the way is there again: push asks
here for every part it sends, and a connection tells the newest part of the catalogue before it takes anything (SD05.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.binding import Bound, bind
from agent.daemon.settling import settle
from agent.exchange import Exchange
from agent.sources.settings import TableSettings
from proto.batch import SealedBatch
from proto.catalogue import NodeCatalogue
from proto.errors import Transient


class Platform(Protocol):
    """What is known of the platform's catalogue."""

    @property
    def is_current(self) -> bool:
        """Whether nothing was heard of that is not in force here yet."""
        ...

    def part(self) -> NodeCatalogue | None:
        """What is in force here; None while the platform has no catalogue. Raises Transient while nobody knows."""
        ...

    def heard(self, release: int, digest: str) -> None:
        """What the platform says is its newest."""
        ...


class Leaving:
    """The binding of one source. Any thread may call it; :meth:`settle` is the capturing one's."""

    def __init__(self, source: str, exchange: Exchange, platform: Platform) -> None:
        self._source, self._exchange, self._platform = source, exchange, platform
        self._settled: Bound[Any] | None = None
        self._under: tuple[NodeCatalogue | None] | None = None
        """The part under which that was found; a part of None is one as well."""

    def bound(self, tables: Sequence[TableSettings]) -> Bound[Any]:
        """What may leave of *tables* by now. Raises Transient while nobody knows."""
        return bind(self._source, tables, self._platform.part())

    def is_settled(self, tables: Sequence[TableSettings]) -> bool:
        """Whether what was settled is what may leave by now. Raises Transient."""
        part = self._platform.part()
        if self._settled is None or self._settled != bind(self._source, tables, part):
            return False
        self._under = (part,)
        return True

    def settle(
        self, tables: Sequence[TableSettings], offer: Callable[[Sequence[SealedBatch]], None]
    ) -> Bound[Any]:
        """Bring the stream's tables into the state that is wanted now, and let what waits go on."""
        self.forget()
        part = self._platform.part()
        found = bind(self._source, tables, part)
        queued = settle(self._exchange, found)
        self._settled, self._under = found, (part,)
        offer(queued)
        return found

    def forget(self) -> None:
        """Nothing is sent before it was settled again."""
        self._settled = self._under = None

    @property
    def sentence(self) -> str:
        """What the catalogue keeps here of what the settings ask for."""
        return self._settled.sentence if self._settled else ""

    # What push asks

    def is_open(self) -> bool:
        """Whether what waits may be sent: it was settled under everything that is known."""
        if self._under is None or not self._platform.is_current:
            return False
        try:
            return self._under[0] is self._platform.part()
        except Transient:
            return False

    def heard(self, release: int, part: str) -> None:
        """What the platform said at the beginning of a connection."""
        self._platform.heard(release, part)
