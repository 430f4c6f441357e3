"""The exchange database: mirror, outbox and checkpoint, moved in one transaction."""

from agent.exchange.ballast import Ballast
from agent.exchange.catalogued import Catalogued, Signed
from agent.exchange.checkpoints import Checkpoint, Pause
from agent.exchange.closing import CATALOGUE, Decision
from agent.exchange.exchange import Exchange
from agent.exchange.horizon import Gauge, Horizon
from agent.exchange.outbox import Sizes
from agent.exchange.quarantine import Entry
from agent.exchange.received import Received
from agent.exchange.receptions import Announced, Parcel, Reception
from agent.exchange.room import StoreLimits
from agent.exchange.statements import Statements
from agent.exchange.store import migrate, open_exchange
from agent.exchange.tablestates import CopyState, TableStatus
from agent.exchange.witness import Witness

__all__ = [
    "CATALOGUE",
    "Announced",
    "Ballast",
    "Catalogued",
    "Checkpoint",
    "CopyState",
    "Decision",
    "Entry",
    "Exchange",
    "Gauge",
    "Horizon",
    "Parcel",
    "Pause",
    "Received",
    "Reception",
    "Signed",
    "Sizes",
    "Statements",
    "StoreLimits",
    "TableStatus",
    "Witness",
    "migrate",
    "open_exchange",
]
