"""Two sheets become entries, or a list of everything that is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from central.catalogue.differences import name_key
from central.catalogue.entry import Entry
from central.catalogue.sheets.headings import (
    ENTRIES,
    ENTRY_HEADINGS,
    ITEM_HEADINGS,
    ITEMS,
    CellWrong,
    Heading,
)
from central.catalogue.sheets.rows import Sheets
from central.policy.catalogue import CataloguePolicy
from proto.errors import Refused

_REQUIRED: Final = {
    ENTRIES: ("code", "name", "provider", "update_cycle"),
    ITEMS: ("code", "name", "column", "type"),
}
_HEADINGS: Final = {ENTRIES: ENTRY_HEADINGS, ITEMS: ITEM_HEADINGS}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the sheets, and where."""

    sheet: str
    row: int
    column: str
    rule: str
    what: str

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON says it."""
        return asdict(self)


@dataclass(slots=True)
class Read:
    """What two sheets hold."""

    entries: list[tuple[int, Entry]] = field(default_factory=list)
    """With the row each stands in; only those without a fault."""
    faults: list[Fault] = field(default_factory=list)
    item_rows: dict[tuple[str, str], int] = field(default_factory=dict)
    """Code and column to the row of the item."""

    def fault_of(self, row: int, code: str, rule: str, place: str, what: str) -> Fault:
        """A fault that was found in an entry, at the cell it came from."""
        if place.startswith("items["):
            column, _, name = place.removeprefix("items[").partition("]")
            at = self.item_rows.get((code, column), row)
            return Fault(ITEMS, at, _title(ITEM_HEADINGS, name.lstrip(".")), rule, what)
        column = ITEMS if place == "items" else _title(ENTRY_HEADINGS, place)
        return Fault(ENTRIES, row, column, rule, what)


def read_entries(sheets: Sheets, policy: CataloguePolicy) -> Read:
    """Every row of both sheets, understood or faulted."""
    read = Read()
    items: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for row, said in _records(sheets, ITEMS, policy, read.faults):
        code = str(said.pop("code", ""))
        items[code].append((row, said))
        read.item_rows[code, str(said.get("column", ""))] = row
    codes: dict[str, int] = {}
    names: dict[tuple[str, str], int] = {}
    for row, said in _records(sheets, ENTRIES, policy, read.faults):
        code = str(said.get("code", ""))
        read.faults += _twice(row, said, codes, names)
        _take(read, row, _whole(said, items.pop(code, []), policy))
    for code, rows in items.items():
        read.faults.append(
            Fault(ITEMS, rows[0][0], "信息资源代码", "V10", f"there is no entry {code[:40]!r}")
        )
    return read


def _records(
    sheets: Sheets, sheet: str, policy: CataloguePolicy, faults: list[Fault]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of one sheet as fields; cells that cannot be understood become faults."""
    rows = sheets.rows(sheet)
    _, titles = next(rows, (0, []))
    columns = _columns(sheet, titles)
    for number, cells in rows:
        if any(cells):
            yield number, _record((sheet, number), cells, columns, (policy, faults))


def _columns(sheet: str, titles: Sequence[str]) -> list[tuple[int, Heading]]:
    known = {title: heading for heading in _HEADINGS[sheet] for title in (heading.title, *heading.also)}
    found = [(place, known[title]) for place, title in enumerate(titles) if title in known]
    there = {heading.field for _, heading in found}
    missing = [heading.title for heading in _HEADINGS[sheet] if heading.field in _REQUIRED[sheet]]
    missing = [title for title in missing if known[title].field not in there]
    strange = [title for title in titles if title and title not in known]
    if missing or strange:
        said = [f"no heading {', '.join(missing)}"] if missing else []
        said += [f"unknown heading {', '.join(strange)[:200]}"] if strange else []
        raise Refused(
            "; ".join(said), where=sheet, fix="exchange-central catalogue template shows the headings"
        )
    return found


def _record(
    place: tuple[str, int],
    cells: Sequence[str],
    columns: Sequence[tuple[int, Heading]],
    with_: tuple[CataloguePolicy, list[Fault]],
) -> dict[str, Any]:
    policy, faults = with_
    said: dict[str, Any] = {}
    for at, heading in columns:
        cell = cells[at] if at < len(cells) else ""
        if not cell:
            continue
        try:
            value = heading.convert(cell, policy)
        except CellWrong as error:
            faults.append(Fault(*place, heading.title, heading.rule, error.what))
            said["is_faulty"] = True
            if heading.field != "code":
                continue
            # What belongs together is still told by it.
            value = cell
        outer, _, inner = heading.field.partition(".")
        if inner:
            said.setdefault(outer, {})[inner] = value
        else:
            said[outer] = value
    return said


def _twice(
    row: int, said: Mapping[str, Any], codes: dict[str, int], names: dict[tuple[str, str], int]
) -> list[Fault]:
    found = []
    code, name = (
        str(said.get("code", "")),
        (str(said.get("provider", "")), name_key(str(said.get("name", "")))),
    )
    if code and code in codes:
        found.append(Fault(ENTRIES, row, "信息资源代码", "V03", f"stands in row {codes[code]} already"))
    if name[1] and name in names:
        found.append(Fault(ENTRIES, row, "信息资源名称", "V05", f"stands in row {names[name]} already"))
    codes.setdefault(code, row)
    names.setdefault(name, row)
    return found


def _whole(
    said: dict[str, Any], items: list[tuple[int, dict[str, Any]]], policy: CataloguePolicy
) -> dict[str, Any]:
    """An entry with its items; what a row leaves empty follows from the others."""
    share_type = said.pop("share_type", None)
    for _, item in items:
        if "share_type" not in item and share_type is not None:
            item["share_type"] = share_type
    usual = policy.update_limits.get(str(said.get("update_cycle", "")))
    if "update_limit" not in said and usual:
        said["update_limit"] = usual
    return {**said, "items": [item for _, item in items]}


def _take(read: Read, row: int, said: dict[str, Any]) -> None:
    faulty = said.pop("is_faulty", False)
    columns = [str(item.get("column", "")) for item in said["items"]]
    for item in said["items"]:
        faulty = item.pop("is_faulty", False) or faulty
    try:
        entry = Entry.model_validate(said)
    except ValidationError as error:
        code = str(said.get("code", ""))
        for detail in error.errors(include_url=False, include_input=False):
            what = (
                "is missing" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
            )
            at = read.fault_of(row, code, "", _place(detail["loc"], columns), what)
            # A cell that could not be understood is not also blamed for being missing.
            blamed = {(each.sheet, each.row, each.column) for each in read.faults[-len(columns) - 50 :]}
            if (at.sheet, at.row, at.column) not in blamed:
                rule = _rule(_HEADINGS[at.sheet], at.column)
                read.faults.append(Fault(at.sheet, at.row, at.column, rule, what))
        return
    if not faulty:
        read.entries.append((row, entry))


def _place(loc: tuple[int | str, ...], columns: Sequence[str]) -> str:
    if loc and loc[0] == "items":
        if len(loc) == 1:
            return "items"
        column = columns[loc[1]] if isinstance(loc[1], int) and loc[1] < len(columns) else ""
        return f"items[{column}].{'.'.join(map(str, loc[2:]))}"
    return ".".join(map(str, loc))


def _title(headings: Sequence[Heading], place: str) -> str:
    for heading in headings:
        if place in (heading.field, heading.field.partition(".")[0]) or heading.field.startswith(f"{place}."):
            return heading.title
    first = place.partition("[")[0].partition(".")[0]
    return next((each.title for each in headings if each.field == first), place)


def _rule(headings: Sequence[Heading], title: str) -> str:
    return next((each.rule for each in headings if each.title == title), "V10")
