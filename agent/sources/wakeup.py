"""A bell that ends a wait: rung from another thread, heard by whoever waits on its pipe."""

from __future__ import annotations

import os
import select


class Wakeup:
    """A pipe that ends a wait from another thread."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._ears = select.poll()
        self._ears.register(self._out, select.POLLIN)

    def fileno(self) -> int:
        """What to wait on."""
        return self._out

    def ring(self) -> None:
        """End the present or the next wait."""
        try:
            os.write(self._in, b"!")
        except BlockingIOError:
            return  # full: it rings already

    def pause(self, seconds: float) -> None:
        """Wait that long, or until it rings."""
        self._ears.poll(seconds * 1000)

    def rang(self) -> bool:
        """Whether it rings."""
        return bool(self._ears.poll(0))

    def calm(self) -> None:
        """Forget what was rung."""
        try:
            os.read(self._out, 65536)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._out)
        os.close(self._in)
