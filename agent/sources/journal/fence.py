"""One reader of a journal on this machine: a name in the kernel that is free again when its holder ends, however it ends."""

from __future__ import annotations

import socket

from proto.errors import Fenced


class Fence:
    """Held from :meth:`close_gate` to :meth:`open_gate`, or to the end of the process."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._socket: socket.socket | None = None

    def close_gate(self, identity: str) -> None:
        """Keep every other reader of this journal out. Raises Fenced when one is in."""
        gate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            gate.bind(f"\0exchange-journal-{identity}")
        except OSError as error:
            gate.close()
            fix = "find and stop the other exchange-agent that has this source in its settings"
            raise Fenced("another agent reads this journal", where=self._source, fix=fix) from error
        self._socket = gate

    def open_gate(self) -> None:
        """Let others in."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
