"""The empty workbook, and one that is filled with entries: for a first inventory, or for what a stream really has."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from central.catalogue.sheets.headings import (
    ENTRIES,
    ENTRY_HEADINGS,
    ITEM_HEADINGS,
    ITEMS,
    Heading,
)
from central.catalogue.sheets.rows import open_workbook
from central.policy.catalogue import CataloguePolicy
from proto.errors import Refused


def write_template(
    path: Path, policy: CataloguePolicy, entries: Iterable[Mapping[str, Any]] = ()
) -> list[Path]:
    """Write the workbook, or two CSV files, with *entries* in it; returns what was written. Raises Refused."""
    listed = list(entries)
    tables = {
        ENTRIES: (ENTRY_HEADINGS, [filled(ENTRY_HEADINGS, each, policy) for each in listed]),
        ITEMS: (
            ITEM_HEADINGS,
            [
                filled(ITEM_HEADINGS, {**item, "code": each["code"]}, policy)
                for each in listed
                for item in each["items"]
            ],
        ),
    }
    if path.suffix.lower() == ".csv":
        return _csv(path, tables)
    book = open_workbook()
    book.remove(book.worksheets[0])
    for name, (headings, rows) in tables.items():
        sheet = book.create_sheet(name)
        sheet.append([heading.title for heading in headings])
        for row in rows:
            sheet.append(row)
        sheet.freeze_panes = "B2"
        for number in range(1, len(headings) + 1):
            sheet.column_dimensions[sheet.cell(1, number).column_letter].width = 18
    _explain(book.create_sheet("说明"), policy)
    try:
        book.save(path)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(path)) from error
    return [path]


def filled(headings: Sequence[Heading], said: Mapping[str, Any], policy: CataloguePolicy) -> list[str]:
    """One row of a sheet: what *said* has under each heading, in people's words."""
    cells = []
    for heading in headings:
        value: Any = said
        for part in heading.field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        cells.append(_cell(heading.field, value, policy))
    return cells


def _cell(field: str, value: Any, policy: CataloguePolicy) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if field == "class_path":
        return "/".join(map(str, value))
    if isinstance(value, list | tuple):
        return "、".join(map(str, value))
    words = {"share_type": policy.share_types, "update_cycle": policy.update_cycles}.get(field, {})
    return words.get(str(value), str(value))


def _explain(sheet: Any, policy: CataloguePolicy) -> None:
    sheet.append(["工作表", "列", "例", "规则"])
    for name, headings in ((ENTRIES, ENTRY_HEADINGS), (ITEMS, ITEM_HEADINGS)):
        for heading in headings:
            sheet.append([name, heading.title, heading.example, heading.rule])
    sheet.append([])
    sheet.append(
        ["共享类型", "、".join(dict.fromkeys((*policy.share_types.values(), *policy.share_type_words)))]
    )
    sheet.append(["更新周期", "、".join(policy.update_cycles.values())])
    sheet.append(["字典版本", policy.dictionary_version])


def _csv(path: Path, tables: Mapping[str, tuple[Sequence[Heading], list[list[str]]]]) -> list[Path]:
    written = [path, path.with_name(f"{path.stem}-{ITEMS}{path.suffix}")]
    for place, (headings, rows) in zip(written, tables.values(), strict=True):
        try:
            with place.open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows([[heading.title for heading in headings], *rows])
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", where=str(place)) from error
    return written
