"""Files, asked what arrives of one cell: its kind and text, or the reason the clerk reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from openpyxl import Workbook
from openpyxl.utils.exceptions import IllegalCharacterError

from agent.sources.dropfolder.settings import ColumnRule
from proto.values import Kind
from tests.support.dropfolders import Desk
from tests.support.typecases import BROKEN_BYTES, FILES, Case
from tests.support.typeways import REFUSED, Arrival, arrival_of

NAME: Final = "CSV, Excel"
CASES: Final = (*FILES, *BROKEN_BYTES)


def file_arrivals(home: Path) -> list[dict[str, Arrival]]:
    """For each case, what a file of each form brings."""
    return [_arrivals(home / str(number), case) for number, case in enumerate(CASES)]


def _arrivals(home: Path, case: Case) -> dict[str, Arrival]:
    home.mkdir()
    if case in BROKEN_BYTES:
        raw = bytes.fromhex(case.value.removeprefix("GBK "))
        return {"CSV": _arrival(home / "bytes", case, "csv", b"id,v\n1," + raw + b"\n")}
    text = f'id,v\n1,"{case.value.replace(chr(34), chr(34) * 2)}"\n'
    return {
        "CSV (UTF-8)": _arrival(home / "utf8", case, "csv", text.encode()),
        "CSV (GB18030)": _arrival(home / "gb18030", case, "csv", text.encode("gb18030")),
        "Excel": _workbook_arrival(home / "excel", case),
    }


def _workbook_arrival(folder: Path, case: Case) -> Arrival:
    book = Workbook()
    assert book.active is not None
    book.active.append(["id", "v"])
    try:
        book.active.append(["1", case.value])
    except IllegalCharacterError:
        return Arrival(REFUSED)
    data = io.BytesIO()
    book.save(data)
    return _arrival(folder, case, "xlsx", data.getvalue())


def _arrival(folder: Path, case: Case, ending: str, content: bytes) -> Arrival:
    rules = (ColumnRule(name="id"), ColumnRule(name="v", kind=Kind(case.type)))
    desk = Desk(folder, rules=rules)
    desk.open()
    desk.drop(f"人员.{ending}", content)
    desk.take()
    desk.source.close()
    if desk.mirror.tables.get("person"):
        return arrival_of("person", desk.mirror, {})
    return Arrival(desk.reasons()[0][4])
