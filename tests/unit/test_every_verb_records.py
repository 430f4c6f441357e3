"""Whatever people do at the desk can only be done by way of a record (SD26.1)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from central.desk import VERBS
from central.people import Verb

WITHOUT: frozenset[str] = frozenset({"catalogue.read_notices"})
"""It only marks the person's own messages as read."""


def functions_of(start: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """*start* and every function of ours that it names, directly or through others."""
    waiting, seen = [start], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, functools.partial):
            waiting += [each.func, *(part for part in each.args if callable(part))]
            continue
        if inspect.isclass(each):
            waiting += [member for _, member in inspect.getmembers(each, inspect.isfunction)]
            continue
        if not inspect.isfunction(each) or each in seen or not each.__module__.startswith("central."):
            continue
        seen.add(each)
        yield each
        inside = inspect.getclosurevars(each)
        named = [*inside.globals.values(), *inside.nonlocals.values()]
        modules = [value for value in named if inspect.ismodule(value)]
        waiting += [value for value in named if callable(value)]
        waiting += [
            found
            for module in modules
            for name in each.__code__.co_names
            if callable(found := getattr(module, name, None))
        ]


def records(verb: Verb) -> bool:
    """Whether some way leads to a record."""
    return any(
        "record" in each.__code__.co_names and "audit" not in each.__module__
        for each in functions_of(verb.act)
    )


@pytest.mark.parametrize("verb", [each for each in VERBS if each.writes], ids=lambda verb: verb.name)
def test_a_verb_that_writes_records(verb):
    """A new verb without a record fails here."""
    assert records(verb) is (verb.name not in WITHOUT), verb.name


def test_a_verb_without_a_record_is_found():
    """The judge itself: one that only looks."""
    looking = [each for each in VERBS if not each.writes and each.name.startswith("audit.")]
    assert looking
    assert not any(records(each) for each in looking)
