"""Figures, use, grounds, disputes and restrictions as people ask for them: the real command line at a real central."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.central import TestCentral, eventually, running
from tests.support.lateness import warn
from tests.support.sharing import BASIS, build_town
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCentral]:
    """One running central."""
    folder = tmp_path_factory.mktemp("central")
    yield from running(folder, f"sqlite:///{folder / 'central.db'}")


def test_figures_use_and_grounds_at_the_command_line(central: TestCentral, tmp_path: Path) -> None:
    """Tables for people with the next step, JSON for programs (SD06.1, SD36.2, SD38.1)."""
    town = build_town(central.engine)
    shell, entry = Shell(central, tmp_path, town), town.entry(share={"name": "conditional"})
    refused = town.ask(entry)["request"]
    town.do("police-admin", "share.refuse", request=refused, basis=BASIS, opinion="与职责无关")
    open_one = town.entry()
    grant = town.granted(open_one)
    said = shell.ok("report", "data-li", "figures", "--department", town.codes["police"])
    assert "济南市police局" in said and f"{BASIS['title']}{BASIS['article']} (1)" in said
    [line] = json.loads(shell.ok("report", "civil-admin", "figures", "--json"))
    assert (line["department"], line["grants_held"]) == (town.codes["civil"], 1)
    shown = shell.ok("report", "police-admin", "consumers", open_one.code)
    assert grant in shown and "核对救助申请人" in shown and "not used" not in shown
    assert grant in shell.ok("report", "civil-admin", "grants")
    told = shell.ok("report", "data-li", "grounds", "--department", town.codes["police"])
    assert "not-sharing: requests refused, or not answered in time: 1 records" in told
    assert f"reads:{town.name('police')}" in told
    done = shell.run("report", "data-li", "grounds", "--ground", "没有")
    assert (done.returncode, "there are: late, not-sharing" in done.stderr) == (1, True)
    done = shell.run("report", "health-admin", "consumers", open_one.code)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_a_ruling_and_a_restriction_at_the_command_line(central: TestCentral, tmp_path: Path) -> None:
    """A ruling suspends with its word; a restriction by the running central's own clock, and lets go (SD25.3, SD28.3)."""
    town = build_town(central.engine)
    shell, entry = Shell(central, tmp_path, town), town.entry()
    grant = town.granted(entry)
    raised = shell.ok("case", "civil-admin", "raise", entry.code, "--text", "生日不符", "--grant", grant)
    number = raised.split()[1]
    for who, verb in (("police-admin", "accept"), ("police-admin", "answer"), ("civil-admin", "dispute")):
        shell.ok("case", who, verb, number, "--text", "已阅")
    assert "authoritative source" in shell.ok("case", "police-admin", "show", number)
    ruled = shell.ok("case", "data-li", "rule", number, "--text", "先停用", "--suspends", grant)
    assert f"exchange-central grant resume {grant}" in ruled
    assert "先停用" in town.permit(grant).refusal(town.now())

    hosted = town.entry(storage="hosted")
    request = town.ask(hosted)["request"]
    for who in ("police-admin", "data-li"):
        answer = town.do(who, "share.agree", request=request)
    own = town.entry(provider=town.codes["civil"])
    warn(central.engine, town.codes["civil"], own.code, "户籍库 逾期 3 天", "active")
    eventually(lambda: "逾期 3 天" in town.permit(answer["grant"]).refusal(town.now()))
    assert "户籍库 逾期 3 天" in shell.ok("case", "civil-admin", "restrictions")
    shell.ok("case", "data-li", "reject", own.code, "--reason", "已补报")
    eventually(lambda: town.permit(answer["grant"]).refusal(town.now()), "")
