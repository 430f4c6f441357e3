"""The catalogue as people use it: a workbook, two offices, a release, a check; real processes and real exit codes."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import sqlite3
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from central.catalogue.rules import Facts, Needs, Severity, look, rules_needing
from central.catalogue.sheets import open_sheets, read_entries, write_template
from central.catalogue.sheets.headings import ENTRIES, ENTRY_HEADINGS, ITEM_HEADINGS, ITEMS
from central.cli import main
from central.people import Office, Role
from central.people.office import Department, Person
from central.policy import profile_named
from central.store import open_store
from tests.integration.test_central_cli import Commands
from tests.support.shares import credit_code, entry_of
from tests.unit.test_catalogue_rules import facts

pytest_plugins = ["tests.integration.test_central_cli"]
POLICE, BUREAU = credit_code(1), credit_code(2)
PEOPLE = (
    ("li-na", POLICE, "registrar"),
    ("wang-wei", POLICE, "auditor"),
    ("liu-yang", BUREAU, "authority"),
    ("wu-di", BUREAU, "tester"),
)
ENTRY_ROW = {
    "信息资源代码": "3070101/000001",
    "信息资源名称": "常住人口信息",
    "信息资源分类": "3/07/010/1",
    "信息资源提供方": "济南市公安局",
    "信息资源提供方代码": POLICE,
    "信息资源摘要": "本市常住人口基本信息",
    "信息资源格式分类": "数据库",
    "共享类型": "条件共享",
    "共享条件": "用于社会救助核对",
    "共享范围": "市级部门",
    "共享方式": "数据交换、在线查询",
    "更新周期": "每日",
    "涉密属性": "非涉密",
}
ITEM_ROWS: tuple[dict[str, Any], ...] = (
    {
        "信息资源代码": "3070101/000001",
        "信息项名称": "公民身份号码",
        "字段": "id_no",
        "数据类型": "C",
        "长度": 18,
        "主键": "是",
    },
    {
        "信息资源代码": "3070101/000001",
        "信息项名称": "姓名",
        "字段": "name",
        "数据类型": "C",
        "共享类型": "无条件共享",
    },
)


@pytest.fixture
def desk(commands: Commands) -> Commands:
    """A central with two departments and their people; no daemon runs."""
    engine = open_store(f"sqlite:///{commands.folder / 'central.db'}")
    office = Office(engine)
    for code, name in ((POLICE, "济南市公安局"), (BUREAU, "济南市大数据局")):
        office.add_department(Department(code, name, "370100", "city"), "test")
    for person, department, role in PEOPLE:
        office.add_person(Person(person, person, department, (Role(role),), left=False), "test")
    engine.dispose()
    return commands


def _as(desk: Commands, person: str, *words: str) -> subprocess.CompletedProcess[str]:
    """One command of the catalogue as *person*, through the command's own entry, in this process: there are many."""
    line = ["exchange-central", "catalogue", "-c", str(desk.config), "--as", person, *words]
    said, complaint, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(said), redirect_stderr(complaint), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", line)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(line, code, said.getvalue(), complaint.getvalue())


def _ok(desk: Commands, person: str, *words: str) -> str:
    done = _as(desk, person, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    return str(done.stdout)


def _workbook(path: Path, entries: list[dict[str, Any]], items: list[dict[str, Any]]) -> Path:
    book = openpyxl.load_workbook(path)
    for sheet, rows in ((ENTRIES, entries), (ITEMS, items)):
        titles = [cell.value for cell in book[sheet][1]]
        for row in rows:
            book[sheet].append([row.get(str(title)) for title in titles])
    filled = path.with_name("filled.xlsx")
    book.save(filled)
    return filled


@pytest.fixture
def template(desk: Commands, tmp_path: Path) -> Path:
    """The empty workbook, as the command writes it."""
    path = tmp_path / "template.xlsx"
    _ok(desk, "li-na", "template", "--out", str(path))
    return path


def test_a_workbook_becomes_drafts(desk, template, tmp_path):
    """Both wordings of the share types, an item's own type, a limit that follows from the cycle (SD13.2)."""
    filled = _workbook(template, [ENTRY_ROW], list(ITEM_ROWS))
    said = _ok(desk, "li-na", "import", str(filled), "--dry-run")
    assert "0 faults" in said and "nothing was changed" in said
    assert json.loads(_ok(desk, "li-na", "drafts", "--json"))["entries"] == []
    assert "1 new" in _ok(desk, "li-na", "import", str(filled))
    shown = json.loads(_ok(desk, "li-na", "show", "3070101/000001", "--json"))
    assert (shown["state"], shown["entry"]["update_limit"]) == ("draft", "P1D")
    types = [item["share_type"] for item in shown["entry"]["items"]]
    assert types == ["conditional", "unconditional"]
    assert shown["entry"]["modes"] == ["exchange", "query"]
    assert "0 new, 0 changed" in _ok(desk, "li-na", "import", str(filled))
    changed = _workbook(template, [{**ENTRY_ROW, "共享条件": "有条件共享：救助"}], list(ITEM_ROWS))
    assert "0 new, 1 changed" in _ok(desk, "li-na", "import", str(changed))


FAULTS: list[tuple[dict[str, Any], dict[str, Any], set[tuple[str, int, str, str]]]] = [
    (
        {"信息资源代码": "人口"},
        {},
        {(ENTRIES, 2, "信息资源代码", "V02"), (ITEMS, 2, "信息资源代码", "V10"), (ENTRIES, 2, ITEMS, "V10")},
    ),
    ({"信息资源提供方代码": POLICE[:-1] + "0"}, {}, {(ENTRIES, 2, "信息资源提供方代码", "V04")}),
    ({"共享类型": "随便共享"}, {}, {(ENTRIES, 2, "共享类型", "V01"), (ITEMS, 2, "共享类型", "V01")}),
    ({"共享条件": None}, {}, {(ITEMS, 2, "共享条件", "V08")}),
    ({"信息资源摘要": None}, {}, {(ENTRIES, 2, "信息资源摘要", "V01")}),
    ({"更新周期": "隔日"}, {}, {(ENTRIES, 2, "更新周期", "V14")}),
    ({"涉密属性": "涉密"}, {}, {(ENTRIES, 2, "涉密属性", "V20")}),
    ({"共享范围": None}, {}, {(ENTRIES, 2, "共享范围", "V22")}),
    ({"总存储量GB": "很多"}, {}, {(ENTRIES, 2, "总存储量GB", "V18")}),
    ({"发布日期": "2026-13-01"}, {}, {(ENTRIES, 2, "发布日期", "V17")}),
    ({"共享方式": "接口服务", "信息资源格式分类": "电子文件"}, {}, {(ENTRIES, 2, "共享方式", "V07")}),
    ({}, {"数据类型": "文本"}, {(ITEMS, 2, "数据类型", "V10")}),
    ({}, {"共享类型": "不予共享"}, {(ITEMS, 2, "依据名称", "V09")}),
    ({}, {"长度": "十八"}, {(ITEMS, 2, "长度", "V10")}),
]


@pytest.mark.parametrize(("entry", "item", "wanted"), FAULTS, ids=[str(n) for n in range(len(FAULTS))])
def test_every_fault_is_named_with_sheet_row_column_and_rule(tmp_path, entry, item, wanted):
    """Through the same reading and the same rules as the command (SD13.2)."""
    found = _faults(tmp_path, [{**ENTRY_ROW, **entry}], [{**ITEM_ROWS[0], **item}, ITEM_ROWS[1]])
    assert wanted <= found, found


def _faults(
    folder: Path, entries: list[dict[str, Any]], items: list[dict[str, Any]]
) -> set[tuple[str, int, str, str]]:
    policy = profile_named().catalogue
    [path] = write_template(folder / "t.xlsx", policy)
    read = read_entries(open_sheets(_workbook(path, entries, items), None), policy)
    found = {(each.sheet, each.row, each.column, each.rule) for each in read.faults}
    for row, entry in read.entries:
        known: Facts = facts(entry)
        for each in look(known, rules_needing(Needs.TEXT)):
            if each.severity is Severity.ERROR:
                at = read.fault_of(row, entry.code, each.rule, each.field, each.what)
                found.add((at.sheet, at.row, at.column, at.rule))
    return found


def test_with_one_bad_row_nothing_is_taken_unless_asked(desk, template):
    """All or nothing; with --partial what has no fault; the exit code says that there was one (SD13.2)."""
    bad = {**ENTRY_ROW, "信息资源代码": "3070101/000002", "信息资源名称": "户籍信息", "共享范围": None}
    items = [*ITEM_ROWS, {**ITEM_ROWS[0], "信息资源代码": "3070101/000002"}]
    filled = _workbook(template, [ENTRY_ROW, bad], items)
    for words in (("--dry-run",), ()):
        done = _as(desk, "li-na", "import", str(filled), "--json", *words)
        assert done.returncode == 1
        [fault] = [each for each in json.loads(done.stdout)["faults"] if each["rule"] == "V22"]
        assert (fault["sheet"], fault["row"], fault["column"]) == (ENTRIES, 3, "共享范围")
        assert json.loads(_ok(desk, "li-na", "drafts", "--json"))["entries"] == []
    assert _as(desk, "li-na", "import", str(filled), "--partial").returncode == 1
    listed = json.loads(_ok(desk, "li-na", "drafts", "--json"))["entries"]
    assert [each["code"] for each in listed] == ["3070101/000001"]


def test_what_stands_twice_or_alone_is_found(tmp_path):
    """A code or a name twice in the sheet, an item whose entry is not there."""
    twice = {**ENTRY_ROW, "信息资源名称": "常住 人口信息"}
    lone = {**ITEM_ROWS[0], "信息资源代码": "3070101/9"}
    found = _faults(tmp_path, [ENTRY_ROW, twice], [*ITEM_ROWS, lone])
    assert {
        (ENTRIES, 3, "信息资源代码", "V03"),
        (ENTRIES, 3, "信息资源名称", "V05"),
        (ITEMS, 4, "信息资源代码", "V10"),
    } <= found


def test_csv_files_do_as_well(desk, tmp_path):
    """Two of them, also as GB18030, as an older office program writes them."""
    entries, items = tmp_path / "目录.csv", tmp_path / "项.csv"
    for path, headings, rows in ((entries, ENTRY_HEADINGS, [ENTRY_ROW]), (items, ITEM_HEADINGS, ITEM_ROWS)):
        with path.open("w", encoding="gb18030", newline="") as file:
            writer = csv.DictWriter(file, [heading.title for heading in headings])
            writer.writeheader()
            writer.writerows(rows)
    assert "1 new" in _ok(desk, "li-na", "import", str(entries), "--items", str(items))
    done = _as(desk, "li-na", "import", str(entries))
    assert done.returncode == 1 and "--items" in done.stderr


def test_from_a_draft_to_a_release_that_anybody_verifies(desk, tmp_path):
    """Register, audit, publish, release, export; verified where there is no database at all (SD07.1, SD07.2)."""
    entry = entry_of(
        "3070101/000001", "police-node/hr", "person", ("id_no", "name"), provider=POLICE, name="人口"
    )
    path = tmp_path / "person.json"
    path.write_text(entry.model_dump_json(), encoding="utf-8")
    said = _ok(desk, "li-na", "draft", str(path))
    assert "next: a registrar of the department" in said
    _ok(desk, "li-na", "submit", entry.code)
    refused = _as(desk, "li-na", "audit", entry.code)
    assert refused.returncode == 1 and "needs the role auditor" in refused.stderr
    _ok(desk, "wang-wei", "audit", entry.code)
    refused = _as(desk, "wang-wei", "publish", entry.code)
    assert refused.returncode == 1 and "V16" in refused.stderr
    with sqlite3.connect(desk.folder / "central.db") as database:
        database.execute('CREATE TABLE "police-node_hr.person" (id_no text PRIMARY KEY, name text)')
    _ok(desk, "wang-wei", "publish", entry.code)
    assert "release 1: 1 entries in force" in _ok(desk, "liu-yang", "release", "--note", "首次")
    exported = tmp_path / "release.jsonl"
    _ok(desk, "wu-di", "export-release", "1", "--out", str(exported))
    ca = tmp_path / "ca.pem"
    shutil.copy(desk.folder / "tls" / "ca.pem", ca)
    shutil.move(desk.folder, tmp_path / "away")
    verify = ("catalogue", "verify-release", str(exported), "--ca", str(ca))
    assert "as they were signed" in desk.ok(*verify, config=False)
    exported.write_bytes(exported.read_bytes().replace("全市".encode(), "全省".encode()))
    assert "SIGNATURE_WRONG" in desk.refused(*verify, config=False)
    shutil.move(tmp_path / "away", desk.folder)
    assert "added 3070101/000001" in _ok(desk, "wu-di", "diff", "0", "1")
    assert "release 1" in _ok(desk, "wu-di", "history", entry.code)


def test_the_check_says_by_its_exit_code_how_it_went(desk, template, tmp_path):
    """0 nothing wrong, 1 errors, 2 it could not be checked; and the report is verified elsewhere (SD16.2)."""
    assert _as(desk, "wu-di", "check").returncode == 0
    filled = _workbook(template, [ENTRY_ROW], list(ITEM_ROWS))
    _ok(desk, "li-na", "import", str(filled))
    report = tmp_path / "report.json"
    done = _as(desk, "wu-di", "check", "--out", str(report))
    assert done.returncode == 1 and "V16" in done.stdout, done.stdout
    assert _as(desk, "wu-di", "check", "--entry", "没有").returncode == 2
    assert _as(desk, "nobody", "check").returncode == 2
    verify = ("catalogue", "verify-report", str(report), "--ca", str(desk.folder / "tls" / "ca.pem"))
    assert "as they were signed" in desk.ok(*verify, config=False)
    pages = json.loads(report.read_text())
    report.write_text(json.dumps([{**pages[0], "report": pages[0]["report"][:-8] + "AAAAAAA="}]))
    assert desk.run(*verify, config=False).returncode == 1
    said = json.loads(_as(desk, "wu-di", "check", "--json").stdout)
    assert said["entries"] == 1 and said["counts"]["error"] >= 1


def test_a_tester_elsewhere_checks_with_a_certificate(desk, tmp_path):
    """Read-only, over the wire, with nothing of central's on the machine (SD16.2)."""
    desk.ok("person", "certificate", "wu-di", "--out", str(tmp_path / "wu-di"))
    process = desk.serve()
    try:
        at = ("catalogue", "--at", f"localhost:{desk.port}", "--certificates", str(tmp_path / "wu-di"))
        assert "0 entries: 0 errors" in desk.ok(*at, "check", config=False)
        assert "needs the role authority" in desk.refused(*at, "release", config=False)
        assert desk.run(*at, "list", "--json", config=False).returncode == 0
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_platform_of_a_county_is_refused_with_the_article(commands):
    """At start and by check; the department's own region stays free (SD08.1, SD08.2)."""
    text = commands.config.read_text()
    commands.config.write_text(text.replace("level: city", "level: county"))
    for words in (("serve",), ("check",), ("check", "--settings-only")):
        said = commands.refused(*words)
        assert "第八条" in said and "platform.level" in said, said
    commands.config.write_text(text.replace("level: city", "level: province"))
    assert "policy: sd-2015" in commands.run("check").stdout
    commands.ok(
        "department", "add", POLICE, "--name", "平阴县公安局", "--region", "370124", "--level", "county"
    )
    assert "370124" in commands.ok("department", "list")


def test_a_policy_that_is_wrong_is_named_with_line_and_column(commands, tmp_path):
    """By check and at start; a whole other law needs no code (fact 1)."""
    source = Path(__file__).parents[2] / "config" / "policy" / "cn-2025.yaml"
    policy = tmp_path / "our.yaml"
    policy.write_text(source.read_text())
    text = commands.config.read_text() + f"\npolicy: {policy}\n"
    commands.config.write_text(text)
    assert "cn-2025: 政务数据共享条例" in commands.run("check").stdout
    lines = source.read_text().splitlines()
    at = next(n for n, line in enumerate(lines, 1) if line.strip().startswith("late_after_cycles"))
    policy.write_text(source.read_text().replace("late_after_cycles: 2", "late_after_cycles: 两次"))
    for words in (("check",), ("serve",)):
        said = commands.refused(*words, code=2)
        assert f"our.yaml:{at}:" in said and "catalogue.late_after_cycles" in said
