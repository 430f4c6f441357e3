"""What a platform runs under is on record whenever it changes (SD26.1)."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from central.daemon.chores import settings_in_force
from central.policy import profile_named
from central.store import reading
from central.store.tables import AUDIT
from tests.support.central import TestCentral


@pytest.fixture
def central(tmp_path) -> TestCentral:
    """On a fresh file; not started."""
    return TestCentral(tmp_path / "central", f"sqlite:///{tmp_path}/central.db")


def said(central: TestCentral) -> list[dict[str, object]]:
    """What is on record."""
    with reading(central.engine) as connection:
        rows = connection.scalars(
            select(AUDIT.c.facts).where(AUDIT.c.event == "settings_in_force").order_by(AUDIT.c.n)
        )
        return [json.loads(facts) for facts in rows]


def test_settings_are_on_record_when_they_change(central):
    """At the first start, not at the next, and again with another setting or another policy; never a secret."""
    central.start()
    central.stop()
    central.start()
    central.stop()
    assert len(said(central)) == 1
    changed = central.settings.model_copy(update={"heartbeat_s": 7})
    settings_in_force(central.engine, changed, profile_named())
    settings_in_force(central.engine, changed, profile_named("cn-2025"))
    first, second, third = said(central)

    assert (first["policy"], third["policy"]) == ("sd-2015", "cn-2025")
    assert first["settings"] != second["settings"] == third["settings"]
    assert str(first["who"]).startswith("process of ")
    assert "sqlite:" not in str(first)
