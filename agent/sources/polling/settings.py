"""The settings of a business database that is only ever asked: where it is, what to watch, and how little to disturb it."""

from __future__ import annotations

import codecs
import re
from datetime import datetime, time
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from agent.sources.settings import SourceSection, TableSettings
from proto.process import Section
from proto.values import Kind

DAY_S: Final = 86_400.0
_WINDOW: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _window(text: str) -> str:
    if not _WINDOW.fullmatch(text) or text[:5] == text[6:]:
        raise ValueError('must be "HH:MM-HH:MM" with two different times, in quotes')
    return text


def _charset(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(
            f"{name} is not a character set, for example gbk, gb18030, utf-8 or latin-1"
        ) from None
    return name


Window = Annotated[str, AfterValidator(_window)]
"""Local times between which something may run; one that ends before it begins goes over midnight."""
Dialects = Literal["postgresql", "kingbase", "mysql", "sqlite", "sqlserver", "oracle", "dm", "generic"]


def is_open(windows: tuple[str, ...], now: datetime) -> bool:
    """Whether *now* lies in one of *windows*; without any, always."""
    return not windows or any(_contains(window, now.time()) for window in windows)


def _contains(window: str, now: time) -> bool:
    begin, end = time.fromisoformat(window[:5]), time.fromisoformat(window[6:])
    return begin <= now < end if begin < end else now >= begin or now < end


class PollingTable(TableSettings):
    """One captured table, and how changes in it are noticed."""

    watermark: str = ""
    """A column that rises with every insert and update: a time or a counter. Without one, only comparison finds changes."""
    overlap: float = Field(default=300.0, ge=0)
    """Seconds (of a counter: units) that each poll reads again, because commits become visible late."""
    every_s: float = Field(default=30.0, ge=0)
    compare_every_s: float | None = Field(default=DAY_S, ge=0)
    """How often all keys and rows are compared: only this finds deletes and silent updates. None = never."""
    compare_windows: tuple[Window, ...] = ()
    """When a comparison may run; beyond the source's own windows."""

    @property
    def deletes_every_s(self) -> float | None:
        """No watermark tells of a row that is gone."""
        return None if self.compare_every_s is None else max(1.0, self.compare_every_s)

    kinds: dict[str, Kind] = Field(default_factory=dict)
    """What a column holds, where the database's own word for it says too little."""
    charsets: dict[str, Annotated[str, AfterValidator(_charset)]] = Field(default_factory=dict)
    """How a column's bytes are really written, where the database does not know: GBK in a latin1 column."""

    @property
    def placed(self) -> tuple[str, ...]:
        """The watermark tells how far the table was read."""
        return (self.watermark,) if self.watermark else ()


class LoadSettings(Section):
    """The most that reading may cost the database."""

    rows_per_s: int | None = Field(default=5_000, gt=0)
    """None = as fast as it answers."""
    windows: tuple[Window, ...] = ()
    """When it may be asked at all; without any, always."""
    statement_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    page_rows: int = Field(default=1_000, gt=0, le=20_000)


class PollingSettings(SourceSection):
    """A business database behind ODBC or a SQLAlchemy URL; the account needs SELECT and nothing else."""

    kind: Literal["polling"]
    odbc: SecretStr | None = None
    """An ODBC connection string: ``Driver={PostgreSQL Unicode};Server=…``."""
    url: SecretStr | None = None
    """A SQLAlchemy URL: ``postgresql+psycopg://…``, ``mysql+pymysql://…``, ``sqlite:////path``."""
    dialect: Dialects | None = None
    """None = as the database names itself."""
    tables: tuple[PollingTable, ...] = Field(min_length=1)
    load: LoadSettings = LoadSettings()
    look_every_s: float = Field(default=60.0, ge=0)
    """How often a table's structure is looked at."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.odbc is None) == (self.url is None):
            raise ValueError("a database is named either by 'odbc' or by 'url'")
        return self
