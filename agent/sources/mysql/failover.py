"""Going on at another server after a failover, if its log proves that its history up to our place is what we read.

A number says little: a replica that was promoted too early gives ours to another transaction, and one that was written
to holds transactions that we never saw. So the very transaction that we read last is looked for in the new log: the
same domain, server and number, run in the same second, after exactly the same last transactions of every other server,
and with numbers that rise by one. Whatever is not proven so has diverged.

Only MariaDB's logs can be asked this: each file begins with the last transaction of every server there ever was.
"""

from __future__ import annotations

import struct
from contextlib import closing
from typing import Final

from agent.sources.mysql import server
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.events import HEADER_BYTES, EventType, header
from agent.sources.mysql.gtids import DomainGtids
from agent.sources.mysql.place import Place, Spot
from agent.sources.mysql.refusals import AFRESH
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.statements import read_mariadb_gtid
from agent.sources.mysql.wire import Dump, Ended
from agent.sources.wakeup import Wakeup
from proto.errors import Diverged, Gap, Refused, Transient

_PATIENCE_S: Final = 30.0
_GULP_BYTES: Final = 1 << 20
_COUNT: Final = struct.Struct("<I")
_COUNT_BITS: Final = (1 << 28) - 1
_ENTRY: Final = struct.Struct("<IIQ")
_ENDS: Final = frozenset({EventType.XID, EventType.QUERY, EventType.MARIADB_QUERY_COMPRESSED})
BEHIND_FIX: Final = f"if it still catches up, wait and say: exchange-agent resume; else {AFRESH}"


def follow(settings: MysqlSettings, place: Place, connection: Connection, wakeup: Wakeup) -> Place:
    """The same place in another server's log. Raises Diverged unless it is proven to be the same, Gap if it is gone."""
    name = server.server_name(connection)
    try:
        if not (place.is_mariadb and connection.is_mariadb):
            raise _Unproven("only MariaDB's log proves that its history is the one we read")
        walk = _Walk(place)
        file = _file_before(walk.ours, connection)
        walk.through(settings, file, wakeup)
        return Place(name, place.gtids, walk.spot, walk.born_s, place.at_s)
    except _Unproven as error:
        what = f"this is server {name}, and we read from {place.server}: {error}"
        raise Diverged(what, where=settings.name, fix=error.fix) from None
    except (_Forgotten, Gap) as error:
        what = f"server {name} begins its log after what we read from {place.server}"
        raise Gap(what, where=settings.name, fix=AFRESH) from error


class _Unproven(Exception):
    """Why this may be another history."""

    def __init__(self, why: str, fix: str = AFRESH) -> None:
        super().__init__(why)
        self.fix = fix


class _Forgotten(Exception):
    """The log begins too late."""


def _file_before(ours: DomainGtids, connection: Connection) -> str:
    """The newest file that begins before our last transaction."""
    if not int(connection.row("SELECT @@global.gtid_strict_mode")[0]):
        raise _Unproven("its gtid_strict_mode is OFF, so the order of its log proves nothing")
    theirs = DomainGtids.parse(str(connection.row("SELECT @@global.gtid_binlog_state")[0]))
    if not theirs.contains(ours):
        raise _Unproven(f"it does not have all that we read (up to {ours.ends})", BEHIND_FIX)
    if theirs.last.keys() != ours.last.keys():
        raise _Unproven("its log has transactions of other domains than ours")
    (end,) = ours.last.values()
    there = server.files(connection)
    for file in reversed(there):
        before = server.begins_after(connection, file)
        if before is None or all(number < end[1] for _, number in before.last.values()):
            return file
    raise _Forgotten(there[0] if there else "")


class _Walk:
    """Reads a log from a file's beginning to the end of our last transaction."""

    def __init__(self, place: Place) -> None:
        found = place.read_gtids()
        if not isinstance(found, DomainGtids) or len(found.last) != 1 or not place.at_s:
            raise _Unproven(
                "the position is of more than one domain, or does not say when its end was written"
            )
        self.ours = found
        ((self._domain, (self._server, self._number)),) = found.last.items()
        self._at_s = place.at_s
        self._state: DomainGtids | None = None
        self._file = ""
        self._is_ours = False
        self._ran_at_s = 0
        self.born_s = 0
        self.spot = Spot("", 0)

    def through(self, settings: MysqlSettings, file: str, wakeup: Wakeup) -> None:
        """Walk; returns when our last transaction was passed and is the one we read. Raises _Unproven."""
        with closing(Dump(settings, wakeup, is_mariadb=True)) as dump:
            dump.start_at_file(file)
            try:
                while dump.wait(_PATIENCE_S):
                    if any(self._passes(event) for event in dump.drain(_GULP_BYTES)):
                        break
                else:
                    raise Transient("the server does not send its log", where=settings.name)
            except Ended:
                # The log's end; what we have seen of it decides.
                pass
        self._decide()

    def _passes(self, event: bytes) -> bool:
        """Take an event in; says whether our transaction is behind us."""
        kind = event[4]
        if kind == EventType.ROTATE:
            if self._is_ours and self.spot.file:
                return True
            self._file = event[HEADER_BYTES + 8 :].decode()
        elif kind == EventType.FORMAT_DESCRIPTION:
            self.born_s = header(event).time_s
        elif kind == EventType.MARIADB_GTID_LIST and self._state is None:
            self._state = _listed(event)
        elif kind == EventType.MARIADB_GTID:
            if self._is_ours:
                return True
            self._begin(read_mariadb_gtid(event, header(event).server_id).gtid)
        elif self._is_ours:
            self._within(kind, event)
        return False

    def _begin(self, gtid: str) -> None:
        if self._state is None:
            raise _Unproven("its log does not say what came before it")
        domain, _, number = (int(part) for part in gtid.split("-"))
        before = self._state.last.get(domain, (0, 0))[1]
        if domain != self._domain or number <= before:
            raise _Unproven(f"transaction {gtid} is out of order in its log")
        if number > before + 1 and before:
            # Servers count without holes: what is not there was skipped or filtered out, and its rows are not there.
            raise _Unproven(f"its log has nothing between {before} and {gtid}")
        self._state.add(gtid)
        self._is_ours = self._state.last[domain] == (self._server, self._number)
        if number >= self._number and not self._is_ours:
            raise _Unproven(f"transaction {gtid} stands there in place of the one we read ({self.ours.ends})")

    def _within(self, kind: int, event: bytes) -> None:
        """Our own transaction: when it ran, and where it ends."""
        told = header(event)
        if kind == EventType.TABLE_MAP:
            self._ran_at_s = told.time_s
        elif kind in _ENDS:
            self.spot = Spot(self._file, told.next_position)
            self._ran_at_s = self._ran_at_s or told.time_s

    def _decide(self) -> None:
        if self._state is None or not self._is_ours or not self.spot.file:
            raise _Unproven(f"the transaction that we read last ({self.ours.ends}) is not in its log")
        if self._ran_at_s != self._at_s:
            raise _Unproven(f"transaction {self.ours.ends} was run at another time there: it is another one")
        if self._state.others.get(self._domain, {}) != self.ours.others.get(self._domain, {}):
            raise _Unproven(f"before {self.ours.ends} its log has other transactions of other servers")


def _listed(event: bytes) -> DomainGtids:
    """MariaDB's list of what came before a file."""
    try:
        count = _COUNT.unpack_from(event, HEADER_BYTES)[0] & _COUNT_BITS
        at = HEADER_BYTES + _COUNT.size
        entries = [_ENTRY.unpack_from(event, at + number * _ENTRY.size) for number in range(count)]
    except struct.error as error:
        raise Refused("a list of transactions in the log is cut off") from error
    found = DomainGtids({})
    for domain, each, number in entries:
        found.add(f"{domain}-{each}-{number}")
    return found
