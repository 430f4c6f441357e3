"""The settings of a business database that is listened to through triggers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from agent.sources.polling.settings import LoadSettings, PollingSettings, PollingTable
from agent.sources.settings import SourceDiskSettings, SourceSection, TableSettings
from proto.values import Kind


class JournalTable(TableSettings):
    """One captured table."""

    kinds: dict[str, Kind] = Field(default_factory=dict)
    """What a column holds, where the database's own word for it says too little."""
    charsets: dict[str, str] = Field(default_factory=dict)
    """How a column's bytes are really written, where the database does not know: GBK in a latin1 column."""


class JournalSettings(SourceSection):
    """A business database whose triggers write a journal."""

    kind: Literal["journal"]
    url: SecretStr
    """As SQLAlchemy writes it, e.g. ``mysql+pymysql://user:…@host/database``."""
    journal: str = Field(default="exchange_journal", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    """The journal table; triggers and functions are named after it."""
    journal_schema: str = ""
    """Where it lies; the account's default when empty."""
    tables: tuple[JournalTable, ...] = Field(min_length=1)
    source_disk: SourceDiskSettings = SourceDiskSettings()
    page_rows: int = Field(default=5_000, gt=0, le=20_000)
    """Rows of a page of a first copy, and entries that are looked up at a time."""
    statement_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    look_every_s: float = Field(default=0.5, gt=0)
    """How often the journal is looked at while it is empty."""
    verify_every_s: float = Field(default=60.0, ge=0)
    """How often triggers and structures are compared with what they should be."""

    @property
    def disk(self) -> SourceDiskSettings:
        """The journal is kept for us."""
        return self.source_disk

    @property
    def reading(self) -> PollingSettings:
        """The same database for whoever only reads it."""
        return PollingSettings(
            kind="polling",
            name=self.name,
            url=self.url,
            tables=tuple(PollingTable(**table.model_dump()) for table in self.tables),
            load=LoadSettings(
                rows_per_s=None, statement_timeout_s=self.statement_timeout_s, page_rows=self.page_rows
            ),
        )
