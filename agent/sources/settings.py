"""The settings of each way of listening: one frozen section per kind, discriminated by ``kind``."""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from proto.process import Section

GIB: Final = 1024**3
_SLOT: Final = re.compile(r"[a-z0-9_]{1,63}")
_PART: Final = re.compile(r'"(?:[^"]|"")+"|[^".]+')


class TableSettings(Section):
    """One captured table. Only the columns listed here leave the business database."""

    table: str = Field(min_length=1)
    """``schema.name`` exactly as in the database; a part that contains a dot stands in double quotes."""
    name: str = ""
    """The catalogued name; the table's own name when empty."""
    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """None = all columns, also those added later."""
    key: tuple[str, ...] | None = Field(default=None, min_length=1)
    """None = the primary key; otherwise columns of a unique index that is the replica identity."""
    append_only: bool = False
    """Rows are only ever added: the one case in which a table needs no key."""

    @model_validator(mode="after")
    def _well_named(self) -> Self:
        parts = _PART.findall(self.table)
        if len(parts) not in (1, 2) or ".".join(parts) != self.table:
            raise ValueError("the table is written schema.name; a part with a dot stands in double quotes")
        return self

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name in the database; the schema ``public`` when none is given."""
        parts = [
            part[1:-1].replace('""', '"') if part.startswith('"') else part
            for part in _PART.findall(self.table)
        ]
        return (parts[0], parts[1]) if len(parts) == 2 else ("public", parts[0])

    @property
    def catalogued(self) -> str:
        """The name every other side knows the table by."""
        return self.name or self.place[1]


class SourceDiskSettings(Section):
    """How much the source's server may keep for us before we warn, and before we give up our place for its sake."""

    warn_bytes: int = Field(default=4 * GIB, gt=0)
    drop_slot_at_bytes: int | None = Field(default=16 * GIB, gt=0)
    """None = never drop the slot, whatever it costs the source."""


class PostgresqlSettings(Section):
    """A PostgreSQL business database, read through its replication protocol."""

    kind: Literal["postgresql"]
    name: str = Field(min_length=1)
    dsn: SecretStr
    slot: str = ""
    publication: str = ""
    manage_publication: bool = True
    """False = the database's administrator made it and keeps it."""
    tables: tuple[TableSettings, ...] = Field(min_length=1)
    source_disk: SourceDiskSettings = SourceDiskSettings()
    page_rows: int = Field(default=20_000, gt=0)
    page_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """A page of a first copy ends at either limit."""
    look_every_s: float = Field(default=10.0, gt=0)
    """How often to look for what the log does not tell, and to let the position pass over what others changed."""
    slot_timeout_s: float = Field(default=30.0, gt=0)
    """How long making the slot may wait for transactions that are open at the source."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what, names in (
            ("table", [table.place for table in self.tables]),
            ("name", [table.catalogued for table in self.tables]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} occurs twice")
        if not _SLOT.fullmatch(self.slot_name):
            raise ValueError(
                f"the slot name {self.slot_name!r} may hold a-z, 0-9 and _ and at most 63 characters: set 'slot'"
            )
        return self

    @property
    def slot_name(self) -> str:
        """The replication slot at the server."""
        return self.slot or f"exchange_{self.name.lower().replace('-', '_')}"

    @property
    def publication_name(self) -> str:
        """The publication at the server."""
        return self.publication or f"exchange_{self.name.lower().replace('-', '_')}"
