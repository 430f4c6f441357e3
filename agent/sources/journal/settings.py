"""The settings of a business database that is listened to through triggers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from agent.sources.settings import SourceDiskSettings, SourceSection


class JournalSettings(SourceSection):
    """A business database whose triggers write a journal."""

    kind: Literal["journal"]
    url: SecretStr
    """As SQLAlchemy writes it, e.g. ``mysql+pymysql://user:…@host/database``."""
    journal: str = Field(default="exchange_journal", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    """The journal table; triggers and functions are named after it."""
    journal_schema: str = ""
    """Where it lies; the account's default when empty."""
    source_disk: SourceDiskSettings = SourceDiskSettings()
    page_rows: int = Field(default=20_000, gt=0)
    page_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """A page of a first copy ends at either limit."""
    look_every_s: float = Field(default=0.5, gt=0)
    """How often the journal is looked at while it is empty."""
    verify_every_s: float = Field(default=60.0, gt=0)
    """How often the triggers are compared with what they should be."""

    @property
    def disk(self) -> SourceDiskSettings:
        """The journal is kept for us."""
        return self.source_disk
