"""What the settings of every way of listening have in common; each kind adds its own beside its source."""

from __future__ import annotations

import re
from typing import Final, Self

from pydantic import Field, model_validator

from proto.process import Section

GIB: Final = 1024**3
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
    def parts(self) -> tuple[str, str]:
        """Schema and name in the database; no schema when none is given."""
        parts = [
            part[1:-1].replace('""', '"') if part.startswith('"') else part
            for part in _PART.findall(self.table)
        ]
        return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])

    @property
    def place(self) -> tuple[str, str]:
        """Schema and name as PostgreSQL finds it: in the schema ``public`` when none is given."""
        schema, name = self.parts
        return schema or "public", name

    @property
    def deletes_every_s(self) -> float | None:
        """How often deletes are found; 0 = with every other change, None = never."""
        return 0.0

    @property
    def catalogued(self) -> str:
        """The name every other side knows the table by."""
        return self.name or self.place[1]

    @property
    def listed(self) -> tuple[str, ...] | None:
        """The columns that are named; None = all."""
        return self.columns

    @property
    def placed(self) -> tuple[str, ...]:
        """Columns whose newest value is part of the stream's position, which everybody sees."""
        return ()

    def narrowed(self, columns: tuple[str, ...]) -> Self:
        """The same table with these columns alone."""
        return self.model_copy(update={"columns": columns})


class SourceDiskSettings(Section):
    """How much the source's server may keep for us before we warn, and before we give up our place for its sake."""

    warn_bytes: int = Field(default=4 * GIB, gt=0)
    drop_slot_at_bytes: int | None = Field(default=16 * GIB, gt=0)
    """None = never drop the slot, whatever it costs the source."""


class SourceSection(Section):
    """One source: its name within the node, and what may leave."""

    name: str = Field(min_length=1)
    tables: tuple[TableSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _tables_told_apart(self) -> Self:
        for what, names in (
            ("table", [table.place for table in self.tables]),
            ("name", [table.catalogued for table in self.tables]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} occurs twice")
        return self

    @property
    def disk(self) -> SourceDiskSettings | None:
        """How much the source's server may keep for us; None where it keeps nothing."""
        return None
