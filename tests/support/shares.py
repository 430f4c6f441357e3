"""A catalogue in force and grants on it, written straight into central's tables: for tests of what stands upon them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from central.catalogue.differences import name_key
from central.catalogue.entry import Binding, Entry, Item, UpdateCycle
from central.catalogue.published import newest_release
from central.people.codes import check_character
from central.sharing.terms import Terms
from central.store import now_us
from central.store.catalogue import ENTRIES, RELEASED, RELEASES
from central.store.grants import GRANT_HISTORY, GRANTS

DAY_US: Final = 86_400_000_000


def credit_code(number: int) -> str:
    """A valid unified social credit code, another for each number."""
    first = f"11370100MB{number:07d}"
    return first + check_character(first)


def class_path_of(code: str) -> tuple[str, ...]:
    """类, 项, 目, 细目 of the code's first part."""
    parts = code.partition("/")[0]
    return tuple(part for part in (parts[:1], parts[1:3], parts[3:6], parts[6:]) if part)


def entry_of(code: str, stream: str, table: str, columns: Sequence[str], **other: Any) -> Entry:
    """An entry whose first column is the key; *other* are fields of Entry, or ``share`` = column to share type."""
    share: Mapping[str, str] = other.pop("share", {})
    items = tuple(
        Item.model_validate(
            {
                "name": f"信息项{column}",
                "column": column,
                "type": "C",
                "is_key": column == columns[0],
                "share_type": share.get(column, "unconditional"),
                "condition": "履行职责需要" if share.get(column) == "conditional" else "",
            }
        )
        for column in columns
    )
    fields: dict[str, Any] = {
        "code": code,
        "name": f"资源 {code}",
        "class_path": class_path_of(code),
        "provider_name": "济南市公安局",
        "provider": credit_code(1),
        "abstract": "测试资源",
        "format_class": 3,
        "items": items,
        "scope": "全市",
        "update_cycle": UpdateCycle.DAILY,
        "update_limit": "P1D",
        "binding": Binding(stream=stream, table=table),
    }
    return Entry(**{**fields, **other})


def put_in_force(connection: Connection, *entries: Entry, contract_us: int | None = None) -> int:
    """A new release with these entries added to what was in force; returns its number.

    With *contract_us* live grants follow the versions before until then.
    """
    release, now = newest_release(connection) + 1, now_us(connection)
    row = {"release": release, "at_us": now, "who": "test", "note": "", "document": b"{}", "signature": b""}
    connection.execute(insert(RELEASES), row)
    for entry in entries:
        versions = connection.scalars(select(ENTRIES.c.version).where(ENTRIES.c.code == entry.code)).all()
        version = max(versions, default=0) + 1
        connection.execute(update(ENTRIES).where(ENTRIES.c.code == entry.code).values(newest=0))
        connection.execute(insert(ENTRIES), _row(entry, version, now))
        open_ones = (RELEASED.c.code == entry.code, RELEASED.c.until_release.is_(None))
        connection.execute(update(RELEASED).where(*open_ones).values(until_release=release))
        taken = {"code": entry.code, "since_release": release, "version": version}
        connection.execute(insert(RELEASED), {**taken, "contract_us": contract_us})
    return release


def grant_directly(
    connection: Connection,
    grant: str,
    consumer: str,
    entry: Entry,
    terms: Mapping[str, Any],
    days: float = 30,
    *,
    department: str = "",
) -> None:
    """An active grant of *entry* to the node *consumer*; *terms* over the usual ones."""
    now, binding = now_us(connection), entry.binding
    assert binding is not None
    usual = {
        "business": "社会救助核对",
        "users": ("救助科",),
        "items": tuple(entry.columns),
        "purpose": "核对救助申请人",
    }
    said = Terms(**{**usual, **terms}).model_dump_json()
    ends = {"valid_from_us": now, "valid_to_us": now + int(days * DAY_US)}
    row = {
        "grant_id": grant,
        "version": 1,
        "state": "active",
        "consumer": consumer,
        "department": department or credit_code(2),
        "resource": entry.code,
        "entry_version": 1,
        "release": newest_release(connection),
        "stream": binding.stream,
        "table_name": binding.table,
        "mode": "exchange",
        "terms": said,
        "secret": b"k" * 32,
        "provider": entry.provider,
        "created_us": now,
        "changed_us": now,
        **ends,
    }
    connection.execute(insert(GRANTS), row)
    first = {"grant_id": grant, "n": 1, "version": 1, "at_us": now, "state": "active", "terms": said, **ends}
    connection.execute(insert(GRANT_HISTORY), {**first, "who": "test", "reason": ""})


def change_grant(connection: Connection, grant: str, **changed: Any) -> None:
    """Another state, terms or days, with the next version."""
    new = {**changed, "version": GRANTS.c.version + 1, "changed_us": now_us(connection)}
    connection.execute(update(GRANTS).where(GRANTS.c.grant_id == grant).values(new))


def _row(entry: Entry, version: int, now: int) -> dict[str, Any]:
    return {
        "code": entry.code,
        "version": version,
        "state": "released",
        "newest": 1,
        "name_key": name_key(entry.name),
        "provider": entry.provider,
        "name": entry.name,
        "share_type": str(entry.share_type),
        "stream": entry.binding.stream if entry.binding else "",
        "table_name": entry.binding.table if entry.binding else "",
        "registrar": "li-na",
        "auditor": "wang-wei",
        "created_us": now,
        "changed_us": now,
        "document": entry.model_dump_json(),
    }
