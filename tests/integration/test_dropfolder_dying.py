"""Dying before every single step on the folder: nothing is lost, nothing is taken twice, nothing lies about."""

from __future__ import annotations

import os
from typing import Any

import pytest

from agent.sources.dropfolder import folder as rooms
from agent.sources.dropfolder.settings import ColumnRule, OperationRule
from agent.sources.source import Limits
from proto.values import Kind
from tests.support.dropfolders import Desk
from tests.support.dying import Doom, Killed

RULES = (ColumnRule(name="id", kind=Kind.INT32), ColumnRule(name="name", required=True))
STEPS = ("rename", "unlink", "write", "fsync", "mkdir", "open")


class DyingSystem:
    """The operating system of a process that dies before its n-th step; what the kernel does for the dead goes on."""

    def __init__(self, doom: Doom) -> None:
        self._doom = doom

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in STEPS:
            return call

        def step(*arguments: Any, **options: Any) -> Any:
            self._doom.step()
            return call(*arguments, **options)

        return step


class Clerk:
    """Drops files, each when it is time, whatever becomes of the process that takes them."""

    def __init__(self, desk: Desk, files: list[tuple[str, str]]) -> None:
        self.desk = desk
        self._files = files

    def work(self, rounds: int = 4) -> None:
        """Open, and take what is there; drop the next file whenever nothing comes."""
        desk = self.desk
        desk.open()
        silent = 0
        while silent < rounds:
            batch = desk.source.read(Limits(rows=2, wait_s=0.02))
            if batch is None:
                silent += 1
                if self._files:
                    desk.drop(*self._files.pop(0))
                continue
            silent = 0
            parts = [batch]
            while parts[-1].continues:
                parts += filter(None, [desk.source.read(Limits(rows=2))])
            # The commit: rows and position together.
            for part in parts:
                desk.mirror.apply(part)
            desk.position = parts[-1].position
            desk.source.confirm(desk.position)


def run_dying(tmp_path, monkeypatch, nth, files, **table):
    """Two lives: the first dies before its *nth* step; returns the desk after the second, and whether it died."""
    desk = Desk(tmp_path / "收件", rules=RULES, **table)
    clerk, doom = Clerk(desk, list(files)), Doom(nth)
    desk.open()
    monkeypatch.setattr(rooms, "os", DyingSystem(doom))
    died = False
    try:
        clerk.work()
    except Killed:
        died = True
    monkeypatch.undo()
    desk.source.close()
    clerk.work()
    return desk, died


SNAPSHOTS = [
    ("人员1.csv", "id,name\n1,王\n2,李\n3,张\n"),
    ("人员2.csv", "id,name\n1,王伟\n3,张\n4,赵\n5,钱\n"),
    ("人员3.csv", "id,name\n1,王伟\n4,x\n4,y\n"),
    ("人员4.csv", "id,name\n5,钱\n"),
]
DELTAS = [
    ("人员1.csv", "操作,id,name\n新增,1,王\n新增,2,李\n新增,3,张\n"),
    ("人员2.csv", "操作,id,name\n修改,1,王伟\n坏,7,x\n删除,2,\n"),
    ("人员1.csv", "操作,id,name\n新增,1,王\n新增,2,李\n新增,3,张\n"),
    ("人员4.csv", "操作,id,name\n新增,4,赵\n"),
]


@pytest.mark.parametrize("first", range(1, 200, 33))
def test_dying_before_any_step_with_snapshots(tmp_path, monkeypatch, first):
    """Accepted, refused and held files; the rooms are the same as without the death."""
    for nth in range(first, first + 33, 11):
        place = tmp_path / str(nth)
        place.mkdir()
        desk, died = run_dying(place, monkeypatch, nth, SNAPSHOTS, max_deletes_share=0.5)

        assert desk.rows() == [(1, "王伟"), (3, "张"), (4, "赵"), (5, "钱")]
        assert names(desk, "done") == ["人员1.csv", "人员2.csv"]
        assert (names(desk, "rejected"), names(desk, "held")) == (["人员3.csv"], ["人员4.csv"])
        assert desk.room(".exchange/taken") == []
        assert [hold.split(":")[1].strip() for hold in desk.holds()][-1:] == ["person"]
        desk.source.close()
        if not died:
            return


@pytest.mark.parametrize("first", range(1, 200, 33))
def test_dying_before_any_step_with_deltas(tmp_path, monkeypatch, first):
    """A repeated file stays without effect and a refused row is told once, wherever it ended."""
    for nth in range(first, first + 33, 11):
        place = tmp_path / str(nth)
        place.mkdir()
        table = {"mode": "delta", "operation": OperationRule(header="操作")}
        desk, died = run_dying(place, monkeypatch, nth, DELTAS, **table)

        assert desk.rows() == [(1, "王伟"), (3, "张"), (4, "赵")]
        assert names(desk, "done") == ["人员1.csv", "人员1.csv", "人员2.csv", "人员4.csv"]
        assert names(desk, "rejected", reports=True) == ["人员2.csv.reasons.csv"]
        assert len([name for name in desk.room("done") if name.endswith(".receipt.json")]) == 4
        assert desk.room(".exchange/taken") == []
        desk.source.close()
        if not died:
            return


def names(desk, room, reports=False):
    """The names people gave to what lies in a room."""
    found = [name.partition("~")[2] for name in desk.room(room) if "~" in name]
    return sorted(name for name in found if reports or not name.endswith((".reasons.csv", ".json")))
