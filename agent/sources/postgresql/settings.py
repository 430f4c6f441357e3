"""The settings of a PostgreSQL business database."""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from agent.sources.settings import SourceDiskSettings, SourceSection

_SLOT: Final = re.compile(r"[a-z0-9_]{1,63}")


class PostgresqlSettings(SourceSection):
    """A PostgreSQL business database, read through its replication protocol."""

    kind: Literal["postgresql"]
    dsn: SecretStr
    slot: str = ""
    publication: str = ""
    manage_publication: bool = True
    """False = the database's administrator made it and keeps it."""
    source_disk: SourceDiskSettings = SourceDiskSettings()
    page_rows: int = Field(default=20_000, gt=0)
    page_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """A page of a first copy ends at either limit."""
    look_every_s: float = Field(default=10.0, gt=0)
    """How often to look for what the log does not tell, and to let the position pass over what others changed."""
    slot_timeout_s: float = Field(default=30.0, gt=0)
    """How long making the slot may wait for transactions that are open at the source."""

    @model_validator(mode="after")
    def _slot_well_named(self) -> Self:
        if not _SLOT.fullmatch(self.slot_name):
            raise ValueError(
                f"the slot name {self.slot_name!r} may hold a-z, 0-9 and _ and at most 63 characters: set 'slot'"
            )
        return self

    @property
    def disk(self) -> SourceDiskSettings:
        """The server keeps its log for our slot."""
        return self.source_disk

    @property
    def slot_name(self) -> str:
        """The replication slot at the server."""
        return self.slot or f"exchange_{self.name.lower().replace('-', '_')}"

    @property
    def publication_name(self) -> str:
        """The publication at the server."""
        return self.publication or f"exchange_{self.name.lower().replace('-', '_')}"
