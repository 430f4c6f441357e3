"""The expression as JSON: one form, nothing in it that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proto.errors import Refused
from proto.predicate.tree import (
    MAX_DEPTH,
    OPERATORS,
    And,
    Compare,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    StartsWith,
    check,
)

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(OPERATORS, ("column", "value")),
    "in": ("column", "values"),
    "starts with": ("column", "prefix"),
    "is null": ("column",),
    "and": ("parts",),
    "or": ("parts",),
    "not": ("part",),
}


def to_json(predicate: Predicate) -> dict[str, Any]:
    """What :func:`from_json` reads back."""
    check(predicate)
    return _form(predicate)


def from_json(form: object) -> Predicate:
    """The expression of a parsed JSON document. Raises Refused with the place that is wrong."""
    predicate = _read(form, "rows", 1)
    check(predicate)
    return predicate


def _form(node: Predicate) -> dict[str, Any]:
    match node:
        case Compare():
            return {"op": node.op, "column": node.column, "value": node.value}
        case In():
            return {"op": "in", "column": node.column, "values": list(node.values)}
        case StartsWith():
            return {"op": "starts with", "column": node.column, "prefix": node.prefix}
        case IsNull():
            return {"op": "is null", "column": node.column}
        case And() | Or():
            return {"op": type(node).__name__.lower(), "parts": [_form(part) for part in node.parts]}
        case Not():
            return {"op": "not", "part": _form(node.part)}


def _read(form: object, where: str, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise Refused(f"conditions are nested more than {MAX_DEPTH} deep", where="rows")
    if not isinstance(form, Mapping):
        raise Refused("a condition is not an object", where=where)
    op = form.get("op")
    if not isinstance(op, str) or op not in _KEYS:
        raise Refused("'op' is missing or unknown", where=where, fix=f"use one of: {', '.join(_KEYS)}")
    if set(form) != {"op", *_KEYS[op]}:
        raise Refused(
            f"'{op}' takes other keys", where=where, fix=f"give exactly: op, {', '.join(_KEYS[op])}"
        )
    if op == "not":
        return Not(_read(form["part"], f"{where}.part", depth + 1))
    if op in ("and", "or"):
        found = enumerate(_list(form["parts"], f"{where}.parts"))
        parts = tuple(_read(part, f"{where}.parts[{at}]", depth + 1) for at, part in found)
        return And(parts) if op == "and" else Or(parts)
    return _condition(op, form, where)


def _condition(op: str, form: Mapping[str, object], where: str) -> Predicate:
    column = _text(form["column"], f"{where}.column")
    match op:
        case "in":
            values = enumerate(_list(form["values"], f"{where}.values"))
            return In(column, tuple(_text(value, f"{where}.values[{at}]") for at, value in values))
        case "starts with":
            return StartsWith(column, _text(form["prefix"], f"{where}.prefix"))
        case "is null":
            return IsNull(column)
        case _:
            return Compare(column, op, _text(form["value"], f"{where}.value"))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise Refused("is not text", where=where, fix='literals are texts, also of numbers: "18"')
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise Refused("is not a list", where=where)
    return value
