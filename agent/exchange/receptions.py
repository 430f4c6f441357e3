"""One grant as it stands at its consumer: what it is, how far it has come, and why it does not go on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, insert, select, update

from agent.exchange.checkpoints import now_us
from agent.exchange.tables import Tables
from agent.exchange.tablestates import schema_bytes, schema_of
from proto.batch import CHAIN_START
from proto.delivery import Place
from proto.errors import Diverged, ExchangeError, Refused, TableHold
from proto.process.logs import escape
from proto.schema import TableSchema
from proto.states import MEANING, State

FLOWING: Final = frozenset({"active", "expiring"})
ENDED: Final = frozenset({"expired", "revoked", "recalled"})
"""Words of central for a grant; with any other one it waits."""
WITHDRAWN: Final = "WITHDRAWN"
LIFTED: Final = "LIFTED"
"""The code of a grant that people let go on, until something of it was received: so long central may not know."""
HELD: Final = frozenset({State.QUARANTINE, State.SCHEMA_HOLD, State.DIVERGED, State.GAP})
MAX_GRANT_CHARACTERS: Final = 64
MAX_ROOM: Final = 40
_STREAM: Final = re.compile(r"[a-z][a-z0-9-]{0,30}/[a-z][a-z0-9-]{0,30}")
_GRANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


class GrantRefused(Refused):
    """What was announced cannot be a grant here; nothing was stored."""

    code = "GRANT_REFUSED"


@dataclass(frozen=True, slots=True)
class Announced:
    """What central says a grant is."""

    grant: str
    version: int
    said: str
    """A word of :data:`FLOWING`, of :data:`ENDED`, or why it waits."""
    sentence: str
    resource: str
    resource_name: str
    stream: str
    """Of the provider."""
    table: str
    valid_to_us: int
    purpose: str
    withdraw: bool
    contract: int = 0
    """The version of the catalogue's entry that its rows follow."""
    coming: str = ""
    """What another version, which it will follow, makes different."""
    coming_us: int = 0

    def demand_sound(self) -> None:
        """Raise GrantRefused for names that cannot be names."""
        if len(self.grant) > MAX_GRANT_CHARACTERS or not _GRANT.fullmatch(self.grant):
            raise GrantRefused("a grant without a usable number was announced", where=repr(self.grant[:80]))
        if not _STREAM.fullmatch(self.stream) or not self.table or len(self.table.encode()) > 256:
            what = f"the announced table {self.table[:80]!r} of {self.stream[:80]!r} cannot be one"
            raise GrantRefused(what, where=self.grant)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A whole delivery, its parts put together."""

    place: Place
    digest: bytes
    receipt: str
    """The platform's number for it."""
    signature: bytes = field(repr=False)
    source_seq: int
    commit_us: int
    copying: bool
    rows_copied: int
    rows_expected: int
    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reception:
    """One grant: each field is a column beside the rows."""

    grant_id: str
    said: str = ""
    sentence: str = ""
    """Why central says so, and what to do."""
    resource: str = ""
    resource_name: str = ""
    stream: str = ""
    name: str = ""
    """The table as catalogued."""
    purpose: str = ""
    receipt: str = ""
    """The platform's number of the last delivery."""
    room: str = ""
    place: str = ""
    """The table here, in its room; empty once another grant has it."""
    state: State = State.SNAPSHOT
    code: str = ""
    why: str = ""
    fix: str = ""
    version: int = 0
    valid_to_us: int = 0
    generation: int = 0
    seq: int = 0
    """The last delivery that is durable here."""
    visible_seq: int = 0
    """The last one whose rows can be read: parts of a large transaction wait for the last of them."""
    source_seq: int = 0
    rows: int = 0
    size_bytes: int = 0
    last_commit_us: int = 0
    received_us: int = 0
    proven_us: int = 0
    rows_copied: int = 0
    rows_expected: int = 0
    emptied: int = 0
    """How often its rows were recalled or withdrawn."""
    kept_bytes: int = 0
    """Of deliveries that wait for an import."""
    contract: int = 0
    coming: str = ""
    """What will be different from :attr:`coming_us` on; empty = nothing is announced."""
    coming_us: int = 0
    copying: bool = True
    over: bool = False
    """Ended: nothing more is accepted for it, whatever arrives."""
    digest: bytes = field(default=CHAIN_START, repr=False)
    schema: TableSchema | None = None

    @property
    def held(self) -> bool:
        """Whether a person has to look before it goes on."""
        return self.state in HELD

    @property
    def is_proven(self) -> bool:
        """Whether the provider was looked at after the newest commit that came, and had nothing more."""
        return 0 < self.proven_us >= self.last_commit_us

    @property
    def accepts(self) -> bool:
        """Whether deliveries of it are taken at all."""
        return self.said in FLOWING and not self.over

    @property
    def reads(self) -> TableSchema | None:
        """How its rows are laid out here, under the name they have here; None while there is no table."""
        return replace(self.schema, name=self.place) if self.schema and self.place else None


def plain(text: str, limit: int = 1000) -> str:
    """A word of somebody else's as every database can hold it."""
    return escape(text)[:limit]


def flowing(row: Reception) -> Reception:
    """The same grant, going on."""
    state = State.SNAPSHOT if row.copying else State.RUNNING
    return replace(row, state=state, code="", why="", fix="")


def held_for(row: Reception, error: ExchangeError) -> Reception:
    """The same grant, held for *error*."""
    state = error.state if isinstance(error, TableHold | Diverged) else State.QUARANTINE
    retry = f"exchange-agent received retry {row.grant_id}"
    fix = f"{error.fix}, then: {retry}" if error.fix else f"mend the cause, then: {retry}"
    if state is State.DIVERGED:
        fix = f"ask the platform why; once it is mended there: {retry}; a fresh copy mends it as well"
    return replace(row, state=state, code=error.code, why=plain(error.what), fix=plain(fix))


def announced(row: Reception, news: Announced) -> Reception:
    """The same grant as central says it is now. One that ended stays ended."""
    if row.over or news.version < row.version:
        return row
    over = news.said in ENDED
    now = replace(
        row,
        said=news.said,
        sentence=news.sentence,
        resource=news.resource,
        resource_name=news.resource_name,
        purpose=news.purpose,
        version=news.version,
        valid_to_us=news.valid_to_us,
        # Said of a grant that flows; while it waits, what was said last is still the best known.
        contract=news.contract or row.contract,
        coming=news.coming,
        coming_us=news.coming_us,
        over=over,
    )
    if news.said not in FLOWING:
        code = f"GRANT_{news.said.upper()}"[:40]
        why = news.sentence or MEANING[State.PAUSED].sentence
        return replace(now, state=State.PAUSED, code=code, why=why, fix="")
    return flowing(now) if row.state is State.PAUSED else now


class Receptions:
    """The grants in the database."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.received
        self._recalled = tables.recalled

    def all(self, connection: Connection) -> dict[str, Reception]:
        """Every grant ever received, by number."""
        statement = select(self._table).order_by(self._table.c.grant_id)
        return {row["grant_id"]: _reception(row) for row in connection.execute(statement).mappings()}

    def one(self, connection: Connection, grant: str) -> Reception | None:
        """One grant; None before it was announced."""
        statement = select(self._table).where(self._table.c.grant_id == grant)
        row = connection.execute(statement).mappings().one_or_none()
        return _reception(row) if row else None

    def write(self, connection: Connection, row: Reception) -> None:
        """Store *row*."""
        values = {each.name: getattr(row, each.name) for each in fields(row)}
        values |= {"state": str(row.state), "schema": schema_bytes(row.schema)}
        mine = self._table.c.grant_id == values.pop("grant_id")
        if not connection.execute(update(self._table).where(mine).values(**values)).rowcount:
            connection.execute(insert(self._table).values(grant_id=row.grant_id, **values))

    def recalled(self, connection: Connection, grant: str, recall: str) -> int | None:
        """How many rows went with that recall; None when it is new."""
        here = self._recalled.c
        mine = (here.grant_id == grant) & (here.recall == recall)
        return connection.execute(select(here.rows).where(mine)).scalar()

    def recall(self, connection: Connection, grant: str, recall: str, rows: int) -> None:
        """Remember that it was done."""
        values = {"grant_id": grant, "recall": recall, "rows": rows, "at_us": now_us()}
        connection.execute(insert(self._recalled).values(**values))


def room_of(stream: str) -> str:
    """Where the rows of a provider's stream lie: its name has underscores, which no source's room has.

    Short enough that MariaDB's 64 characters leave room for the table's name; a longer one ends in a digest.
    """
    node, _, source = stream.partition("/")
    name = f"from_{node}_{source}"
    if len(name) <= MAX_ROOM:
        return name
    # A source's name begins with a letter, so no other stream's room can end like this.
    return f"{name[: MAX_ROOM - 9]}_0{hashlib.sha256(stream.encode()).hexdigest()[:7]}"


def place_of_rows(news: Announced, others: Iterable[Reception]) -> tuple[str, list[Reception]]:
    """The table for a new grant, and the grants that ended and lose theirs to it.

    Two grants on one table have a table each: they may show other columns.
    """
    room, wanted = room_of(news.stream), news.table.casefold()
    there = [each for each in others if each.room == room and each.place.casefold() == wanted]
    if any(not each.over for each in there):
        return f"{news.table}~{news.grant}", []
    return news.table, there


def _reception(row: RowMapping) -> Reception:
    values: dict[str, Any] = dict(row)
    values |= {
        "state": State(row["state"]),
        "digest": bytes(row["digest"]),
        "schema": schema_of(bytes(row["schema"])),
        "copying": bool(row["copying"]),
        "over": bool(row["over"]),
    }
    return Reception(**values)
