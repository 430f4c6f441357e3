"""Where a log stream's transactions begin and end, and what their commits say; pure functions of bytes.

The hot loop (``_pgoutput``, compiled) brings the same class with the same results.
"""

from __future__ import annotations

import struct
from typing import Final

BODY_AT: Final = 26
"""Of a message of kind 'w': after its header and the kind of pgoutput's message."""
PG_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""
_BEGIN: Final = struct.Struct(">QqI")
_COMMIT: Final = struct.Struct(">BQQq")


class Transactions:
    """What came since the last :meth:`reset`, unless an attribute says otherwise."""

    def __init__(self) -> None:
        self.skip_until = 0
        """Transactions that end at or before this position are passed over and counted in ``replayed``."""
        self.replayed = 0
        """Transactions passed over since this was made."""
        self.skipping = False
        """The open transaction is one of them."""
        self.is_open = False
        """Between a transaction's begin and its commit, right now."""
        self.end_lsn = 0
        """Where the last transaction ended; 0 before the first."""
        self._begun_us = 0
        self._xid = 0
        self.reset()

    def reset(self) -> None:
        """Start the facts anew."""
        self.count = 0
        self.first_commit_us = 0
        """When the first of the transactions was committed, microseconds since 1970; 0 = none was."""
        self.last_commit_us = 0
        self.xids: list[int] = []

    def begin(self, message: bytes) -> None:
        """A transaction begins."""
        final_lsn, commit_time, xid = _BEGIN.unpack_from(message, BODY_AT)
        self.is_open = True
        self._begun_us, self._xid = commit_time + PG_EPOCH_US, xid
        # It names the start of its commit record. Positions are ends of records, so a record that
        # starts before one also ends there or before.
        self.skipping = final_lsn < self.skip_until

    def commit(self, message: bytes) -> None:
        """The open transaction was committed."""
        _, _, end_lsn, _ = _COMMIT.unpack_from(message, BODY_AT)
        self.is_open = False
        self.end_lsn = end_lsn
        if self.skipping:
            self.skipping = False
            self.replayed += 1
            return
        self.count += 1
        self.first_commit_us = self.first_commit_us or self._begun_us
        self.last_commit_us = self._begun_us
        self.xids.append(self._xid)
