"""The example settings are whole and true: they load, and they name every setting there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import agent.settings
import central.settings
from agent.sources.kinds import AnySettings
from proto.process import Section, load_settings

CONFIG = Path(__file__).parents[2] / "config"
AGENT = CONFIG / "agent.example.yaml"
EXAMPLES: dict[str, type[Section]] = {"agent": agent.settings.Settings, "central": central.settings.Settings}


@pytest.fixture(autouse=True)
def _credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the unit's LoadCredential= would bring them."""
    for name in re.findall(r"\$\{cred:(\w+)\}", AGENT.read_text()):
        (tmp_path / name).write_text("p@ss word/1\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))


@pytest.mark.parametrize("daemon", EXAMPLES)
def test_an_example_loads(daemon):
    """Whoever starts from it starts from something that works."""
    assert load_settings(CONFIG / f"{daemon}.example.yaml", EXAMPLES[daemon])


def test_the_agents_example_has_every_kind_of_source(tmp_path):
    """Whoever takes the # away from an alternative has a source that works beside the others."""
    shown = tmp_path / "agent.yaml"
    shown.write_text(with_every_source(AGENT.read_text()))

    found = [source.kind for source in load_settings(shown, agent.settings.Settings).sources]

    assert sorted(found) == sorted(kinds())


@pytest.mark.parametrize("daemon", EXAMPLES)
def test_an_example_names_every_setting(daemon):
    """What is not in the example cannot be found; a commented line counts."""
    text = (CONFIG / f"{daemon}.example.yaml").read_text()

    assert [name for name in settings_of(EXAMPLES[daemon]) if f"{name}:" not in text] == []


def test_the_agents_example_is_explained():
    """Settings without a word above or beside them are a riddle."""
    lines = (CONFIG / "agent.example.yaml").read_text().splitlines()

    assert sum(line.strip().startswith("#") for line in lines) > len(lines) / 3


def with_every_source(text: str) -> str:
    """The example with the # taken from every source in it; what is a comment inside of one stays a comment."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("  # - kind:") or (inside and line.startswith("  #  "))
        lines.append("  " + line[4:] if inside else line)
    return "\n".join(lines) + "\n"


def kinds() -> list[str]:
    """Every kind there is, as settings write it."""
    return [
        kind
        for section in get_args(AnySettings)
        for kind in get_args(section.model_fields["kind"].annotation)
    ]


def settings_of(model: type[BaseModel]) -> Iterator[str]:
    """The name of every setting, of every section."""
    for name, field in model.model_fields.items():
        yield name
        for section in _sections(field.annotation):
            yield from settings_of(section)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
