"""Which server answers, how far its log reaches, and whether a stream can go on there without a hole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from agent.sources.mysql.connection import LOGIN_FIX, Connection
from agent.sources.mysql.events import EventType, header
from agent.sources.mysql.gtids import DomainGtids, ServerGtids
from agent.sources.mysql.place import MARIADB, Place, Spot
from agent.sources.mysql.refusals import AFRESH
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.mysql.wire import Dump
from agent.sources.wakeup import Wakeup
from proto.errors import Credential, Diverged, ExchangeError, Fenced, Gap, Transient

OTHER_READER_FIX: Final = (
    "stop the other agent, or set another server_id for one of them; then: exchange-agent resume"
)
_PATIENCE_S: Final = 10.0


def server_name(connection: Connection) -> str:
    """Who the server is, for positions."""
    if connection.is_mariadb:
        return f"{MARIADB}{connection.row('SELECT @@global.server_id')[0]}"
    return str(connection.row("SELECT @@global.server_uuid")[0])


def log_end(connection: Connection) -> Spot:
    """Where the log ends; inside a consistent snapshot of MariaDB, where the snapshot lies in it."""
    if connection.is_mariadb:
        rows = connection.rows("SHOW STATUS LIKE 'binlog_snapshot_%'")
        told = {_text(name).lower(): _text(value) for name, value in rows}
        return Spot(told["binlog_snapshot_file"], int(told["binlog_snapshot_position"]))
    status = _mysql_status(connection)
    return Spot(_text(status["File"]), int(_text(status["Position"])))


def now(connection: Connection) -> tuple[str, Spot]:
    """The transactions in the log and where it ends, as one moment."""
    if not connection.is_mariadb:
        status = _mysql_status(connection)
        return str(status["Executed_Gtid_Set"]).replace("\n", ""), Spot(
            str(status["File"]), int(status["Position"])
        )
    # Asked before, so that nothing in it comes later; what comes between is in the log's own word for the spot.
    gtids = DomainGtids.parse(str(connection.row("SELECT @@global.gtid_binlog_state")[0]))
    connection.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    spot = log_end(connection)
    connection.run("ROLLBACK")
    ends = str(connection.row("SELECT binlog_gtid_pos(%s, %s)", (spot.file, spot.offset))[0] or "")
    for gtid in filter(None, ends.split(",")):
        gtids.add(gtid)
    return str(gtids), spot


def executed(connection: Connection) -> DomainGtids | ServerGtids:
    """Every transaction in the log."""
    if connection.is_mariadb:
        return DomainGtids.parse(str(connection.row("SELECT @@global.gtid_binlog_pos")[0]))
    return ServerGtids.parse(str(connection.row("SELECT @@global.gtid_executed")[0]))


def check_log(connection: Connection) -> None:
    """Raise Credential unless the server logs rows, whole and described."""
    for name, wanted in requirements(connection).items():
        row = connection.row(f"SHOW GLOBAL VARIABLES LIKE '{name}'")
        value = str(row[1]).upper() if row else ""
        if value != wanted:
            where = connection.name
            raise Credential(
                f"{name} is {value or 'unknown'} instead of {wanted}", where=where, fix=mend(name, wanted)
            )


def requirements(connection: Connection) -> dict[str, str]:
    """What the server's settings must be."""
    wanted = {
        "log_bin": "ON",
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "binlog_row_metadata": "FULL",
    }
    if not connection.is_mariadb:
        wanted |= {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"}
        if connection.version >= (8, 0, 20):
            wanted["binlog_transaction_compression"] = "OFF"
    return wanted


def mend(name: str, wanted: str) -> str:
    """The statement and the line of my.cnf that set it."""
    if name in ("log_bin", "gtid_mode", "enforce_gtid_consistency"):
        return f"in my.cnf, section [mysqld]: {name} = {wanted}; then restart the server"
    return f"SET GLOBAL {name} = {wanted}; and in my.cnf, section [mysqld]: {name} = {wanted}"


def files(connection: Connection) -> list[str]:
    """The log's files, oldest first."""
    return list(sizes(connection))


def sizes(connection: Connection) -> dict[str, int]:
    """The bytes of the log's files, oldest first."""
    return {str(row[0]): int(row[1]) for row in connection.rows("SHOW BINARY LOGS")}


def birth(settings: MysqlSettings, file: str, wakeup: Wakeup, *, is_mariadb: bool) -> int:
    """When a file of the log began; 0 when the server does not have it."""
    with closing(Dump(settings, wakeup, is_mariadb=is_mariadb)) as dump:
        dump.start_at_file(file)
        try:
            while dump.wait(_PATIENCE_S):
                for event in dump.drain(1):
                    if event[4] == EventType.FORMAT_DESCRIPTION:
                        return header(event).time_s
        except (Gap, Diverged):
            return 0
    raise Transient("the server does not send its log", where=settings.name)


def check_continuity(settings: MysqlSettings, place: Place, connection: Connection, wakeup: Wakeup) -> None:
    """Raise Gap or Diverged unless everything after *place* is still there, and what is before it is what we read."""
    where = settings.name
    ours, theirs = place.read_gtids(), executed(connection)
    if not theirs.contains(ours):  # type: ignore[arg-type]
        what = f"what we read (up to {place.gtids}) is not in the server's log: it was reset or restored"
        raise Diverged(what, where=where, fix=AFRESH)
    found = sizes(connection)
    there = list(found)
    if place.spot.file in found:
        if found[place.spot.file] < place.spot.offset:
            # As after a power cut with sync_binlog = 0: the numbers we read go to other transactions then.
            what = f"{place.spot.file} is shorter than what we read of it: the server lost the end of its log"
            raise Diverged(what, where=where, fix=AFRESH)
        born_s = birth(settings, place.spot.file, wakeup, is_mariadb=connection.is_mariadb)
        if place.born_s and born_s != place.born_s:
            raise Diverged(f"{place.spot.file} is another file than the one we read", where=where, fix=AFRESH)
    elif there and place.spot.order > Spot(there[-1], 0).order:
        raise Diverged(
            f"the server has no {place.spot.file} any more: its log was reset", where=where, fix=AFRESH
        )
    gone = forgotten(connection, there)
    if gone is not None and not ours.contains(gone):  # type: ignore[arg-type]
        what = (
            f"the server purged logs that we had not read: it begins with {there[0] if there else 'nothing'}"
        )
        raise Gap(what, where=where, fix=AFRESH)


def forgotten(connection: Connection, there: Sequence[str]) -> DomainGtids | ServerGtids | None:
    """The transactions that are no longer in the log's files."""
    if not connection.is_mariadb:
        return ServerGtids.parse(str(connection.row("SELECT @@global.gtid_purged")[0]))
    if not there:
        return None
    return begins_after(connection, there[0])


def begins_after(connection: Connection, file: str) -> DomainGtids | None:
    """MariaDB's last transactions before a file; None when it does not say."""
    # Four bytes are a file's beginning, before its first event.
    row = connection.row("SELECT binlog_gtid_pos(%s, 4)", (file,))
    return DomainGtids.parse(str(row[0])) if row and row[0] else None


def claim(connection: Connection, replica_id: int, pause: Callable[[float], None]) -> None:
    """Be the only agent that reads under this number, as long as *connection* lives; Fenced if another one does.

    The server itself would let the newcomer in and throw the other one out, for ever in turns. The other may be our
    own session from before a crash, which the server takes a moment to notice.
    """
    name = f"exchange-agent {replica_id}"
    for attempt in range(3):
        if attempt:
            pause(1.0)
        if connection.row("SELECT GET_LOCK(%s, 0)", (name,))[0] == 1:
            return
    holder = connection.row("SELECT IS_USED_LOCK(%s)", (name,))[0]
    what = f"another agent reads under server_id {replica_id} (connection {holder} at the server)"
    raise Fenced(what, where=connection.name, fix=OTHER_READER_FIX)


def may_not_read_log(error: ExchangeError, user: str) -> ExchangeError:
    """A refusal to send the log names the grant it needs."""
    if not isinstance(error, Credential) or error.fix != LOGIN_FIX:
        return error
    fix = f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {user} (on MySQL: REPLICATION SLAVE, REPLICATION CLIENT)"
    return Credential(error.what, where=error.where, fix=fix)


def _mysql_status(connection: Connection) -> dict[str, Any]:
    statement = "SHOW BINARY LOG STATUS" if connection.version >= (8, 2) else "SHOW MASTER STATUS"
    found = connection.dicts(statement)
    if not found:
        raise Credential("the server writes no log", where=connection.name, fix=mend("log_bin", "ON"))
    return found[0]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
