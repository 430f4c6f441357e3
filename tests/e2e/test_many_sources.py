"""A node with a source of every kind: each has its own lane, and what happens to one happens to no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.manysources import KINDS, STUCK, Bureaus

pytestmark = pytest.mark.timeout(150)
FIRST: Final = range(1, 4001)
LOAD: Final = range(4001, 8001)
AT_ONCE: Final = 2000
LIMIT_MIB: Final = 200
SOON_S: Final = 8.0
"""Far less than any timeout that a broken source waits for."""


def person(number: int) -> tuple[int, str, str]:
    return number, f"张三{number}", "住址不详，𠮷" + "备注" * 40


def peak_mib(pid: int) -> float:
    """The most memory a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_one_of_each_kind(tmp_path, postgres15, mariadb):
    """First copies and load beside a server that never answers; then each in turn breaks, and comes back."""
    with Bureaus(tmp_path, postgres15, mariadb) as bureaus:
        for kind in KINDS:
            bureaus.all[kind].put(*map(person, FIRST))
        bureaus.system.start()
        bureaus.system.wait_until_listening()
        bureaus.arrives(*KINDS)
        for begin in range(LOAD.start, LOAD.stop, AT_ONCE):
            for kind in KINDS:
                bureaus.all[kind].put(*map(person, range(begin, begin + AT_ONCE)))
        print("load", bureaus.arrives(*KINDS))

        for number, broken in enumerate(KINDS, LOAD.stop):
            others = [kind for kind in KINDS if kind != broken]
            with bureaus.broken(broken):
                for kind in others:
                    bureaus.all[kind].put(person(number))
                print(broken, bureaus.arrives(*others, within_s=SOON_S))
            bureaus.all[broken].put(person(number))
        print("healed", bureaus.arrives(*KINDS, within_s=60))

        bureaus.until_ill(STUCK)
        print(f"peak {peak_mib(bureaus.system.agent.pid):.0f} MiB")
        assert peak_mib(bureaus.system.agent.pid) < LIMIT_MIB
        assert bureaus.system.agent.stop() == 0
