"""What central is not to know: where the department's databases are, and who this agent is there (SD40.1).

Errors quote what a driver says, and drivers name host, account and database. Here at the node people read them whole;
in what leaves they are left out. Names that central knows anyway, of node, sources and tables, stay: commands need them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from proto.v1 import exchange_pb2, node_pb2

LEFT_OUT: Final = "…"
_ADDRESS: Final = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)|(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])",
    re.I,
)
"""A name is resolved before it is quoted: addresses stand in no settings."""
_PAIR: Final = re.compile(r"([\w ]+?)\s*=\s*('(?:[^'\\]|\\.)*'|\{[^}]*\}|[^;\s]+)")
_ODBC_PAIR: Final = re.compile(r"\s*([\w ]+?)\s*=\s*(\{[^}]*\}|[^;]*)(?:;|$)")
_TELLING: Final = frozenset(
    [
        "host",
        "hostaddr",
        "server",
        "servername",
        "address",
        "addr",
        "uid",
        "user",
        "username",
        "pwd",
        "password",
        "database",
        "dbname",
        "db",
        "dsn",
        "dbq",
    ]
)
_LOCAL: Final = frozenset({"localhost"})


class Discretion:
    """Leaves out of sentences what *secrets*, the settings' addresses of databases, hold; *names* are no secret."""

    def __init__(self, secrets: Iterable[str], names: Iterable[str] = ()) -> None:
        known = {name.lower() for name in names} | _LOCAL
        words = {word for secret in secrets for word in words_of(secret) if word.lower() not in known}
        # The longest first: a path that begins with another is one word.
        told = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        self._words = re.compile(rf"(?<!\w)(?:{told})(?!\w)", re.IGNORECASE) if told else None

    def of(self, text: str) -> str:
        """*text* as central may read it."""
        found = self._words.sub(LEFT_OUT, text) if self._words else text
        return _ADDRESS.sub(LEFT_OUT, found)

    def keep(self, request: node_pb2.HeartbeatRequest) -> None:
        """Leave it out of every sentence in *request*."""
        said: list[node_pb2.StreamReport | node_pb2.TableReport | node_pb2.ReceivedReport] = []
        for stream in request.streams:
            said += [stream, *stream.tables]
        said += request.received
        for each in said:
            each.sentence, each.fix = self.of(each.sentence), self.of(each.fix)
        for shape in request.shapes:
            shape.trouble = self.of(shape.trouble)

    def keep_hold(self, request: exchange_pb2.PullRequest) -> None:
        """Leave it out of why a grant stands still here, if *request* says so."""
        if request.HasField("hold"):
            hold = request.hold
            hold.sentence, hold.fix = self.of(hold.sentence), self.of(hold.fix)


def words_of(secret: str) -> Iterator[str]:
    """Hosts, account, password, database and files that a URL, a connection string or a path names."""
    if secret.startswith("/"):
        yield secret
    elif "://" in secret:
        yield from _of_url(secret)
    else:
        pairs = _ODBC_PAIR if ";" in secret or "driver=" in secret.lower() else _PAIR
        for name, value in pairs.findall(secret):
            if name.strip().lower() in _TELLING:
                yield from _apart(value.strip("'{} "))


def _of_url(text: str) -> Iterator[str]:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Several hosts in one URL: everything between its marks.
        yield from filter(None, re.split(r"[/:@,?&=]+", text.partition("://")[2]))
        return
    for part in (url.host, url.username, url.password, url.database):
        yield from _apart(str(part or ""))
    for name, value in url.query.items():
        if name.lower() in _TELLING:
            yield from _apart(value if isinstance(value, str) else ",".join(value))


def _apart(value: str) -> Iterator[str]:
    """Each of several hosts alone, without its port."""
    for part in value.split(","):
        word = part if part.startswith("/") else part.strip().rpartition(":")[0] or part.strip()
        if word:
            yield word
