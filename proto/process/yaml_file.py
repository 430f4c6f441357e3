"""YAML without its surprises: plain data, the place of everything in the file, and every fault at once.

Read as YAML 1.2 means it; what YAML 1.1 readers would take for something else is refused and must be quoted, so that no two
readers of one file disagree. No aliases (a few lines can expand to gigabytes), no tags, no second document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from proto.errors import Refused
from proto.process.secrets import expand

LIMIT_BYTES: Final = 256 * 1024
DEPTH: Final = 32
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]+\.[0-9]*(e[-+]?[0-9]+)?|[-+]?\.[0-9]+(e[-+]?[0-9]+)?", re.IGNORECASE)
_TAG: Final = "tag:yaml.org,2002:"
_STANDARD: Final = {
    _TAG + kind
    for kind in ("null", "bool", "int", "float", "str", "map", "seq", "timestamp", "merge", "value")
}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong, and where."""

    at: Mark
    what: str


@dataclass(slots=True)
class Document:
    """The data of a file, where each value and key stands, and what is wrong with it."""

    data: Any = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_document(text: str) -> Document:
    """Read *text*; its faults are in the document."""
    document = Document()
    try:
        document.faults += _forbidden(text)
        if not document.faults:
            root = yaml.compose(text, yaml.SafeLoader)
            if root is not None:
                document.data = _value(root, (), document)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        document.faults.append(Fault(at, f"character U+{ord(text[error.position]):04X} is not allowed"))
    except yaml.MarkedYAMLError as error:
        words = " ".join(filter(None, (error.context, error.problem)))
        document.faults.append(Fault(_mark(error.problem_mark or error.context_mark), f"not YAML: {words}"))
    return document


def _forbidden(text: str) -> list[Fault]:
    """What must be found before nodes are composed, because composing it may not end."""
    faults: list[Fault] = []
    depth = documents = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        at = _mark(event.start_mark)
        match event:
            case yaml.AliasEvent():
                faults.append(
                    Fault(at, f"alias *{event.anchor}: write the value out, aliases are not allowed")
                )
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    faults.append(Fault(at, "a second document: only one is allowed"))
            case yaml.CollectionStartEvent():
                depth += 1
                if depth > DEPTH:
                    return [*faults, Fault(at, f"nested more than {DEPTH} levels deep")]
            case yaml.CollectionEndEvent():
                depth -= 1
    return faults


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    at = document.values[path] = _mark(node.start_mark)
    if node.tag not in _STANDARD:
        document.faults.append(
            Fault(at, f"tag {node.tag.replace(_TAG, '!!')}: only plain values are allowed")
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, number), document) for number, item in enumerate(node.value)]
    try:
        return _scalar(node)
    except Refused as error:
        words = f"{error.what}; {error.fix}" if error.fix else error.what
        document.faults.append(Fault(at, f"{dotted(path)}: {words}"))
        return node.value


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in node.value:
        at = _mark(key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            document.faults.append(Fault(at, "a key must be a word"))
            continue
        inner = (*path, key.value)
        if key.value in result:
            first = document.keys[inner].line
            document.faults.append(Fault(at, f"{dotted(inner)}: given twice, first in line {first}"))
            continue
        document.keys[inner] = at
        result[key.value] = _value(value, inner, document)
    return result


def _scalar(node: yaml.Node) -> Any:
    """A plain scalar as YAML 1.2 reads it, unless YAML 1.1 reads it differently; anything quoted is text."""
    text: str = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        if text.lower() not in {"true", "false"}:
            raise Refused(
                f'{text} is a word to some and true or false to others: write "{text}" in quotes, or true or false'
            )
        return text.lower() == "true"
    if kind == "int":
        if not _INTEGER.fullmatch(text):
            raise Refused(
                f'{text} is not read as the same number everywhere: write "{text}" in quotes, or a plain decimal number'
            )
        return int(text)
    if kind == "float":
        if not _FLOAT.fullmatch(text):
            raise Refused(
                f'{text} is not read as the same number everywhere: write "{text}" in quotes, or a plain decimal number'
            )
        return float(text)
    return expand(text)


def dotted(path: Path) -> str:
    """The path as people write it: ``sources.0.slot``."""
    return ".".join(map(str, path))


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
