"""The ways of listening there are: how each is set, and what opens it. A new one adds a line to both."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.sources.dropfolder.settings import DropfolderSettings
from agent.sources.polling.settings import PollingSettings
from agent.sources.postgresql.settings import PostgresqlSettings
from agent.sources.source import Mirror, Source

SourceSettings = Annotated[
    PostgresqlSettings | PollingSettings | DropfolderSettings, Field(discriminator="kind")
]
"""One section per way of listening, told apart by ``kind``."""


def new_source(settings: PostgresqlSettings | PollingSettings | DropfolderSettings, mirror: Mirror) -> Source:
    """The source that *settings* speak of; nothing is connected yet. *mirror* is what its stream has already."""
    # Imported late: a node needs the drivers of its own sources only.
    if isinstance(settings, PollingSettings):
        from agent.sources.polling.source import PollingSource

        return PollingSource(settings, mirror)
    if isinstance(settings, DropfolderSettings):
        from agent.sources.dropfolder.source import DropfolderSource

        return DropfolderSource(settings, mirror)
    from agent.sources.postgresql.source import PostgresqlSource

    return PostgresqlSource(settings)
