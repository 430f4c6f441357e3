"""The settings of a MariaDB or MySQL business database."""

from __future__ import annotations

import zlib
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from agent.sources.mysql.dsn import Address
from agent.sources.settings import SourceSection, TableSettings

FIRST_DERIVED_ID = 1 << 31
"""Ids we choose ourselves lie in the upper half, where administrators rarely number their servers."""


class MysqlSettings(SourceSection):
    """A MariaDB or MySQL business database, read through its binary log."""

    kind: Literal["mysql"]
    dsn: SecretStr
    """``mysql://user:password@host:3306/database?ssl_ca=/path``; see docs/mysql.md."""
    server_id: int | None = Field(default=None, ge=1, le=0xFFFFFFFF)
    """The number we register as; None = derived from the source's name, its account and its database."""
    zero_dates: Literal["error", "null"] = "error"
    """What becomes of 0000-00-00 and dates without month or day, which no other system can hold."""
    page_rows: int = Field(default=20_000, gt=0)
    page_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    """A page of a first copy ends at either limit."""
    look_every_s: float = Field(default=10.0, gt=0)
    """How often to let the position pass over what others changed, and to look at how long logs are kept."""
    connect_timeout_s: float = Field(default=10.0, gt=0, le=300)
    read_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """A server that says nothing for so long is given up; it is asked to show life three times as often."""

    @model_validator(mode="after")
    def _dsn_well_formed(self) -> Self:
        address = self.address
        for table in self.tables:
            if not (table.parts[0] or address.database):
                raise ValueError(f"table {table.table} names no database, and neither does the dsn")
        return self

    @property
    def address(self) -> Address:
        """Where the server is, who we are to it, and how the way there is protected."""
        return Address.parse(self.dsn.get_secret_value())

    @property
    def replica_id(self) -> int:
        """The number we register as at the server; two agents with one number are one too many."""
        if self.server_id is not None:
            return self.server_id
        address = self.address
        name = f"{self.name}\x1f{address.user}\x1f{address.database}".encode()
        return FIRST_DERIVED_ID | zlib.crc32(name) & (FIRST_DERIVED_ID - 1)

    def place(self, table: TableSettings) -> tuple[str, str]:
        """Database and name of a captured table at the server."""
        schema, name = table.parts
        return schema or self.address.database, name
