"""The exchange database: mirror, outbox and checkpoint, moved in one transaction."""

from agent.exchange.checkpoints import Checkpoint
from agent.exchange.exchange import Exchange, StoreLimits
from agent.exchange.outbox import Sizes
from agent.exchange.quarantine import Entry
from agent.exchange.store import migrate, open_exchange
from agent.exchange.tablestates import CopyState, TableStatus

__all__ = [
    "Checkpoint",
    "CopyState",
    "Entry",
    "Exchange",
    "Sizes",
    "StoreLimits",
    "TableStatus",
    "migrate",
    "open_exchange",
]
