"""Workbooks as spreadsheets store them, and the ways in which one lies or bites."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import date, datetime, time

import pytest
from openpyxl import Workbook

from agent.sources.dropfolder.settings import ColumnRule, FileLimits
from proto.values import Kind
from tests.support.dropfolders import Desk

HEADINGS = ["身份证号", "姓名", "出生日期"]
SHEET = "xl/worksheets/sheet1.xml"
SHARED = "xl/sharedStrings.xml"


@pytest.fixture
def desk(tmp_path):
    """A clerk's desk, the source open."""
    desk = Desk(tmp_path / "收件", file_limits=FileLimits(unpacked_bytes=50_000_000))
    desk.open()
    yield desk
    desk.source.close()


def workbook(*rows, change=lambda book: None, headings=HEADINGS):
    """The bytes of a workbook."""
    book = Workbook()
    for row in (headings, *rows):
        book.active.append(row)
    change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def with_part(content, name, change):
    """The same workbook with one part changed, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        new.writestr(name, change(old.read(name) if name in old.namelist() else b""))
    return out.getvalue()


def as_excel_stores(content):
    """The same workbook with its texts in the shared part, in pieces and with how they are spoken."""
    texts = []

    def shared(part):
        def moved(found):
            texts.append(found[1])
            return f't="s"><v>{len(texts) - 1}</v>'.encode()

        return re.sub(rb't="inlineStr"><is><t[^>]*>(.*?)</t></is>', moved, part)

    content = with_part(content, SHEET, shared)
    items = b"".join(
        b"<si><r><t>%s</t></r><r><rPr><b/></rPr><t>%s</t></r><rPh sb='0' eb='1'><t>wang</t></rPh></si>"
        % (t[:3], t[3:])
        for t in texts
    )
    return with_part(content, SHARED, lambda _: b"<sst xmlns='x'>" + items + b"</sst>")


def test_shared_texts_are_put_together(desk):
    """From their pieces, without what is said of their pronunciation."""
    desk.drop(
        "人员.xlsx", as_excel_stores(workbook(("0001", "王\u3000伟", None), ("0002", "王\u3000伟", None)))
    )
    desk.take()

    assert desk.rows() == [("0001", "王\u3000伟", None), ("0002", "王\u3000伟", None)]


def test_a_workbook_is_read(desk):
    """Texts with their zeros, dates by their format or written as text, empty cells, empty rows."""
    rows = [
        ("010101200001010011", "王\u3000伟", date(2000, 1, 1)),
        (None, None, None),
        ("2", "㐂", "1990年3月7日"),
    ]
    desk.drop("人员.xlsx", workbook(*rows, ("3", "李", None), ("4", "_x005F_x000D_")))
    desk.take()

    assert desk.rows() == [
        ("010101200001010011", "王\u3000伟", "2000-01-01"),
        ("2", "㐂", "1990-03-07"),
        ("3", "李", None),
        ("4", "_x000D_", None),
    ]


def test_numbers_dates_and_truths(tmp_path):
    """Every kind of cell becomes the value people see."""
    kinds = (Kind.INT32, Kind.DECIMAL, Kind.FLOAT64, Kind.TIMESTAMP, Kind.TIME, Kind.BOOL, Kind.DATE)
    rules = [ColumnRule(name=str(kind), kind=kind) for kind in kinds]
    desk = Desk(tmp_path / "收件", rules=rules, key=("int32",))
    desk.open()
    row = (7, 0.1, 1e-7, datetime(2024, 1, 5, 8, 30, 15), time(8, 5), True, 45296)  # noqa: DTZ001
    desk.drop("人员.xlsx", workbook(row, headings=[rule.name for rule in rules]))
    desk.take()
    desk.source.close()

    assert desk.rows() == [(7, "0.1", 1e-7, "2024-01-05 08:30:15", "08:05:00", 1, "2024-01-05")]


def test_a_calendar_that_begins_in_1904(desk):
    """As old Macintosh workbooks count."""
    content = workbook(("1", "王", 1))

    def mac(part):
        return part.replace(b"<workbookPr/>", b'<workbookPr date1904="1"/>').replace(
            b"<workbookPr />", b'<workbookPr date1904="1"/>'
        )

    desk.drop("人员.xlsx", with_part(content, "xl/workbook.xml", mac))
    desk.take()

    assert desk.rows() == [("1", "王", "1904-01-02")]


def test_a_formula_counts_by_its_stored_result(desk):
    """One that was never computed is a fault, not an empty cell."""
    content = workbook(("1", "=A1&B1", None))
    desk.drop("人员1.xlsx", content)
    desk.take()
    assert "计算结果" in desk.reasons()[0][4]

    computed = with_part(
        content,
        SHEET,
        lambda part: (
            part.replace(b"<v></v>", b"<v>6</v>").replace(b"<v/>", b"<v>6</v>").replace(b"<v />", b"<v>6</v>")
        ),
    )
    desk.drop("人员2.xlsx", computed)
    desk.take()
    desk.copy()
    assert desk.rows() == [("1", "6", None)]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ((110101199003070010, "王", None), "15位"),
        (("1", "#N/A", None), "错误值"),
        (("1", date(2024, 1, 5), None), "日期单元格"),
        (("1", "王", "5/1/2024"), "日期"),
    ],
)
def test_cells_that_a_spreadsheet_has_damaged(desk, row, word):
    """Digits that are gone cannot be guessed."""
    desk.drop("人员.xlsx", workbook(("0", "李", None), row))
    desk.take()

    assert (desk.reasons()[0][2], word in desk.reasons()[0][4]) == ("3", True)


def test_merged_cells_are_refused(desk):
    """What they hide cannot be told from empty cells."""
    desk.drop("人员.xlsx", workbook(("1", "王", None), change=lambda book: book.active.merge_cells("A2:B2")))
    desk.take()

    assert "合并单元格" in desk.reasons()[0][4]
    assert desk.mirror.tables == {}


def test_the_sheet_that_was_agreed_on(tmp_path):
    """By name, or the first that people see; one that is missing holds the table."""
    desk = Desk(tmp_path / "收件", sheet="人员表", header_row=2)
    desk.open()

    def second(book):
        sheet = book.create_sheet("人员表")
        for row in (["标题", None, None], HEADINGS, ["7", "赵", None]):
            sheet.append(row)

    desk.drop("人员1.xlsx", workbook(("1", "王", None), change=second))
    desk.take()
    desk.drop("人员2.xlsx", workbook(("1", "王", None)))
    desk.take()
    desk.source.close()

    assert desk.rows() == [("7", "赵", None)]
    assert [row[1:4] for row in desk.reasons()] == [["人员表", "", "人员表"]]


def test_a_hidden_first_sheet_is_passed_over(desk):
    """Nobody sees it, so nobody means it."""

    def hide(book):
        book.create_sheet("里", 0).sheet_state = "hidden"

    desk.drop("人员.xlsx", workbook(("1", "王", None), change=hide))
    desk.take()

    assert desk.rows() == [("1", "王", None)]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><worksheet>&c;</worksheet>"""
FILE = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><worksheet>&a;</worksheet>'
)


@pytest.mark.parametrize(
    ("part", "content", "word"),
    [
        (SHEET, BOMB, "文档类型"),
        (SHARED, FILE, "文档类型"),
        (SHEET, b"<worksheet>" + b" " * 20_000_000 + b"</worksheet>", "解压后过大"),
        (SHEET, b"<worksheet><sheetData><row>", "不是完整"),
        ("xl/workbook.xml", b"<workbook/>", "工作表"),
        (SHEET, b'<worksheet><row r="1"><c r="B1"/><c r="A1"/></row></worksheet>', "次序"),
        (SHEET, b'<worksheet><row r="1"><c r="A1" t="s"><v>99999</v></c></row></worksheet>', "引用"),
    ],
)
def test_a_workbook_that_bites(desk, part, content, word):
    """Entity and zip bombs, references to files, and broken parts."""
    desk.drop("人员.xlsx", with_part(workbook(("1", "王", None)), part, lambda _: content))
    desk.take()

    assert word in desk.reasons()[0][4]


@pytest.mark.parametrize(
    "content", [b"\xd0\xcf\x11\xe0" + b"0" * 600, b"PK\x03\x04broken", b"", b"id,name\n"]
)
def test_what_is_no_workbook(desk, content):
    """An old or encrypted one, half of one, and none."""
    desk.drop("人员.xlsx", content)
    desk.take()

    assert len(desk.reasons()) == 1


def test_damaged_bytes_are_found(desk):
    """A workbook is checked against its own sums while it is read."""
    content = bytearray(workbook(*((str(n), "王", None) for n in range(2000))))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as book:
        at = book.getinfo(SHEET).header_offset
    content[at + 300] ^= 0xFF
    desk.drop("人员.xlsx", bytes(content))
    desk.take()

    assert "不是完整" in desk.reasons()[0][4]
