"""The ways of listening there are: how each is set, and what opens it. A new one adds a line to both."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.sources.dropfolder.settings import DropfolderSettings
from agent.sources.journal.settings import JournalSettings
from agent.sources.mysql.settings import MysqlSettings
from agent.sources.polling.settings import PollingSettings
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.source import Mirror, Source

AnySettings = PostgresqlSettings | MysqlSettings | JournalSettings | PollingSettings | DropfolderSettings
SourceSettings = Annotated[AnySettings, Field(discriminator="kind")]
"""One section per way of listening, told apart by ``kind``."""


def new_source(settings: AnySettings, mirror: Mirror) -> Source:
    """The source that *settings* speak of; nothing is connected yet. *mirror* is what its stream has already."""
    # Imported late: a node needs the drivers of its own sources only.
    match settings:
        case JournalSettings():
            from agent.sources.journal.source import JournalSource

            return JournalSource(settings)
        case MysqlSettings():
            from agent.sources.mysql.source import MysqlSource

            return MysqlSource(settings)
        case PollingSettings():
            from agent.sources.polling.source import PollingSource

            return PollingSource(settings, mirror)
        case DropfolderSettings():
            from agent.sources.dropfolder.source import DropfolderSource

            return DropfolderSource(settings, mirror)
        case PostgresqlSettings():
            from agent.sources.postgresql.source import PostgresqlSource

            return PostgresqlSource(settings)
