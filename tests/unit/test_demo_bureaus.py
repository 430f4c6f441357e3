"""The bureaus of the demonstration: each has settings that are read, and knows what it must prove."""

from __future__ import annotations

import sys

import pytest
from pydantic import TypeAdapter

from agent.sources.kinds import SourceSettings
from demo.__main__ import BUREAUS
from demo.bureaus.files import Clerk, FilesBureau
from demo.show import Show
from demo.system import attempt


@pytest.mark.parametrize("name", BUREAUS)
def test_a_bureau_has_settings_that_are_read(name, tmp_path):
    """Under the names of the tables that it counts."""
    bureau = BUREAUS[name](tmp_path, "密码", tmp_path / "password")
    settings = TypeAdapter[SourceSettings](SourceSettings).validate_python({"name": "hr", **bureau.source})

    assert [table.catalogued for table in settings.tables] == list(bureau.tables)


def test_what_a_clerk_hands_in_is_what_the_bureau_proves_by(tmp_path):
    """Each change of a list changes what must be found at the other end, and only that list's."""
    bureau = FilesBureau(tmp_path, "", tmp_path / "password")
    bureau.folder.mkdir()
    bureau.open(Show())
    before = bureau.known()
    clerk = bureau.working()
    assert isinstance(clerk, Clerk)
    clerk.work()
    after = bureau.known()

    assert before is not None and after is not None
    assert {name for name in before if before[name] != after[name]} == {"迁移登记"}
    assert [path.suffix for path in bureau.folder.iterdir()] == [".csv"]


def test_a_bureau_that_is_not_there_is_refused():
    """With those that are."""
    done = attempt("env", "SOURCE=纸", sys.executable, "-m", "demo")

    assert done.returncode == 2
    assert "postgresql, mysql, sqlite, files" in done.stdout
