"""What it means when a server will not send its log, or stops sending it."""

from __future__ import annotations

from typing import Final

import pymysql

from agent.sources.mysql.connection import error_of, number_of, said
from proto.errors import Diverged, ExchangeError, Fenced, Gap, Transient

AFRESH: Final = "copy all tables afresh: exchange-agent snapshot --all"
KICKED_FIX: Final = (
    "set another server_id for this source, or stop the other replica; then: exchange-agent resume"
)
_FATAL: Final = 1236
"""One number for everything that keeps a server from sending; its causes differ in the words alone."""
_WORDS: Final[tuple[tuple[str, type[ExchangeError], str], ...]] = (
    ("same server", Fenced, KICKED_FIX),
    ("which is not in the master's binlog", Diverged, AFRESH),
    ("even though both a prior and a subsequent", Diverged, AFRESH),
    ("has more gtids than the", Diverged, AFRESH),
    ("binary log is not open", Transient, "set log_bin in the server's my.cnf and restart it"),
    ("log event entry exceeded max_allowed_packet", Transient, "SET GLOBAL max_allowed_packet = 1073741824"),
)


def refusal(error: pymysql.err.Error, where: str) -> ExchangeError:
    """What a server's last word on the stream asks of us.

    The words are not translated. Whatever else keeps it from sending means that what we need is not there.
    """
    what = said(error)
    if number_of(error) != _FATAL:
        return error_of(error, where)
    for words, kind, fix in _WORDS:
        if words in what.lower():
            return kind(what, where=where, fix=fix)
    return Gap(what, where=where, fix=AFRESH)
