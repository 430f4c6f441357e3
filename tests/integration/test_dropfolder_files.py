"""Files as people make them: CSV in the encodings of this country, JSON lines, and what is wrong with some of them."""

from __future__ import annotations

import pytest

from agent.sources.dropfolder.settings import ColumnRule, FileLimits
from proto.values import Kind
from tests.support.dropfolders import Desk

HEAD = "身份证号,姓名,出生日期\r\n"
ROWS = HEAD + "11010119900307002X,王\u3000伟,1990/3/7\r\n010101200001010011,㐂镕,2000年1月1日\r\n"
PEOPLE = [("010101200001010011", "㐂镕", "2000-01-01"), ("11010119900307002X", "王\u3000伟", "1990-03-07")]


@pytest.fixture
def desk(tmp_path):
    """A clerk's desk, the source open."""
    desk = Desk(tmp_path / "收件")
    desk.open()
    yield desk
    desk.source.close()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_csv_is_read_in_the_encoding_it_has(desk, encoding):
    """Found out from its mark or its bytes; leading zeros, full-width spaces and rare characters stay."""
    desk.drop("人员 名单.csv", ROWS.encode(encoding))
    desk.take()

    assert desk.rows() == PEOPLE
    assert desk.room("done") == ["000000001~人员 名单.csv", "000000001~人员 名单.csv.receipt.json"]


def test_gbk_is_read_when_told(tmp_path):
    """As most programs here write it."""
    desk = Desk(tmp_path / "收件", encoding="gbk")
    desk.open()
    desk.drop("人员.csv", ROWS.replace("㐂", "喜").encode("gbk"))
    desk.take()
    desk.source.close()

    assert ("010101200001010011", "喜镕", "2000-01-01") in desk.rows()


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", ","])
def test_the_delimiter_is_found_from_the_headings(desk, delimiter):
    """Quoted cells may hold it, line breaks and quotes."""
    line = ["11010119900307002X", f'"王{delimiter}伟\n""大""伟"', "1990-03-07"]
    desk.drop("人员.csv", HEAD.replace(",", delimiter) + delimiter.join(line) + "\n")
    desk.take()

    assert desk.rows() == [("11010119900307002X", f'王{delimiter}伟\n"大"伟', "1990-03-07")]


def test_json_lines_are_read(desk):
    """One object per line; a number keeps its digits, null is no value."""
    desk.drop("人员.jsonl", '{"身份证号": 110101199003070011, "姓名": "王", "出生日期": null, "其他": 1}\n\n')
    desk.take()

    assert desk.rows() == [("110101199003070011", "王", None)]


def test_what_nobody_asked_for_does_not_leave(desk):
    """Other columns, empty lines and a missing end of line do not matter."""
    desk.drop("人员.csv", "备注,出生日期,身份证号,姓名\n秘密,,1,王\n,,,\n\n秘密,2000-01-01,2,李")
    desk.take()

    assert desk.rows() == [("1", "王", None), ("2", "李", "2000-01-01")]


@pytest.mark.parametrize(
    ("name", "content", "row", "word"),
    [
        (
            "人员.csv",
            ROWS.encode("gb18030") + b"\xff\xff\n",
            "4",
            f"第4行第{len(ROWS.encode('gb18030'))}字节",
        ),
        ("人员.csv", HEAD.encode() + b'1,"abc\n', "2", "引号"),
        ("人员.csv", HEAD.encode() + b"1,a\0b,\n", "2", "空字符"),
        ("人员.csv", HEAD.encode() + b"1,a\n", "2", "列数不足"),
        ("人员.csv", HEAD.encode() + b"1,a,,b\n", "2", "列数过多"),
        ("人员.csv", HEAD.encode() + b"1.10101E+17,a,\n", "2", "科学计数法"),
        ("人员.csv", HEAD.encode() + b"1,,\n", "2", "必填"),
        ("人员.csv", HEAD.encode() + b",a,\n", "2", "必填"),
        ("人员.csv", HEAD.encode() + b"1,a,\n2,b,\n1,c,\n", "4", "另见第2行"),
        ("人员.csv", HEAD.encode() + b'1,"a\nb",\n2,b,x\n', "4", "日期"),
        ("人员.csv", b"PK\x03\x04" + b"0" * 50, "", "工作簿"),
        ("人员.xls", b"anything", "", "另存为"),
        ("人员.jsonl", b'{"a": 1, "a": 2}\n', "1", "JSON"),
        ("人员.jsonl", b"[1]\n", "1", "JSON"),
        ("人员.jsonl", '{"身份证号": "1", "姓名": {"a": 1}, "出生日期": null}\n'.encode(), "1", "嵌套"),
        ("人员.jsonl", '{"身份证号": "1", "姓名": "x"}\n'.encode(), "1", "缺少成员"),
        ("人员.jsonl", b"[" * 100_000, "1", "JSON"),
    ],
)
def test_a_bad_file_is_refused_whole_with_the_place_and_the_reason(desk, name, content, row, word):
    """The person beside it is told where and why; the table is held and nothing of the file arrives."""
    desk.drop(name, content)
    desk.take()
    report = desk.reasons()

    assert (report[0][0], report[0][2]) == (name, row)
    assert word in report[0][4]
    assert "000000001~" + name in desk.room("rejected")
    assert desk.mirror.tables.get("person", {}) == {}
    assert [hold.startswith("QUARANTINE: person") for hold in desk.holds()] == [True]


@pytest.mark.parametrize("headings", ["身份证号,姓名", "身份证号,姓名,姓名,出生日期", ""])
def test_other_headings_hold_the_table(desk, headings):
    """Its structure has changed; that is nothing a clerk mends in a cell."""
    desk.drop("人员.csv", headings + "\n1,王,,\n")
    desk.take()

    assert [hold.startswith("SCHEMA_HOLD: person") for hold in desk.holds()] == [True]


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"file_bytes": 100}, "文件过大"),
        ({"rows": 5}, "超过5行"),
        ({"cell_bytes": 131072}, "单元格内容过大"),
        ({"cell_bytes": 5000}, "行过长"),
    ],
)
def test_every_limit_is_named(tmp_path, limits, word):
    """A file beyond one is refused, and never held in memory for it."""
    desk = Desk(tmp_path / "收件", file_limits=FileLimits(**limits))
    desk.open()
    rows = "".join(f"{number},王,\n" for number in range(7))
    desk.drop("人员.csv", HEAD + rows + '8,"' + "x" * 200_000 + '",\n')
    desk.take()
    desk.source.close()

    assert word in desk.reasons()[0][4]


def test_a_report_can_be_opened_without_harm_and_no_log_repeats_a_value(desk, capfd):
    """Cells that a spreadsheet would run are made harmless; logs name places only."""
    desk.drop("人员.csv", HEAD + '=cmd|x,王,"=HYPERLINK(""http://x"")"\n')
    desk.take()

    assert desk.reasons()[0][5].startswith("'=HYPERLINK")
    assert "HYPERLINK" not in capfd.readouterr().out + "".join(desk.holds())


def test_a_title_above_the_headings_is_passed_over(tmp_path):
    """As exported reports have it."""
    desk = Desk(
        tmp_path / "收件", header_row=3, rules=(ColumnRule(name="id"), ColumnRule(name="n", kind=Kind.INT32))
    )
    desk.open()
    desk.drop("人员.csv", "人员名单,\n2024年,\nid,n\n王,7\n")
    desk.take()
    desk.source.close()

    assert desk.rows() == [("王", 7)]
