"""What is in force: the entries of the newest release. Other rooms read the catalogue here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, func, literal, select

from central.catalogue.entry import Entry, ShareType
from central.store.catalogue import ENTRIES, RELEASED, RELEASES
from proto.errors import Refused

_IN_FORCE: Final = (
    select(ENTRIES)
    .join(RELEASED, (ENTRIES.c.code == RELEASED.c.code) & (ENTRIES.c.version == RELEASED.c.version))
    .where(RELEASED.c.until_release.is_(None))
)


_BOUND: Final = _IN_FORCE.where(ENTRIES.c.stream != "").order_by(ENTRIES.c.code)


@dataclass(frozen=True, slots=True)
class Published:
    """An entry in force, and what says so."""

    entry: Entry
    version: int
    release: int


def newest_release(connection: Connection) -> int:
    """Its number; 0 = none yet."""
    return int(connection.execute(select(func.coalesce(func.max(RELEASES.c.release), 0))).scalar_one())


def published(connection: Connection, code: str) -> Published:
    """The entry in force under *code*. Raises Refused: what is not in the catalogue has no reader but its owner."""
    row = connection.execute(_IN_FORCE.where(RELEASED.c.code == code)).one_or_none()
    if row is None:
        fix = "exchange-central catalogue list shows what is"
        raise Refused("no such resource is in the sharing catalogue", where=code[:80], fix=fix)
    return _published(connection, row)


def version_in_force(connection: Connection, code: str) -> int:
    """Which version of *code* is in force now; 0 = none: never released, suspended or withdrawn. One look at an index."""
    here = select(RELEASED.c.version).where(RELEASED.c.code == code, RELEASED.c.until_release.is_(None))
    return int(connection.execute(here).scalar_one_or_none() or 0)


def published_of(connection: Connection, stream: str) -> list[Published]:
    """The entries in force whose rows come from *stream*."""
    rows = connection.execute(_IN_FORCE.where(ENTRIES.c.stream == stream).order_by(ENTRIES.c.code))
    return [_published(connection, row) for row in rows.all()]


def moment(connection: Connection, code: str, now_us: int) -> tuple[int, int, int]:
    """The newest release, the version of *code* in force, and the newest day of a contract that has come.

    Whatever is shown of *code* stays the same while these do: a delivery that was made is not sent under others.
    """
    row = connection.execute(select(*moment_of(literal(code), literal(now_us)))).one()
    return (row[0] or 0, row[1] or 0, row[2] or 0)


def moment_of(code: ColumnElement[str], now_us: ColumnElement[int]) -> list[ScalarSelect[int]]:
    """The same for every row of a question."""
    r = RELEASED.alias("moment").c
    in_force = select(r.version).where(r.code == code, r.until_release.is_(None))
    come = select(func.max(r.contract_us)).where(r.code == code, r.contract_us <= now_us)
    return [
        select(func.max(RELEASES.c.release)).scalar_subquery(),
        in_force.scalar_subquery(),
        come.scalar_subquery(),
    ]


def closed_columns(connection: Connection, stream: str, table: str) -> frozenset[str]:
    """Columns of a table that any entry in force on it does not share: what one of them closes is closed (SD05.2)."""
    query = _IN_FORCE.where(ENTRIES.c.stream == stream, ENTRIES.c.table_name == table)
    entries = [Entry.model_validate_json(row.document) for row in connection.execute(query)]
    items = (item for entry in entries for item in entry.items)
    return frozenset(item.column for item in items if item.share_type is ShareType.NOT_SHARED)


def provider_of(connection: Connection, code: str) -> str:
    """Whose resource *code* is, whether or not it is in force any more; "" when it never was."""
    newest = (
        select(ENTRIES.c.provider).where(ENTRIES.c.code == code).order_by(ENTRIES.c.version.desc()).limit(1)
    )
    return connection.execute(newest).scalar_one_or_none() or ""


def bound_limits(connection: Connection) -> Iterator[tuple[tuple[str, str], str]]:
    """Stream and table of every entry in force that names them, with its update limit as an ISO 8601 duration."""
    for row in connection.execute(_BOUND):
        yield (row.stream, row.table_name), json.loads(row.document)["update_limit"]


@dataclass(frozen=True, slots=True)
class Line:
    """As much of a bound entry as it takes to watch over it."""

    code: str
    name: str
    provider: str
    stream: str
    table: str
    update_limit: str


def bound_lines(
    connection: Connection, after: str = "", provider: str = "", count: int | None = None
) -> Iterator[Line]:
    """The same entries as :func:`bound`, a line each."""
    query = _BOUND.where(ENTRIES.c.code > after).limit(count)
    if provider:
        query = query.where(ENTRIES.c.provider == provider)
    for row in connection.execute(query):
        limit = json.loads(row.document)["update_limit"]
        yield Line(row.code, row.name, row.provider, row.stream, row.table_name, limit)


def bound(
    connection: Connection, after: str = "", provider: str = "", count: int | None = None
) -> Iterator[Published]:
    """Entries in force whose rows come from a stream, by code: after *after*, of *provider* or of all."""
    release, query = newest_release(connection), _BOUND.where(ENTRIES.c.code > after).limit(count)
    if provider:
        query = query.where(ENTRIES.c.provider == provider)
    for row in connection.execute(query):
        yield Published(Entry.model_validate_json(row.document), row.version, release)


def _published(connection: Connection, row: Row[tuple[object, ...]]) -> Published:
    return Published(Entry.model_validate_json(row.document), row.version, newest_release(connection))
