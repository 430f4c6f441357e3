"""The headings of both sheets, the field each fills, and how its cell is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from central.policy.catalogue import CataloguePolicy

ENTRIES: Final = "资源目录"
ITEMS: Final = "信息项"
CODE: Final = "信息资源代码"
_PARTS: Final = re.compile(r"[、,，;；\s]+")
_YES: Final = {"是": True, "有": True, "y": True, "yes": True, "1": True, "true": True, "√": True}
_NO: Final = {"否": False, "无": False, "n": False, "no": False, "0": False, "false": False, "": False}
_MODES: Final = {
    "数据交换": "exchange",
    "库表交换": "exchange",
    "文件交换": "exchange",
    "在线查询": "query",
    "查询": "query",
    "接口服务": "interface",
    "接口": "interface",
    "定制加工": "custom",
    "定制": "custom",
}
_KINDS: Final = {"基础": "base", "主题": "theme", "业务": "business", "部门": "business"}
_BASES: Final = {"法律": "law", "法规": "regulation", "行政法规": "regulation", "规章": "rule"}
_FORMATS: Final = {
    "电子文件": "1",
    "电子表格": "2",
    "数据库": "3",
    "图形图像": "4",
    "流媒体": "5",
    "自描述格式": "6",
    "服务接口": "7",
}


class CellWrong(Exception):
    """A cell that cannot be understood, and what is wrong with it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


Convert = Callable[[str, CataloguePolicy], Any]
ToWord = Callable[[str, CataloguePolicy], str]


@dataclass(frozen=True, slots=True)
class Heading:
    """One column of a sheet."""

    title: str
    field: str
    """Dotted place in the entry or the item."""
    convert: Convert
    rule: str = "V01"
    """Which rule a wrong cell breaks."""
    example: str = ""
    also: tuple[str, ...] = ()
    """Other titles it is known by."""


def text(cell: str, _policy: CataloguePolicy) -> str:
    """As it stands."""
    return cell


def _code(cell: str, policy: CataloguePolicy) -> str:
    if not re.fullmatch(policy.code_pattern, cell, re.ASCII):
        raise CellWrong(f"{cell[:40]!r} does not fit the pattern of codes")
    return cell


def _parts(cell: str, _policy: CataloguePolicy) -> list[str]:
    return [part for part in _PARTS.split(cell) if part]


def _class_path(cell: str, _policy: CataloguePolicy) -> list[str]:
    return [part for part in re.split(r"[/\\-]", cell) if part]


def _flag(cell: str, _policy: CataloguePolicy) -> bool:
    found = {**_YES, **_NO}.get(cell.casefold())
    if found is None:
        raise CellWrong(f"{cell[:20]!r} is neither 是 nor 否")
    return found


def _whole(cell: str, _policy: CataloguePolicy) -> int:
    if not re.fullmatch(r"\d{1,15}", cell, re.ASCII):
        raise CellWrong(f"{cell[:20]!r} is no whole number")
    return int(cell)


def _number(cell: str, _policy: CataloguePolicy) -> float:
    try:
        return float(cell)
    except ValueError:
        raise CellWrong(f"{cell[:20]!r} is no number") from None


def _word(words: Mapping[str, str]) -> ToWord:
    def convert(cell: str, _policy: CataloguePolicy) -> str:
        if cell in words.values():
            return cell
        if cell not in words:
            raise CellWrong(f"{cell[:20]!r} is none of {'、'.join(words)}")
        return words[cell]

    return convert


def _share_type(cell: str, policy: CataloguePolicy) -> str:
    words = {**policy.share_type_words, **{name: key for key, name in policy.share_types.items()}}
    return _word(words)(cell, policy)


def _cycle(cell: str, policy: CataloguePolicy) -> str:
    return _word({name: key for key, name in policy.update_cycles.items()})(cell, policy)


def _modes(cell: str, policy: CataloguePolicy) -> list[str]:
    return [_word(_MODES)(part, policy) for part in _parts(cell, policy)]


def _format(cell: str, policy: CataloguePolicy) -> int:
    return int(_word(_FORMATS)(cell.rstrip("."), policy))


def _secret(cell: str, policy: CataloguePolicy) -> bool:
    return cell == "涉密" or (cell not in ("非涉密", "不涉密") and _flag(cell, policy))


ENTRY_HEADINGS: Final = (
    Heading(CODE, "code", _code, "V02", "3070101/000001"),
    Heading("信息资源名称", "name", text, "V01", "常住人口信息"),
    Heading("信息资源分类", "class_path", _class_path, "V02", "3/07/010/1"),
    Heading("信息资源提供方", "provider_name", text, "V01", "济南市公安局"),
    Heading("信息资源提供方代码", "provider", text, "V04", "11370100004188888C"),
    Heading("信息资源摘要", "abstract", text, "V01", "本市常住人口基本信息"),
    Heading("信息资源格式分类", "format_class", _format, "V07", "数据库", ("信息资源格式",)),
    Heading("信息资源格式类型", "format_type", text, "V07", "PostgreSQL"),
    Heading("共享类型", "share_type", _share_type, "V01", "有条件共享"),
    Heading("共享条件", "condition", text, "V08", "用于社会救助核对"),
    Heading("共享范围", "scope", text, "V22", "市级部门"),
    Heading("共享方式", "modes", _modes, "V07", "数据交换、在线查询"),
    Heading("依据名称", "basis.title", text, "V09"),
    Heading("依据文号", "basis.document_no", text, "V09"),
    Heading("依据条款", "basis.article", text, "V09"),
    Heading("依据类别", "basis.kind", _word(_BASES), "V09"),
    Heading("是否向社会开放", "is_open", _flag, "V01", "否"),
    Heading("开放条件", "open_condition", text),
    Heading("更新周期", "update_cycle", _cycle, "V14", "每日"),
    Heading("更新周期说明", "update_cycle_text", text, "V14"),
    Heading("更新时限", "update_limit", text, "V14", "P1D"),
    Heading("发布日期", "published_on", text, "V17", "2026-01-31"),
    Heading("关联资源代码", "related", _parts, "V19"),
    Heading("涉密属性", "is_secret", _secret, "V20", "非涉密"),
    Heading("层级属性", "level", _word({"部门": "department", "国家": "national"}), "V01", "部门"),
    Heading("存储方式", "storage", _word({"自有": "own", "托管": "hosted"}), "V01", "自有"),
    Heading("资源类别", "kind", _word(_KINDS), "V01", "业务"),
    Heading("主题", "theme", text),
    Heading("物理删除", "deletes_rows", _flag, "V01", "是"),
    Heading("同步方式", "sync", _word({"增量": "increment", "全量": "full"}), "V01", "增量"),
    Heading("来源资源代码", "sources", _parts, "V19"),
    Heading("数据流", "binding.stream", text, "V16", "police-node/hr"),
    Heading("数据表", "binding.table", text, "V16", "person"),
    Heading("总存储量GB", "survey.total_gib", _number, "V18"),
    Heading("结构化记录数", "survey.structured_rows", _whole, "V18"),
    Heading("共享存储量GB", "survey.shared_gib", _number, "V18"),
    Heading("共享记录数", "survey.shared_rows", _whole, "V18"),
    Heading("开放存储量GB", "survey.opened_gib", _number, "V18"),
    Heading("开放记录数", "survey.opened_rows", _whole, "V18"),
)
ITEM_HEADINGS: Final = (
    Heading(CODE, "code", text, "V10", "3070101/000001"),
    Heading("信息项名称", "name", text, "V10", "公民身份号码"),
    Heading("字段", "column", text, "V11", "id_no"),
    Heading("数据类型", "type", text, "V10", "C"),
    Heading("长度", "length", _whole, "V10", "18"),
    Heading("主键", "is_key", _flag, "V13", "是"),
    Heading("共享类型", "share_type", _share_type, "V01", "有条件共享"),
    Heading("共享条件", "condition", text, "V08"),
    Heading("依据名称", "basis.title", text, "V09"),
    Heading("依据文号", "basis.document_no", text, "V09"),
    Heading("依据条款", "basis.article", text, "V09"),
    Heading("依据类别", "basis.kind", _word(_BASES), "V09"),
    Heading("是否向社会开放", "is_open", _flag, "V01", "否"),
    Heading("开放条件", "open_condition", text),
    Heading("敏感级别", "sensitivity", _whole, "V23", "2"),
    Heading("个人信息", "is_personal", _flag, "V23", "是"),
    Heading("数据元标准", "standard", text, "V10", "DE00001 公民身份号码"),
)
