"""The second act of the demonstration: what its people write is accepted, and its pictures say what there is."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType

from central.catalogue.sheets import open_sheets, read_entries, write_template
from central.people.codes import check_character
from central.policy import profile_named
from central.sharing.asked import Conditions
from demo import pictures
from demo.arrivals import EVENTS, Arrivals
from demo.pictures import Arrival, Ending
from demo.show import STEPS, Show
from demo.town import ASKED, CODES, DEPARTMENTS, MASKS, PERSON, POLICE, ROWS, fill_in, items_in
from proto.predicate import parse
from replica.replica import TableDigest

POLICY = profile_named().catalogue


def drawn(made: RenderableType, columns: int = 100) -> str:
    """As a pipe gets it."""
    console = Console(width=columns)
    with console.capture() as found:
        console.print(made)
    return found.get()


def proposal(table: str, *columns: str) -> dict[str, Any]:
    """As ``catalogue draft --from-db`` makes it."""
    items = [
        {"name": c, "column": c, "type": "C", "is_key": c == columns[0], "share_type": "not_shared"}
        for c in columns
    ]
    return {
        "code": f"待填写/{table}",
        "name": table,
        "class_path": ["待填写"],
        "provider_name": DEPARTMENTS[POLICE],
        "provider": POLICE,
        "abstract": "待填写",
        "format_class": 3,
        "items": items,
        "modes": ["exchange"],
        "update_cycle": "daily",
        "update_limit": "P1D",
        "binding": {"stream": "population/hr", "table": table},
    }


@pytest.fixture
def sheet(tmp_path):
    """The workbook as the registrar leaves it."""
    path = tmp_path / "目录.xlsx"
    tables = (
        ("person", *ASKED, "income"),
        ("household", "number", "address"),
        ("迁移登记", "编号", "迁入地"),
    )
    write_template(path, POLICY, [proposal(*each) for each in tables])
    fill_in(path)
    return path


def test_what_the_registrar_fills_in_is_accepted(sheet):
    """Each table has its own items; the income is not shared, and a law says so."""
    read = read_entries(open_sheets(sheet, None), POLICY)

    assert read.faults == []
    entries = {entry.code: entry for _, entry in read.entries}
    assert set(entries) == set(CODES)
    person = entries[PERSON]
    assert tuple(person.columns) == (*ASKED, "income")
    assert [c for c, item in person.columns.items() if item.share_type == "not_shared"] == ["income"]
    assert person.columns["income"].basis is not None
    shown = drawn(pictures.items(items_in(sheet, PERSON)))
    assert "公民身份号码" in shown and "个人信息保护法" in shown and "户号" not in shown


def test_departments_and_conditions_are_as_the_desk_takes_them():
    """Credit codes check, and the filter and the masks can be read."""
    assert all(check_character(code[:-1]) == code[-1] for code in DEPARTMENTS)
    assert parse(ROWS) and Conditions.model_validate({"rows": ROWS})
    assert {mask.partition("=")[0] for mask in MASKS} <= set(ASKED)


def look(arrivals: Arrivals, state: str = "RUNNING") -> Arrival:
    """One look at *arrivals*."""
    return Arrival(
        ASKED, arrivals, 2, state, "delivery 7 arrived 1 s ago", "civil-affairs-000000007", 0.02, 3.0
    )


def test_what_came_changed_and_left_is_told_apart():
    """From one look to the next; the first only shows what is there."""
    arrivals = Arrivals()
    row = ("370***********7919", "李伟", "1940-02-01", "历下区", "130****4729")
    arrivals.look({1: (1, *row), 2: (2, *row)})
    assert (arrivals.came, arrivals.changed, arrivals.left) == (0, 0, 0)
    arrivals.look({1: (1, *row[:4], "139****0000"), 3: (3, *row)})

    assert (arrivals.came, arrivals.changed, arrivals.left) == (1, 1, 1)
    assert [sign for sign, _ in arrivals.events][-3:] == ["+", "~", "−"]
    shown = drawn(pictures.arriving(look(arrivals), "公安局", "民政局"))
    assert "139****0000" in shown and "civil-affairs-000000007" in shown
    assert "+1" in pictures.arriving_line(look(arrivals))
    for number in range(100):
        arrivals.look({number: (number, *row)})
    assert len(arrivals.events) == EVENTS
    assert "KILLED" in drawn(pictures.arriving(look(Arrivals(), "KILLED"), "公安局", "民政局"))


def test_the_proof_needs_both_halves():
    """Equal to what was granted, and the provider must have gone on: otherwise nothing was shown."""
    one, other = TableDigest(2, bytes(16)), TableDigest(2, b"\1" * 16)

    assert Ending(one, one, other).holds
    assert not Ending(one, other, other).holds
    assert not Ending(one, one, one).holds
    assert "≠" in drawn(pictures.ending(Ending(one, other, other)))


def test_receipts_are_told_with_their_sum():
    """The first and the last, and how many rows all of them brought."""
    facts = {"grant": "G2026-0001", "version": 1, "purpose": "核对申请人", "rows": 10}
    records = [{"at_us": 1, "facts": {**facts, "receipt": f"civil-affairs-{n:09}"}} for n in range(1, 41)]
    shown = drawn(pictures.receipts(records))

    assert "civil-affairs-000000001" in shown and "civil-affairs-000000040" in shown
    assert "civil-affairs-000000020" not in shown and "…" in shown
    assert "400" in shown and "40 次" in shown
    assert "0" in drawn(pictures.receipts([]))


def test_a_grant_is_told_in_one_frame():
    """Columns with their masks, rows, end, purpose."""
    mask = {"mask": "keep", "first": 3, "last": 4}
    terms = {
        "items": ["id", "phone"],
        "masks": {"phone": mask},
        "business": "社会救助",
        "purpose": "核对",
        "users": ["救助科"],
    }
    found = {
        "grant": "G2026-0001",
        "consumer": "civil-affairs",
        "resource": PERSON,
        "valid_to_us": 1,
        "terms": terms,
    }
    shown = drawn(pictures.grant(found, ROWS))

    assert "phone (3***4)" in shown and ROWS in shown and "社会救助：核对" in shown


def test_commands_are_shown_as_they_are_typed(capsys):
    """Brackets are no colours; one that is not shown whole ends where the line does."""
    show = Show(Console(width=60))
    show.typed("exchange-central share --as li-na [x] " + "长" * 60, whole=False)
    show.answered("[bold]R2026-0001[/] is waiting\nnext: …\n")
    said = capsys.readouterr().out

    assert "[x]" in said and "[bold]R2026-0001" in said and "…" in said
    for number in range(len(STEPS)):
        show.step(f"第{number}幕", "act")
