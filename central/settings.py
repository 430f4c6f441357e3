"""Central's settings: one YAML file, one frozen model, each section handed to the part that needs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr

from proto.channel import TlsFiles
from proto.codec import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES
from proto.process import Section

DEFAULT_PATH: Final = Path("/etc/exchange-node/central.yaml")
_MIB: Final = 1024 * 1024
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):[0-9]{1,5}")


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text) or int(text.rpartition(":")[2]) > 65535:
        raise ValueError('must be "host:port"')
    return text


Address = Annotated[str, AfterValidator(_address)]


class Tls(Section):
    """Central's own identity and whom it trusts."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def files(self) -> TlsFiles:
        """As the channel takes them."""
        return TlsFiles(self.ca, self.certificate, self.key)


class Issuer(Section):
    """The trial authority that ``node add`` issues with."""

    certificate: Path
    key: Path


class Operator(Section):
    """Whose certificate the commands on this machine use to ask the running central."""

    certificate: Path
    key: Path


class Signing(Section):
    """What signs releases of the catalogue and receipts of deliveries."""

    certificate: Path
    key: Path


class Platform(Section):
    """Whose platform this is; where one may exist is said by the policy (Art. 8)."""

    name: str = "信息共享平台"
    level: str = "city"
    region: Annotated[str, Field(pattern=r"^\d{6,12}$")] = "000000"
    """Administrative division code, e.g. 370100."""


class Limits(Section):
    """Reaching one is a named refusal, never a surprise."""

    window_batches: int = Field(64, ge=1, le=10_000)
    window_bytes: int = Field(32 * _MIB, ge=_MIB)
    gathering_bytes: int = Field(512 * _MIB, ge=MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES)
    handover_bytes: int = Field(128 * _MIB, ge=0)
    intake_threads: int = Field(8, ge=1, le=64)
    apply_threads: int = Field(4, ge=1, le=64)
    delivery_threads: int = Field(4, ge=1, le=64)


class Ledger(Section):
    """How long accepted batches are kept after they were applied."""

    keep_days: int = Field(30, ge=0)
    held_days: int = Field(90, ge=0)
    """What a held table waits for is kept longer, up to so many days after it was held."""


class Disk(Section):
    """When too little room is left beside the database; watched where central's own data lies."""

    path: Path | None = None
    least_free_bytes: int = Field(2 * 1024 * _MIB, ge=0)


class Settings(Section):
    """Everything ``central.yaml`` may say."""

    listen: Address = "0.0.0.0:7443"
    advertise: Address | None = None
    database: SecretStr
    tls: Tls
    issuer: Issuer | None = None
    operator: Operator | None = None
    signing: Signing | None = None
    """Without it the catalogue cannot be released and nothing is delivered."""
    policy: Path | None = None
    """The policy profile; None = the one for the Measures of 2015 that comes with the program."""
    platform: Platform = Platform()
    console_decides: bool = True
    """Whether commands on this machine may decide for a person named with --as; every one is on record as such."""
    limits: Limits = Limits()  # type: ignore[call-arg]
    ledger: Ledger = Ledger()  # type: ignore[call-arg]
    disk: Disk = Disk()  # type: ignore[call-arg]
    heartbeat_s: int = Field(10, ge=1, le=3600)
    reflection: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def address(self) -> str:
        """Where nodes and operators reach this central."""
        host, _, port = (self.advertise or self.listen).rpartition(":")
        return f"{'127.0.0.1' if host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104
