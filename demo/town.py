"""Who takes part in the second act, and what their people write into the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openpyxl import load_workbook

from demo.system import NODE

CONSUMER: Final = "civil-affairs"
DISTRICT: Final = "历下区"
POLICE, CIVIL, BUREAU = "11370100004188888K", "11370100004189012K", "11370100MB28464561"
DEPARTMENTS: Final = {POLICE: "济南市公安局", CIVIL: "济南市民政局", BUREAU: "济南市大数据局"}
PLACES: Final = {NODE: POLICE, CONSUMER: CIVIL}


@dataclass(frozen=True, slots=True)
class Official:
    """One who decides."""

    person: str
    name: str
    department: str
    role: str

    @property
    def adding(self) -> tuple[str, ...]:
        """How ``exchange-central`` is told of them."""
        post = ("--department", self.department, "--role", self.role)
        return ("person", "add", self.person, "--name", self.name, *post)


REGISTRAR: Final = Official("li-na", "李娜", POLICE, "registrar")
AUDITOR: Final = Official("wang-wei", "王伟", POLICE, "auditor")
PROVIDER: Final = Official("zhao-jing", "赵静", POLICE, "resource_admin")
ASKING: Final = Official("sun-li", "孙丽", CIVIL, "resource_admin")
AUTHORITY: Final = Official("liu-yang", "刘洋", BUREAU, "authority")
OFFICIALS: Final = (REGISTRAR, AUDITOR, PROVIDER, ASKING, AUTHORITY)

LAW: Final = ("个人信息保护法", "主席令第九十一号", "第二十八条")
REVOKED_BY: Final = (*LAW[:2], "第四十七条")
CONDITION: Final = "用于社会救助核对"
PERSON: Final = "3070101/000001"
_CODES: Final = {"person": PERSON, "household": "3070101/000002", "迁移登记": "3070101/000003"}
CODES: Final = tuple(_CODES.values())
_NAMES: Final = {"person": "常住人口登记信息", "household": "家庭户登记信息", "迁移登记": "户口迁移登记信息"}
_ITEMS: Final = {
    "number": "人口编号",
    "id_number": "公民身份号码",
    "name": "姓名",
    "gender": "性别",
    "born": "出生日期",
    "district": "所在区",
    "household": "户号",
    "phone": "联系电话",
    "income": "收入",
    "profile": "民族与学历",
    "registered": "登记时间",
    "address": "住址",
    "members": "人数",
}
_NOT_SHARED: Final = frozenset({"income"})

ASKED: Final = ("number", "id_number", "name", "born", "district", "phone")
ROWS: Final = f"district = '{DISTRICT}'"
MASKS: Final = ("id_number=keep:3:4", "phone=keep:3:4")
PURPOSE: Final = "核对高龄津贴申请人"


def fill_in(path: Path) -> None:
    """What the registrar makes of the proposals: only people know what a column means and who may have it."""
    book = load_workbook(path)
    for row in _Sheet.rows(book["资源目录"]):
        table = row["数据表"]
        row["信息资源代码"], row["信息资源名称"] = _CODES[table], _NAMES[table]
        row["信息资源分类"], row["信息资源摘要"] = "3/07/010/1", f"{_NAMES[table]}，来自人口业务库"
        row["共享方式"], row["共享条件"], row["共享范围"] = "数据交换、在线查询", CONDITION, "市级部门"
    for row in _Sheet.rows(book["信息项"]):
        table, column = row["信息资源代码"].partition("/")[2], row["字段"]
        row["信息资源代码"], row["信息项名称"] = _CODES[table], _ITEMS.get(column, column)
        if column in _NOT_SHARED:
            row["共享类型"] = "不予共享"
            row["依据名称"], row["依据文号"], row["依据条款"], row["依据类别"] = (*LAW, "法律")
        else:
            row["共享类型"], row["共享条件"] = "有条件共享", CONDITION
    book.save(path)


def items_in(path: Path, code: str) -> list[Mapping[str, str]]:
    """The items of one entry as the workbook has them, by its headings."""
    rows = _Sheet.rows(load_workbook(path)["信息项"])
    return [row.cells for row in rows if row["信息资源代码"] == code]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One row of a sheet, by its headings."""

    sheet: Any
    places: Mapping[str, int]
    number: int

    @staticmethod
    def rows(sheet: Any) -> Iterator[_Sheet]:
        """Every row below the headings."""
        places = {cell.value: cell.column for cell in sheet[1]}
        for number in range(2, sheet.max_row + 1):
            yield _Sheet(sheet, places, number)

    @property
    def cells(self) -> dict[str, str]:
        """All of it."""
        return {heading: self[heading] for heading in self.places}

    def __getitem__(self, heading: str) -> str:
        return str(self.sheet.cell(self.number, self.places[heading]).value or "")

    def __setitem__(self, heading: str, value: str) -> None:
        self.sheet.cell(self.number, self.places[heading]).value = value
