"""How near the server is to dropping what we have not read: it keeps its log by its own clock, for nobody in particular.

A file may go once it has lain unwritten for as long as the server keeps its logs, that is since the next one began, or
once all of them are larger than the server has room for. The newest file never goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from agent.sources.mysql import server
from agent.sources.mysql.connection import Connection
from agent.sources.mysql.place import Place, Spot
from agent.sources.mysql.refusals import AFRESH
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.source import Fading
from agent.sources.wakeup import Wakeup
from proto.batch import Position

DAY_S: Final = 86_400
WARN_AT: Final = 0.5
_SECONDS: Final = "binlog_expire_logs_seconds"
_DAYS: Final = "expire_logs_days"
_BYTES: Final = "max_binlog_total_size"
_MIB: Final = 1 << 20
_SPANS: Final = ((DAY_S, "days"), (3600, "hours"), (60, "minutes"))


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much of its log a server keeps, each 0 = without limit."""

    seconds: float
    bytes: int
    setting: str
    """What says how long."""

    @property
    def longer(self) -> str:
        """The statement that keeps it twice as long, and no shorter than a week."""
        seconds = max(2 * int(self.seconds), 7 * DAY_S)
        number = seconds if self.setting == _SECONDS else -(-seconds // DAY_S)
        return f"SET GLOBAL {self.setting} = {number}; and in my.cnf: {self.setting} = {number}"


def keeping(connection: Connection) -> Keeping:
    """What the server's settings say; the older of two names counts where the newer one is not set."""
    told = {name: _setting(connection, name) for name in (_SECONDS, _DAYS, _BYTES)}
    seconds, days = told[_SECONDS], told[_DAYS]
    setting = _DAYS if seconds is None else _SECONDS
    return Keeping(float(seconds or (days or 0) * DAY_S), int(told[_BYTES] or 0), setting)


def fading(settings: MysqlSettings, position: Position) -> Fading | None:
    """A warning when half of the time or room is used up, or when what we need is gone; on a connection of its own."""
    place = Place.parse(position)
    with closing(Connection(settings)) as connection:
        if server.server_name(connection) != place.server:
            return None
        files = list(server.sizes(connection).items())
        ours = Spot(place.spot.file, 0)
        left = [each for each in files if Spot(each[0], 0).reaches(ours)]
        if left and left[0][0] != ours.file and _is_lost(place, connection, left[0][0]):
            what = "the server has dropped logs that were not read: there will be a gap"
            return Fading(1.0, what, AFRESH)
        left = _needed(place, left, connection)
        if len(left) <= 1:
            return None
        kept = keeping(connection)
        if kept.seconds or kept.bytes:
            shares = [*_by_age(settings, kept, left[1][0], connection), *by_size(kept, left)]
            share, sentence = max(shares)
            fix = f"see what keeps the stream from going on, or have the server keep more: {kept.longer}"
            return Fading(share, sentence, fix) if share >= WARN_AT else None
    return _purged_by_hand(files[0][0], left[0][0])


def _needed(place: Place, left: list[tuple[str, int]], connection: Connection) -> list[tuple[str, int]]:
    """Without the files at whose ends nothing is that was not read; MySQL does not tell, so there ours counts whole."""
    while connection.is_mariadb and len(left) > 1:
        before = server.begins_after(connection, left[1][0])
        if before is None or not place.read_gtids().contains(before):  # type: ignore[arg-type]
            break
        left = left[1:]
    return left


def span(seconds: float) -> str:
    """``7 days``, ``90 minutes``, ``20 s``: whole numbers, rounded down."""
    return next(
        (f"{int(seconds // size)} {word}" for size, word in _SPANS if seconds >= 2 * size),
        f"{int(seconds)} s",
    )


def _by_age(
    settings: MysqlSettings, kept: Keeping, next_file: str, connection: Connection
) -> Iterator[tuple[float, str]]:
    if not kept.seconds:
        return
    began_s = server.birth(settings, next_file, Wakeup(), is_mariadb=connection.is_mariadb)
    age_s = max(0.0, float(connection.row("SELECT UNIX_TIMESTAMP()")[0]) - began_s) if began_s else 0.0
    yield (
        age_s / kept.seconds,
        f"the server drops its logs after {span(kept.seconds)}; ours is {span(age_s)} old",
    )


def by_size(kept: Keeping, left: Sequence[tuple[str, int]]) -> Iterator[tuple[float, str]]:
    """How much of the room is taken from our file on; nothing where there is no limit."""
    if not kept.bytes:
        return
    size = sum(each for _, each in left)
    room = f"the server keeps {kept.bytes // _MIB} MiB of its logs; from ours on there are {size // _MIB} MiB"
    yield size / kept.bytes, room


def _is_lost(place: Place, connection: Connection, oldest: str) -> bool:
    """A file behind us may go; what came after ours may not."""
    gone = server.forgotten(connection, [oldest])
    return gone is not None and not place.read_gtids().contains(gone)  # type: ignore[arg-type]


def _purged_by_hand(oldest: str, ours: str) -> Fading | None:
    """Nobody can tell when; but where the first files are gone already, somebody comes."""
    if oldest != ours or Spot(oldest, 0).order[0] <= 1:
        return None
    what = "somebody purges the server's logs by hand, and ours is the oldest that is left"
    fix = "see what keeps the stream from going on, and let nobody purge the logs meanwhile"
    return Fading(1.0, what, fix)


def _setting(connection: Connection, name: str) -> float | None:
    row = connection.row(f"SHOW GLOBAL VARIABLES LIKE '{name}'")
    return float(row[1] or 0) if row else None
