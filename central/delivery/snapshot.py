"""The first copy of a table without a key: one moment of it, put aside so that the consumer may take its time.

A page of such a table has no place to go on from, and a row that comes twice stays twice. So the whole table is read
in one transaction into a file without a name, and a copy that is interrupted begins anew.
"""

from __future__ import annotations

import struct
import tempfile
from typing import Final

from sqlalchemy import Engine

from central.delivery.stretch import applied_of
from central.store import looking_back
from proto.batch import Frames
from proto.schema import TableSchema
from replica.replica import Replica

PAGE_ROWS: Final = 10_000
IN_MEMORY_BYTES: Final = 4 * 1024 * 1024
_HEAD: Final = struct.Struct(">QQ")


class Snapshot:
    """Pages of one moment, taken out once each, in order."""

    def __init__(self, engine: Engine, stream: str, replica: Replica, schema: TableSchema) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed by close()
        self._left = 0
        with looking_back(engine) as connection:
            applied = applied_of(connection, stream, schema.name)
            self.taken_at = (applied.seq, applied.digest)
            """How far the ledger was applied at that moment."""
            for page in replica.scan(connection, schema, PAGE_ROWS):
                self._file.write(_HEAD.pack(page.count, len(page.data)) + page.data)
                self._left += 1
        self._file.seek(0)

    def take(self) -> tuple[Frames, bool]:
        """The next page, and whether it is the last one."""
        if not self._left:
            return Frames(), True
        count, size = _HEAD.unpack(self._file.read(_HEAD.size))
        self._left -= 1
        return Frames(self._file.read(size), count), not self._left

    def close(self) -> None:
        """Forget it."""
        self._file.close()
