"""Brings the tables of a stream into the state that the catalogue wants, before capture or push goes on under it."""

from __future__ import annotations

from typing import Any

import structlog

from agent.binding import Bound, NotCatalogued, Rule
from agent.exchange import Decision, Exchange, TableStatus
from agent.sources.settings import TableSettings
from proto.batch import SealedBatch

_log = structlog.get_logger()


def settle(exchange: Exchange, bound: Bound[Any]) -> list[SealedBatch]:
    """Hold what may not leave, order a copy of what may leave again or in another shape, and take out what is closed.

    One transaction; safe to repeat after a crash. Returns what it queued.
    """
    exchange.start()
    queued = exchange.closing.settle(_decision(exchange, bound))
    exchange.closing.scrub()
    return queued


def _decision(exchange: Exchange, bound: Bound[Any]) -> Decision:
    known, holds, copies = exchange.tables(), [], []
    for name in bound.reasons:
        hold, status = bound.hold(name), known.get(name)
        if hold is not None and not (status and status.left_out and status.sentence == hold.what):
            _log.warning("table_held", stream=exchange.stream, table=name, error=str(hold))
            holds.append(hold)
    for table in bound.tables:
        status, rule = known.get(table.catalogued), bound.rules.get(table.catalogued)
        if status is not None and _is_to_be_copied(status, table, rule):
            _log.info("table_bound_anew", stream=exchange.stream, table=status.name)
            copies.append(status.name)
    return Decision(bound.mark, tuple(holds), tuple(copies), bound.closes, bound.placed)


def _is_to_be_copied(status: TableStatus, table: TableSettings, rule: Rule | None) -> bool:
    """Whether its rows have to be copied afresh to be as they may be now: emptied on every side first."""
    if status.held and status.code == NotCatalogued.code:
        return True
    waits = status.wants_copy and not status.copy.begun
    if rule is None or status.schema is None or waits:
        return False
    there, key = [column.name for column in status.schema.columns], status.schema.key
    if rule.stranger(there):
        return True
    # A source adds the key to what is asked of it, wherever it likes.
    wanted = [name for name in table.listed or there if name not in key]
    return not status.held and wanted != [name for name in there if name not in key]
