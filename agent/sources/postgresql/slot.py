"""Our place at the server, and whether the stream can go on from it without a hole.

The server does not check: asked for a position that its slot has passed, or that its log has not reached, it
silently starts elsewhere. So everything that could make a hole is looked at before each start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from agent.sources.postgresql.connection import Connection, translated
from agent.sources.postgresql.place import Place, format_lsn, parse_lsn
from agent.sources.postgresql.wire import Identity, Walsender
from proto.errors import Diverged, ExchangeError, Fenced, Gap, Transient

PLUGIN: Final = "pgoutput"
AFRESH: Final = "copy all tables afresh: exchange-agent snapshot --all"
OTHER_READER: Final = "stop the other reader, then: exchange-agent resume"
WAL_LEVEL: Final = "ALTER SYSTEM SET wal_level = 'logical';\nrestart the server"
OTHER_NAME: Final = "name a slot of its own for this source: 'slot', then restart the agent"

_SLOT: Final = """
SELECT to_jsonb(s), pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, current_database(),
    (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
FROM (SELECT current_database()) d LEFT JOIN pg_replication_slots s ON s.slot_name = %s
"""
# Others' transaction start times are hidden from an account that may not read all statistics; their locks are not.
_OLDEST: Final = """
SELECT l.pid, coalesce(a.xact_start::text, 'an unknown time') FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'transactionid' AND l.granted AND l.pid <> pg_backend_pid() ORDER BY age(l.transactionid) DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server shows it."""

    name: str
    plugin: str
    database: str
    confirmed: int
    active_pid: int | None
    lost_why: str
    """Why it can no longer be read; empty if it can."""
    retained_bytes: int
    limit_bytes: int | None


def read_slot(connection: Connection, name: str) -> Slot | None:
    """The slot as it is now; None if there is none."""
    with translated(name):
        row = connection.execute(_SLOT, (name,)).fetchone()
    if row is None or row[0] is None:
        return None
    facts, retained, _, limit_mb = row
    return Slot(
        name,
        facts["plugin"] or "",
        facts["database"] or "",
        parse_lsn(facts["confirmed_flush_lsn"] or "0/0"),
        facts["active_pid"],
        _why_lost(facts),
        max(0, retained or 0),
        None if limit_mb < 0 else limit_mb * 1024 * 1024,
    )


def make_slot(connection: Connection, name: str, timeout_s: float) -> int:
    """Make the slot and return where it starts; Transient names whom it waited for in vain."""
    connection.execute(f"SET statement_timeout = {int(timeout_s * 1000)}")
    try:
        with translated(name):
            row = connection.execute(
                "SELECT lsn::text FROM pg_create_logical_replication_slot(%s, %s)", (name, PLUGIN)
            ).fetchone()
    except Transient as error:
        raise _waited(connection, name, error) from error
    finally:
        if not connection.closed:
            connection.execute("SET statement_timeout = '10min'")
    return parse_lsn(row[0] if row else "0/0")


def drop_slot(connection: Connection, name: str) -> None:
    """Give up our place at the server; Fenced if somebody is reading from it, or if it is not ours to give up."""
    slot = read_slot(connection, name)
    if slot is None:
        return
    if (slot.plugin, slot.database) != (PLUGIN, connection.info.dbname):
        # Slots belong to the whole server: an agent of another database may live from it.
        what = f"slot {name} belongs to {slot.plugin} in database {slot.database}"
        raise Fenced(what, where=name, fix=OTHER_NAME)
    if slot.active_pid is not None:
        what = f"slot {name} is being read by process {slot.active_pid}"
        raise Fenced(what, where=name, fix=OTHER_READER)
    with translated(name):
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def check_continuity(
    place: Place, identity: Identity, slot: Slot | None, database: str, wire: Walsender
) -> None:
    """Raise Diverged or Gap unless everything after *place* can still be read from this very log."""
    where = f"system {identity.system}, timeline {identity.timeline}"
    if place.system != identity.system:
        raise Diverged(f"this is another cluster than {place.system}", where=where, fix=AFRESH)
    if place.timeline != identity.timeline:
        _check_timeline(place, identity, wire, where)
    if place.lsn > identity.flushed:
        raise Diverged(
            f"the server's log ends at {format_lsn(identity.flushed)}, before our position {format_lsn(place.lsn)}: "
            "it was restored to an earlier time",
            where=where,
            fix=AFRESH,
        )
    _check_slot(place, slot, database, where)


def unless_fenced(act: Callable[[], None], pause: Callable[[float], None]) -> None:
    """Do what needs the slot for ourselves; when somebody else reads from it, try three times before saying so.

    The other may be our own walsender from before a crash, which takes a moment to notice.
    """
    for attempt in range(3):
        try:
            act()
        except Fenced:
            if attempt == 2:
                raise
            pause(1.0)
        else:
            return


def _check_timeline(place: Place, identity: Identity, wire: Walsender, where: str) -> None:
    switched = wire.history(identity.timeline) if identity.timeline > 1 else {}
    end = switched.get(place.timeline)
    if end is None or place.lsn > end:
        raise Diverged(
            f"our position {format_lsn(place.lsn)} on timeline {place.timeline} is not in this server's past: "
            "what we read after the switch does not exist there",
            where=where,
            fix=AFRESH,
        )


def _check_slot(place: Place, slot: Slot | None, database: str, where: str) -> None:
    problem: ExchangeError | None = None
    if slot is None:
        problem = Gap("our replication slot does not exist there", where=where, fix=AFRESH)
    elif slot.lost_why:
        problem = Gap(f"slot {slot.name} is lost: {slot.lost_why}", where=where, fix=AFRESH)
    elif (slot.plugin, slot.database) != (PLUGIN, database):
        what = f"slot {slot.name} belongs to {slot.plugin} in database {slot.database}"
        problem = Gap(what, where=where, fix=f"{OTHER_NAME} and {AFRESH}")
    elif slot.confirmed > place.lsn:
        what = (
            f"slot {slot.name} is at {format_lsn(slot.confirmed)}, past our position {format_lsn(place.lsn)}"
        )
        problem = Gap(f"{what}: the changes between are gone", where=where, fix=AFRESH)
    if problem is not None:
        raise problem


def _why_lost(facts: dict[str, Any]) -> str:
    if reason := facts.get("invalidation_reason"):
        return str(reason)
    if facts["wal_status"] == "lost":
        return "the server removed log that it needs"
    return "it conflicts with recovery" if facts.get("conflicting") else ""


def _waited(connection: Connection, name: str, error: Transient) -> Transient:
    cause = error.__cause__
    if isinstance(cause, psycopg.errors.ObjectNotInPrerequisiteState):
        return Transient(error.what, where=name, fix=WAL_LEVEL)
    if isinstance(cause, psycopg.errors.ConfigurationLimitExceeded):
        fix = "ALTER SYSTEM SET max_replication_slots to more, then restart the server; or drop one nobody needs"
        return Transient(error.what, where=name, fix=fix)
    if not isinstance(cause, psycopg.errors.QueryCanceled):
        return error
    row = connection.execute(_OLDEST).fetchone()
    whom = f"process {row[0]}, open since {row[1]}" if row else "a prepared transaction"
    return Transient(
        f"making slot {name} waits for the transaction of {whom}",
        where=name,
        fix="commit it or end that session",
    )
