"""The agent's settings: one YAML file, one frozen model, each section handed to the part that needs it.

The file belongs to the department. What it does not name does not leave: not a table, not a column, and no command
of central beyond those listed under ``allow_commands``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from agent.sources.kinds import SourceSettings
from agent.sources.source import Limits as ReadLimits
from proto.channel import TlsFiles
from proto.process import Section

if TYPE_CHECKING:
    from agent.exchange import StoreLimits

DEFAULT_PATH: Final = Path("/etc/exchange-node/agent.yaml")
DEFAULT_SOCKET: Final = Path("/run/exchange-agent/agent.sock")
DEFAULT_EXCHANGE: Final = "sqlite:////var/lib/exchange-agent/exchange.db"
_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):[0-9]{1,5}")
_SOCKET_BYTES: Final = 100

Verb = Literal["pause", "resume", "snapshot", "reload", "describe"]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a name begins with a-z, then up to 30 of a-z, 0-9 and -")
    return text


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text) or int(text.rpartition(":")[2]) > 65535:
        raise ValueError('must be "host:port"')
    return text


def _socket(path: Path) -> Path:
    # The kernel takes 107 bytes, and a temporary name beside it is a little longer.
    if not path.is_absolute() or len(str(path).encode()) > _SOCKET_BYTES:
        raise ValueError(f"must be an absolute path of at most {_SOCKET_BYTES} bytes")
    return path


class CentralSettings(Section):
    """Where central is, and who we are to it."""

    address: Annotated[str, AfterValidator(_address)]
    ca: Path
    certificate: Path
    key: Path
    server_name: str = ""
    """The name in central's certificate, where it differs from the address."""
    heartbeat_s: int = Field(10, ge=1, le=3600)
    keepalive_s: int = Field(30, ge=10, le=3600)
    welcome_timeout_s: float = Field(15.0, ge=1, le=300)
    progress_timeout_s: float = Field(30.0, ge=1, le=3600)

    @property
    def files(self) -> TlsFiles:
        """As the channel takes them."""
        return TlsFiles(self.ca, self.certificate, self.key)


class ExchangeSettings(Section):
    """The exchange database: mirror, outbox and checkpoint."""

    url: SecretStr = SecretStr(DEFAULT_EXCHANGE)
    keep_days: float = Field(7.0, ge=0, le=3650)
    """How long batches stay after central has acknowledged them, so that a restored central can ask again."""
    least_free_bytes: int | None = Field(None, ge=0)
    """Capture waits while less is free on its volume; None = 10 % of it, at least 2 GiB."""
    outbox_limit_bytes: int = Field(64 * _GIB, ge=_MIB)
    """Capture waits while more waits for central; the only guard where the volume cannot be seen."""

    @property
    def store(self) -> StoreLimits:
        """As the exchange database takes them."""
        from agent.exchange import StoreLimits

        return StoreLimits(self.least_free_bytes, self.outbox_limit_bytes)

    @property
    def keep_us(self) -> int:
        """As pruning takes it."""
        return int(self.keep_days * 86_400_000_000)


class LimitsSettings(Section):
    """Reaching one closes a batch or makes a sender wait; it never loses anything."""

    batch_rows: int = Field(20_000, ge=1, le=1_000_000)
    batch_bytes: int = Field(8 * _MIB, ge=64 * 1024, le=128 * _MIB)
    window_batches: int = Field(64, ge=1, le=10_000)
    window_bytes: int = Field(32 * _MIB, ge=_MIB)
    memory_bytes: int = Field(16 * _MIB, ge=0)
    """Committed batches kept in memory for push; beyond it they are read from the outbox."""

    @property
    def read(self) -> ReadLimits:
        """As sources take them."""
        return ReadLimits(rows=self.batch_rows, bytes=self.batch_bytes)


class ImportSettings(Section):
    """What is received goes on into a database of the business: the department's own step, off unless it is listed."""

    grant: str = ""
    """One grant, by its number; or ..."""
    resource: str = ""
    """... whatever is granted of one resource, by its code in the catalogue."""
    url: SecretStr
    room: str = ""
    """The schema, or where there are none a prefix of the table's name; the account's own when empty."""
    table: str = Field(min_length=1)

    @property
    def name(self) -> str:
        """As people call it."""
        return f"{self.grant or self.resource} into {self.table}"

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.grant) == bool(self.resource):
            raise ValueError("either grant or resource says what is imported")
        return self


class Settings(Section):
    """Everything ``agent.yaml`` may say."""

    node: Annotated[str, AfterValidator(_name)]
    central: CentralSettings
    exchange: ExchangeSettings = ExchangeSettings()  # type: ignore[call-arg]
    sources: tuple[SourceSettings, ...] = ()
    imports: tuple[ImportSettings, ...] = ()
    limits: LimitsSettings = LimitsSettings()  # type: ignore[call-arg]
    allow_commands: tuple[Verb, ...] = ("pause", "resume", "snapshot", "describe")
    socket: Annotated[Path, AfterValidator(_socket)] = DEFAULT_SOCKET
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        names = [_name(source.name) for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]}")
        targets = [(each.url.get_secret_value(), each.room, each.table) for each in self.imports]
        if len(set(targets)) != len(targets):
            raise ValueError("two imports go into one table")
        return self

    @property
    def places(self) -> list[str]:
        """Where the department's databases and folders are, as the settings say it: for nobody outside this node."""
        found = [self.exchange.url, *(each.url for each in self.imports)]
        found += [value for source in self.sources for _, value in source if isinstance(value, SecretStr)]
        folders = [str(value) for source in self.sources for _, value in source if isinstance(value, Path)]
        return [each.get_secret_value() for each in found] + folders

    @property
    def names(self) -> list[str]:
        """What central calls this node, its sources and their tables."""
        tables = [table for source in self.sources for table in source.tables]
        parts = [part for table in tables for part in (*table.parts, table.catalogued)]
        return [self.node, *(source.name for source in self.sources), *parts]

    def stream(self, source: str) -> str:
        """The name of a source's stream everywhere outside this node."""
        return f"{self.node}/{source}"
