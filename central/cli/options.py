"""What several commands take, and what they open with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from central.settings import Settings

DEFAULT_CONFIG = Path("/etc/exchange-node/central.yaml")
NodeName = Annotated[str, typer.Argument(help="The node's name.")]

Config = Annotated[Path, typer.Option("--config", "-c", help="Central's settings file.", show_default=True)]
Reason = Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.", prompt=True)]
Who = Annotated[str, typer.Option("--who", help="On whose behalf; the user who calls by default.")]


def settings_of(config: Path) -> Settings:
    """The settings in *config*; raises SettingsError."""
    from central.settings import Settings
    from proto.process import load_settings

    return load_settings(config, Settings)


def store_of(settings: Settings) -> Engine:
    """Central's database, brought up to date."""
    from central.store import migrate, open_store

    engine = open_store(settings.database.get_secret_value(), 2)
    migrate(engine)
    return engine
