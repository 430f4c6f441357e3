"""The policy profiles that come with the program: whole, packed into the wheel, honest about what they do not know."""

from __future__ import annotations

import re
import tomllib
from datetime import date, timedelta
from pathlib import Path

import chinese_calendar
import pytest

from central.catalogue.entry import Mode, ShareType, UpdateCycle
from central.catalogue.rules import RULES
from central.catalogue.rules.facts import period
from central.policy import load_profile, profile_named
from proto.process import SettingsError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config" / "policy"
PROFILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=[path.stem for path in PROFILES])
def test_a_profile_loads_under_its_name(path):
    """And names its text, its lists in the program's own words, and what its text leaves open."""
    profile = load_profile(path)
    catalogue = profile.catalogue
    assert profile.name == path.stem == profile_named(path.stem).name
    assert profile.title and profile.source and profile.open_points
    assert set(catalogue.share_types) == set(ShareType)
    assert set(catalogue.update_cycles) == set(UpdateCycle)
    assert set(catalogue.share_type_words.values()) <= set(ShareType)
    assert {mode for modes in catalogue.modes_for_format.values() for mode in modes} == set(Mode)
    assert all(period(limit) for limit in catalogue.update_limits.values())
    assert len(catalogue.elements) == 7 and "county" not in catalogue.platform_levels
    for needs in (catalogue.basis_needed_for, catalogue.condition_needed_for, catalogue.probe_needed_for):
        assert set(needs) <= set(ShareType)


@pytest.mark.parametrize("path", PROFILES, ids=[path.stem for path in PROFILES])
def test_workdays_are_those_somebody_else_wrote_down(path):
    """Day by day against a package that follows the State Council's yearly notices."""
    calendar = load_profile(path).calendar
    days = [date(2024, 1, 1) + timedelta(n) for n in range((date(2027, 1, 1) - date(2024, 1, 1)).days)]
    wrong = [day for day in days if calendar.is_working(day) != chinese_calendar.is_workday(day)]
    assert {each.year for each in calendar.years} == {2024, 2025, 2026}
    assert wrong == []


def test_every_profile_is_in_the_wheel():
    """As data files; a profile outside this folder is not found in an installed program."""
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    assert packed == {"share/exchange-node/policy": ["config/policy/*.yaml"]}
    assert {path.stem for path in PROFILES} == {"sd-2015", "cn-2025"}


def test_a_wrong_pattern_is_named_with_its_place(tmp_path):
    """Line and column, not a failure at the first entry."""
    text = (FOLDER / "sd-2015.yaml").read_text()
    broken = tmp_path / "broken.yaml"
    broken.write_text(re.sub(r"code_pattern: .*", "code_pattern: '[1-3'", text))
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "code_pattern:" in each)
    with pytest.raises(
        SettingsError, match=rf"broken.yaml:{line}:17: catalogue.code_pattern: is no regular expression"
    ):
        load_profile(broken)


@pytest.mark.parametrize("page", ["catalogue.md", "catalogue.zh-CN.md"])
def test_every_rule_is_explained(page):
    """In both languages."""
    text = (ROOT / "docs" / page).read_text()
    assert [rule.number for rule in RULES if f"| {rule.number} |" not in text] == []
