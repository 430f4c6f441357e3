"""Who takes part in the second act, and what their people write into the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

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


REGISTRAR: Final = Official("li-na", "李娜", POLICE, "registrar")
AUDITOR: Final = Official("wang-wei", "王伟", POLICE, "auditor")
PROVIDER: Final = Official("zhao-jing", "赵静", POLICE, "resource_admin")
ASKING: Final = Official("sun-li", "孙丽", CIVIL, "resource_admin")
AUTHORITY: Final = Official("liu-yang", "刘洋", BUREAU, "authority")
OFFICIALS: Final = (REGISTRAR, AUDITOR, PROVIDER, ASKING, AUTHORITY)

LAW: Final = {
    "title": "个人信息保护法",
    "document_no": "主席令第九十一号",
    "article": "第二十八条",
    "kind": "law",
}
REVOKED_BY: Final = {**LAW, "article": "第四十七条"}
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


def entry_of(proposal: dict[str, Any]) -> dict[str, Any]:
    """What the registrar makes of a proposal: only people know what a column means and who may have it."""
    table = proposal["binding"]["table"]
    return {
        **proposal,
        "code": _CODES[table],
        "name": _NAMES[table],
        "class_path": ["3", "07", "010", "1"],
        "abstract": f"{_NAMES[table]}，来自人口业务库",
        "condition": "用于社会救助核对",
        "scope": "市级部门",
        "modes": ["exchange", "query"],
        "items": [_item(item) for item in proposal["items"]],
    }


def _item(item: dict[str, Any]) -> dict[str, Any]:
    column = item["column"]
    named = {
        **item,
        "name": _ITEMS.get(column, column),
        "is_personal": column in {"id_number", "name", "phone"},
    }
    if column in _NOT_SHARED:
        return {**named, "share_type": "not_shared", "basis": LAW}
    return {**named, "share_type": "conditional", "condition": "用于社会救助核对"}
