"""A terminal of a chosen width, and what a command shows in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def shown(columns: int, *command: str) -> list[str]:
    """The lines of *command* in a terminal that wide, without colours; the command must succeed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"}
    )
    os.close(theirs)
    data = b""
    # The end of a terminal that nobody writes to any more is an error.
    with suppress(OSError):
        while some := os.read(ours, 65536):
            data += some
    os.close(ours)
    assert process.wait(30) == 0, data.decode()
    return [line.rstrip() for line in _CONTROL.sub("", data.decode()).splitlines()]
