"""One YAML file becomes one frozen model, or a list of everything that is wrong with it, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from proto.errors import Refused
from proto.process.yaml_file import LIMIT_BYTES, Document, Fault, Mark, dotted, read_document

_Model = TypeVar("_Model", bound=BaseModel)


class Section(BaseModel):
    """Base of every section of the settings: frozen, and a misspelt name is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SettingsError(Refused):
    """The settings file is wrong; the message has one line ``file:line:column: what is wrong`` per fault."""

    code = "SETTINGS"

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))
        lines = (f"{file}:{fault.at.line}:{fault.at.column}: {fault.what}" for fault in self.faults)
        super().__init__("\n".join(lines))

    def __str__(self) -> str:
        return self.what


def load_settings(path: Path | str, model: type[_Model]) -> _Model:
    """Read, expand and check the file; raises SettingsError with every fault at once."""
    document = read_document(_read(path))
    if not isinstance(document.data, dict):
        what = (
            "the file holds no settings"
            if document.data is None
            else "the file must be a mapping of settings"
        )
        raise SettingsError(str(path), document.faults or [Fault(Mark(1, 1), what)])
    faults = document.faults
    try:
        settings = model.model_validate(document.data)
    except ValidationError as error:
        known = {fault.at for fault in faults}
        for detail in error.errors(include_url=False):
            fault = _fault(detail, document, model)
            # A value that could not be read is not also blamed for its type.
            if detail["type"] == "missing" or fault.at not in known:
                faults.append(fault)
    if faults:
        raise SettingsError(str(path), faults)
    return settings


def _read(path: Path | str) -> str:
    def wrong(what: str) -> SettingsError:
        return SettingsError(str(path), [Fault(Mark(1, 1), what)])

    try:
        with Path(path).open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}") from error
    if len(content) > LIMIT_BYTES:
        raise wrong(f"larger than {LIMIT_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise SettingsError(str(path), [Fault(Mark(line, column), "not UTF-8 text")]) from error


def _fault(detail: ErrorDetails, document: Document, model: type[BaseModel]) -> Fault:
    missing = detail["type"] == "missing"
    path = _path(detail["loc"], document, missing)
    if detail["type"] == "extra_forbidden":
        words = "unknown setting" + _did_you_mean(str(path[-1]), detail["loc"], model)
        return Fault(document.keys[path], f"{dotted(path)}: {words}")
    words = (
        "is missing"
        if missing
        else detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    )
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        words += "; put it in quotes"
    return Fault(_nearest(path, document), ": ".join(filter(None, (dotted(path), words))))


def _path(loc: tuple[str | int, ...], document: Document, missing: bool) -> tuple[str | int, ...]:
    """The place in the file that *loc* speaks of, without the tags of unions that pydantic mixes in."""
    path: tuple[str | int, ...] = ()
    for number, part in enumerate(loc):
        if (*path, part) in document.values or (missing and number == len(loc) - 1):
            path = (*path, part)
    return path


def _nearest(path: tuple[str | int, ...], document: Document) -> Mark:
    """Where the value stands; for one that is not there, where the section that lacks it begins."""
    if path in document.values:
        return document.values[path]
    parent = path[:-1]
    return document.keys.get(parent) or document.values.get(parent) or Mark(1, 1)


def _did_you_mean(word: str, loc: tuple[str | int, ...], model: type[BaseModel]) -> str:
    names = {name for each in _models_at(loc[:-1], model) for name in each.model_fields}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), sorted(names), n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def _models_at(loc: tuple[str | int, ...], model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that may stand at *loc*: a name leads into a field, a union's tag chooses among them."""
    models = [model]
    for part in loc:
        into = [field.annotation for each in models if (field := each.model_fields.get(str(part)))]
        if into:
            models = [inner for annotation in into for inner in _models_in(annotation)]
        elif isinstance(part, str):
            models = [each for each in models if _tagged(each, part)] or models
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _tagged(model: type[BaseModel], tag: str) -> bool:
    return any(
        get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
        for field in model.model_fields.values()
    )
