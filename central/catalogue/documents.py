"""What is made from an entry and never written by hand: the interface document (Art. 19), and DCAT for other catalogues."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select

from central.catalogue.arguments import One, Page
from central.catalogue.entry import Entry, Item, Mode
from central.catalogue.keeping import kept
from central.catalogue.reading import demand_sight
from central.people import Turn
from central.store.catalogue import ENTRIES, RELEASED

MODE_NAMES: Final = {
    Mode.EXCHANGE: "数据交换（库表）",
    Mode.QUERY: "在线查询",
    Mode.INTERFACE: "接口服务",
    Mode.CUSTOM: "定制加工",
}
TYPE_NAMES: Final = {
    "C": "字符型 C",
    "N": "数值型 N",
    "Y": "货币型 Y",
    "D": "日期型 D",
    "T": "日期时间型 T",
    "L": "逻辑型 L",
    "M": "备注型 M",
    "G": "通用型 G",
    "B": "双精度型 B",
    "I": "整型 I",
    "F": "浮点型 F",
}
_SAMPLES: Final = {
    "C": '"…"',
    "M": '"…"',
    "G": '"…"',
    "N": "0",
    "Y": "0.00",
    "B": "0.0",
    "F": "0.0",
    "I": "0",
    "L": "true",
    "D": '"CCYY-MM-DD"',
    "T": '"CCYY-MM-DD hh:mm:ss"',
}
_ERRORS: Final = (
    (
        "NOT_GRANTED",
        "没有授权、授权未生效或已到期、已暂停、已撤销，或不在授权的使用者之列",
        "向提供方申请，或查看授权说明",
    ),
    ("LIMIT", "达到授权的行数、次数，或不在授权的时段", "按给出的时间再来"),
    ("NOT_ADMITTED", "证书未知、已吊销或已过期", "联系平台管理员"),
    ("REFUSED", "请求有误，什么也没有改变", "按提示修改"),
    ("TRANSIENT", "暂时的故障", "稍后自动重试"),
    ("BUSY", "对方达到上限", "按给出的时间再来"),
    ("SCHEMA_HOLD", "表结构变化，等待处理", "等待提供方"),
    ("QUARANTINE", "数据不能写入，已留存", "联系提供方"),
)


def document(turn: Turn, told: One) -> dict[str, Any]:
    """The interface document of one version, in Markdown; its version is the contract's."""
    found = kept(turn.connection, told.code, told.version)
    demand_sight(turn, found)
    words = turn.profile.catalogue
    text = interface_document(found.entry, found.version, words.share_types, words.update_cycles)
    return {"code": found.code, "version": found.version, "text": text}


def interface_document(
    entry: Entry, version: int, share_types: dict[str, str], cycles: dict[str, str]
) -> str:
    """Items, types, key, mode, sample, error codes, limits: all from the contract."""
    place = f"{entry.binding.stream} / {entry.binding.table}" if entry.binding else "（未绑定）"
    shared = [item for item in entry.items if item.share_type != "not_shared"]
    held_back = [item.name for item in entry.items if item.share_type == "not_shared"]
    lines = [
        f"# {entry.name} 接口文档",
        "",
        f"资源代码：`{entry.code}`　合同版本：{version}　文档版本：{entry.interface.document_version or version}",
        "",
        f"- 提供方：{entry.provider_name}（{entry.provider}）",
        f"- 摘要：{entry.abstract}",
        f"- 共享类型：{share_types.get(entry.share_type, entry.share_type)}",
        f"- 共享条件：{entry.condition or '—'}",
        f"- 共享范围：{entry.scope or '—'}",
        f"- 共享方式：{'、'.join(MODE_NAMES[mode] for mode in entry.modes)}",
        f"- 更新周期：{cycles.get(entry.update_cycle, entry.update_cycle)}；更新时限：{entry.update_limit}",
        f"- 同步方式：{'增量' if entry.sync == 'increment' else '全量'}；删除{'可见' if entry.deletes_rows else '不可见'}",
        f"- 数据表：{place}",
        *([f"- 来源资源：{'、'.join(f'`{code}`' for code in entry.sources)}"] if entry.sources else []),
        "",
        "## 信息项",
        "",
        "| 序号 | 名称 | 字段 | 类型 | 长度 | 主键 | 共享类型 | 条件 | 标准 |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_item_row(number, item, share_types) for number, item in enumerate(shared, 1)),
        "",
    ]
    if held_back:
        lines += [f"不予共享、不提供的信息项：{'、'.join(held_back)}", ""]
    return "\n".join(lines + _ways(entry) + _sample(shared) + _endings(entry)) + "\n"


def dcat(turn: Turn, told: Page) -> dict[str, Any]:
    """A page of the catalogue in force, as DCAT in JSON-LD."""
    e, r = ENTRIES.c, RELEASED.c
    query = (
        select(e.document, e.code)
        .join(RELEASED, (e.code == r.code) & (e.version == r.version))
        .where(r.until_release.is_(None), r.code > told.after, e.code > told.after)
    )
    query = query.where(e.provider == told.provider) if told.provider else query
    rows = turn.connection.execute(query.order_by(r.code).limit(told.limit)).all()
    words = turn.profile.catalogue
    datasets = [_dataset(Entry.model_validate_json(row.document), words.share_types) for row in rows]
    catalogue = {
        "@context": {
            "dcat": "http://www.w3.org/ns/dcat#",
            "dct": "http://purl.org/dc/terms/",
            "foaf": "http://xmlns.com/foaf/0.1/",
        },
        "@type": "dcat:Catalog",
        "dct:title": turn.platform.name,
        "dcat:dataset": datasets,
    }
    return {"document": catalogue, "after": rows[-1].code if len(rows) == told.limit else ""}


def _dataset(entry: Entry, share_types: dict[str, str]) -> dict[str, Any]:
    kind = "dcat:accessService" if entry.format_class == 7 else "dcat:distribution"
    said: dict[str, Any] = {
        "@type": "dcat:Dataset",
        "dct:identifier": entry.code,
        "dct:title": entry.name,
        "dct:description": entry.abstract,
        "dct:publisher": {
            "@type": "foaf:Organization",
            "dct:identifier": entry.provider,
            "foaf:name": entry.provider_name,
        },
        "dcat:theme": "/".join(entry.class_path),
        "dct:accrualPeriodicity": str(entry.update_cycle),
        "dct:accessRights": share_types.get(entry.share_type, str(entry.share_type)),
        kind: [{"@type": "dcat:Distribution", "dct:format": entry.format_type or str(entry.format_class)}],
    }
    if entry.published_on:
        said["dct:issued"] = entry.published_on
    if entry.related:
        said["dct:relation"] = list(entry.related)
    return said


def _item_row(number: int, item: Item, share_types: dict[str, str]) -> str:
    cells = (
        str(number),
        item.name,
        f"`{item.column}`",
        TYPE_NAMES[item.type],
        str(item.length or "—"),
        "是" if item.is_key else "",
        share_types.get(item.share_type, str(item.share_type)),
        item.condition or "—",
        item.standard or "—",
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _ways(entry: Entry) -> list[str]:
    """How it is had, for each way that is offered (Art. 19, 24)."""
    keys = " ".join(f"--key {item.column}=…" for item in entry.items if item.is_key) or "--where …"
    said = {
        Mode.EXCHANGE: "平台按授权把数据送入使用方节点的前置交换库：`exchange-agent received list`。",
        Mode.QUERY: "授权所列人员在平台逐次查询，须写明用途："
        f"`exchange-central share query 授权号 {keys} --purpose …`。",
        Mode.INTERFACE: "授权所列业务系统经本部门节点（节点证书）查询，无须人员逐次操作："
        f"`exchange-agent query {entry.code} --system 系统名 {keys} --purpose … --json`；"
        "或以节点证书调用 `exchange.v1.Desk/Do`：`verb` 为 `share.query`，`system` 为系统名，"
        f'`arguments` 为 `{{"resource": "{entry.code}", "key": {{…}}, "purpose": "…"}}`。',
        Mode.CUSTOM: "由来源资源加工而成；须各来源提供方与主管部门同意，之后与数据交换相同，送入使用方的前置交换库。",
    }
    lines = [f"- {MODE_NAMES[mode]}：{said[mode]}" for mode in entry.modes]
    return ["## 使用方式", "", *lines, "", "每种方式各自申请、各自授权。", ""]


def _sample(items: list[Item]) -> list[str]:
    inner = [f'  "{item.column}": {_SAMPLES[item.type]}' for item in items]
    return ["## 样例（只有形状，没有真实数据）", "", "```json", "{", ",\n".join(inner), "}", "```", ""]


def _endings(entry: Entry) -> list[str]:
    return [
        "## 错误代码",
        "",
        "| 代码 | 含义 | 怎么办 |",
        "|---|---|---|",
        *(f"| {code} | {meaning} | {fix} |" for code, meaning, fix in _ERRORS),
        "",
        "## 限制",
        "",
        "- 只按授权列明的信息项、范围、方式和期限提供；每次交付带平台回执号。",
        "- 单次查询行数、每小时次数、每日行数和时段以授权为准。",
        f"- 数据落后超过 {entry.update_limit} 即为逾期。",
    ]
