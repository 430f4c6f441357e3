"""Fixtures are plug-ins, named for what they give."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from demo.system import STARTED, Executing
from tests.support.nursery import Nurseries

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.mariadb",
    "tests.support.proxy",
    "tests.support.department",
    "tests.support.listener",
    "tests.support.mysql",
    "tests.support.rigs",
]


@pytest.fixture(autouse=True, scope="module")
def _umask() -> Iterator[None]:
    """A command that runs in this process makes what it writes private; what later tests make is not its concern."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _cold(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs come from a process that has loaded them, except where a test is about starting them."""
    before = STARTED.by
    if request.node.get_closest_marker("cold"):
        STARTED.by = Executing()
    yield
    STARTED.by = before


STARTED.by = Nurseries()
