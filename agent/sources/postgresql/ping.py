"""Whether a server takes logins at all, asked without a password: that costs nobody a failed attempt.

libpq has a function for this, but its Python binding keeps the interpreter's lock while it waits: a server that
swallows packets would stop every thread of the agent for as long.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

_PROTOCOL: Final = 0x00030000
_PORT: Final = 5432
_SOCKET_DIRECTORIES: Final = ("/var/run/postgresql", "/tmp")  # noqa: S108 - where libpq looks when no host is named
# Starting, stopping, or full: it cannot take us now, whoever we are.
_NOT_NOW: Final = frozenset({"57P01", "57P02", "57P03", "53300"})
_ANSWER_BYTES: Final = 8192


def takes_logins(options: Mapping[str, Any], timeout_s: float) -> bool:
    """Whether any of the servers in these connection options would ask who we are."""
    said = {
        "user": str(options.get("user") or "nobody"),
        "database": str(options.get("dbname") or "postgres"),
    }
    words = b"".join(f"{name}\0{value}\0".encode() for name, value in said.items()) + b"\0"
    hello = struct.pack(">ii", 8 + len(words), _PROTOCOL) + words
    return any(_ask(host, port, hello, timeout_s) for host, port in _places(options))


def _places(options: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    named = str(options.get("hostaddr") or options.get("host") or "")
    hosts = named.split(",") if named else list(_SOCKET_DIRECTORIES)
    ports = [int(port or _PORT) for port in str(options.get("port") or _PORT).split(",")]
    return zip(hosts, ports if len(ports) == len(hosts) else itertools.repeat(ports[0]), strict=False)


def _ask(host: str, port: int, hello: bytes, timeout_s: float) -> bool:
    try:
        with closing(_connected(host, port, timeout_s)) as line:
            line.sendall(hello)
            answer = line.recv(_ANSWER_BYTES)
    except OSError:
        return False
    return answer[:1] == b"R" or (answer[:1] == b"E" and _sqlstate(answer) not in _NOT_NOW)


def _connected(host: str, port: int, timeout_s: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout_s)
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(timeout_s)
    line.connect(f"{host}/.s.PGSQL.{port}")
    return line


def _sqlstate(answer: bytes) -> str:
    fields = answer[5:].split(b"\0")
    return next((field[1:].decode(errors="replace") for field in fields if field[:1] == b"C"), "")
