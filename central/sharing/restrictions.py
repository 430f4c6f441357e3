"""What restricts a department now (Art. 28 ¶2): asked here, decided by whoever supervises.

It hits one right only: composites and what is stored on the platform. It never touches what others may read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection


class Restricted(Protocol):
    """Tells what restricts a department."""

    def __call__(self, connection: Connection, department: str) -> Sequence[str]:
        """A sentence for each restriction in force: which resource was late, since when, what lifts it."""
        ...


def nobody(connection: Connection, department: str) -> Sequence[str]:
    """No department is restricted."""
    del connection, department
    return ()
