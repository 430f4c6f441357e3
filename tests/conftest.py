"""Fixtures are plug-ins, named for what they give."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

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
