"""How a MariaDB or MySQL server is reached, from one line of settings.

``mysql://user:password@host:3306/database?option=value`` (``mariadb://`` means the same). Options: ``socket`` (a
path, instead of host and port), ``ssl_ca``, ``ssl_cert``, ``ssl_key`` (paths) and ``ssl``: ``verify`` (the default:
the way is encrypted and the server proves its name), ``unverified`` (encrypted only) or ``disabled``. To a server on
this machine the default is ``disabled``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

SCHEMES: Final = ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql")
DEFAULT_PORT: Final = 3306
_MODES: Final = ("verify", "unverified", "disabled")
_OPTIONS: Final = ("ssl", "ssl_ca", "ssl_cert", "ssl_key", "socket")
_LOOPBACK: Final = ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, an account and a database."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, dsn: str) -> Address:
        """Read a dsn; ValueError tells what is wrong, and never repeats the password."""
        scheme, separator, rest = dsn.partition("://")
        if not separator or scheme not in SCHEMES:
            raise ValueError("the dsn begins with mysql:// or mariadb://")
        # The last @ ends the account, so that a password may hold one.
        account, _, place = rest.rpartition("@")
        user, _, password = account.partition(":")
        if not user:
            raise ValueError("the dsn names no user: mysql://user:password@host/database")
        place, _, query = place.partition("?")
        server, _, database = place.partition("/")
        host, port = _server(server)
        options = tuple(parse_qsl(query, keep_blank_values=True))
        address = cls(host, port, unquote(user), unquote(password), unquote(database), options)
        address.check()
        return address

    def check(self) -> None:
        """Raise ValueError for an option that nobody knows."""
        for name, _ in self.options:
            if name not in _OPTIONS:
                raise ValueError(f"the dsn has the unknown option {name!r}; known: {', '.join(_OPTIONS)}")
        if self.mode not in _MODES:
            raise ValueError(f"ssl in the dsn is one of {', '.join(_MODES)}")

    def option(self, name: str) -> str:
        """An option's value; empty if it is not given."""
        return dict(self.options).get(name, "")

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves this machine on the way there."""
        return bool(self.option("socket")) or self.host in _LOOPBACK or self.host.startswith("127.")

    @property
    def mode(self) -> str:
        """How the way there is protected."""
        chosen = self.option("ssl")
        if chosen:
            return chosen
        return "disabled" if self.is_local and not self.option("ssl_ca") else "verify"

    def tls(self) -> ssl.SSLContext | None:
        """What protects the way there; None if nothing does. Raises OSError when a file cannot be used."""
        if self.mode == "disabled":
            return None
        context = ssl.create_default_context(cafile=self.option("ssl_ca") or None)
        # The certificates these servers make for themselves fall short of the strict profile.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.mode == "unverified":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate := self.option("ssl_cert"):
            context.load_cert_chain(certificate, self.option("ssl_key") or None)
        return context


def _server(text: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("the port in the dsn is no number from 1 to 65535")
    return host or "localhost", int(port) if port else DEFAULT_PORT
