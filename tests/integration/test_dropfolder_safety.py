"""A folder that others can write to: no name leads out of it, nothing that is not a plain file is opened."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from agent.sources.dropfolder.settings import ColumnRule
from agent.sources.source import Limits
from proto.errors import Credential, Fenced
from tests.support.dropfolders import Desk

RULES = (ColumnRule(name="id"), ColumnRule(name="name"))
GOOD = "id,name\n1,王\n"
SECRET = "id,name\n7,密\n"


@pytest.fixture
def desk(tmp_path):
    """A clerk's desk, the source open, and a secret beside it."""
    (tmp_path / "秘密.csv").write_text(SECRET)
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.open()
    yield desk
    desk.source.close()


def put_symlink(folder):
    (folder / "人员.csv").symlink_to("../秘密.csv")


def put_absolute_symlink(folder):
    (folder / "人员.csv").symlink_to(folder.parent / "秘密.csv")


def put_hard_link(folder):
    os.link(folder.parent / "秘密.csv", folder / "人员.csv")


def put_pipe(folder):
    os.mkfifo(folder / "人员.csv")


def put_socket(folder):
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(str((folder / "人员.csv").resolve()))


@pytest.mark.parametrize("put", [put_symlink, put_absolute_symlink, put_hard_link, put_pipe, put_socket])
def test_what_is_no_plain_file_is_turned_away_unopened(desk, put):
    """It lies in rejected/ as it was, with the reason; the stream goes on."""
    put(desk.folder)
    desk.drop("人员好.csv", GOOD)
    desk.take()

    assert desk.rows() == [("1", "王")]
    assert "不是普通文件" in desk.reasons()[0][4]
    assert "000000001~人员.csv" in desk.room("rejected")
    assert (desk.folder.parent / "秘密.csv").read_text() == SECRET


def test_a_file_exchanged_for_a_link_while_it_is_taken_is_refused(desk, monkeypatch):
    """Between the look and the rename the name may become another's."""
    desk.drop("人员.csv", GOOD)
    move = desk.source._lane.folder.move

    def swapped(name, room, to_name, to_room):
        if not room:
            (desk.folder / name).unlink()
            put_symlink(desk.folder)
        return move(name, room, to_name, to_room)

    monkeypatch.setattr(desk.source._lane.folder, "move", swapped)
    desk.take()

    assert "不是普通文件" in desk.reasons()[0][4]
    assert desk.mirror.tables == {}


def test_names_that_are_hard_to_bear(desk):
    """Line breaks, terminal commands, other systems' paths, very long ones: files like others, or left alone."""
    names = [
        "人员\n1.csv",
        "人员\x1b[31m.csv",
        "人员..\\..\\x.csv",
        "人员;rm -rf ~.csv",
        "人员" + "长" * 60 + ".csv",
    ]
    for name in names:
        desk.drop(name, GOOD)
        desk.take()
    too_long = desk.folder / ("人员" + "长" * 70 + ".csv")
    too_long.write_text(GOOD)
    undecodable = desk.folder / os.fsdecode("人员\x1b\n".encode() + b"\xff.csv")
    undecodable.write_text("id\n1\n")
    desk.take()
    told = {finding.name: finding for finding in desk.source.check()}

    assert too_long.exists()
    assert not told["names"].passed
    assert not undecodable.exists()
    assert len([name for name in desk.room("done") if not name.endswith(".json")]) == 5
    assert [hold.isprintable() for hold in desk.holds()] == [True]


def test_a_folder_named_like_a_file_and_the_rooms_are_left_alone(desk):
    """Only files are taken, and our own rooms never are."""
    (desk.folder / "人员.csv").mkdir()
    (desk.folder / "~$人员.xlsx").write_text("")
    (desk.folder / "人员.csv.part").write_text(GOOD)
    desk.take()

    assert (desk.folder / "人员.csv").is_dir()
    assert desk.mirror.tables == {}


def test_a_folder_that_everybody_may_write_is_refused(tmp_path):
    """Anybody could put in a table then; the command that mends it is named."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.folder.chmod(0o777)
    finding = desk.source.check()[0]

    assert (finding.passed, finding.fix) == (False, f"chmod o-w {desk.folder}")
    with pytest.raises(Credential, match="every account"):
        desk.open()


@pytest.mark.parametrize("room", ["done", ".exchange", "rejected"])
def test_a_room_made_by_another_is_refused(tmp_path, room):
    """A link in its place would lead our files out, another owner could exchange them."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    (tmp_path / "外").mkdir()
    (desk.folder / room).symlink_to(tmp_path / "外")
    with pytest.raises(Exception, match="hr"):
        desk.open()
    (desk.folder / room).unlink()
    (desk.folder / room).mkdir()
    (desk.folder / room).chmod(0o777)
    with pytest.raises(Credential, match="belongs to another account or all may write"):
        desk.open()


def test_the_folder_itself_may_be_no_link(tmp_path):
    """Who can exchange it could send us anywhere."""
    (tmp_path / "真").mkdir()
    (tmp_path / "收件").symlink_to(tmp_path / "真")
    desk = Desk(tmp_path / "收件", rules=RULES)

    assert not desk.source.check()[0].passed
    with pytest.raises(Exception, match="hr"):
        desk.open()


def test_a_second_agent_is_fenced(desk):
    """And may go on when the first lets go."""
    other = Desk(desk.folder, rules=RULES)
    other.position = desk.position
    with pytest.raises(Fenced, match="another agent"):
        other.open()
    desk.source.close()
    other.open()
    other.source.close()


def test_writers_that_come_and_go_never_end_us(desk):
    """Asking whether somebody writes a file breaks nobody's work, and no signal of that ends the process."""
    path = desk.folder / "人员.csv"
    path.write_text(GOOD)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with path.open("r+"):
                pass

    writer = threading.Thread(target=write)
    writer.start()
    folder = desk.source._lane.folder
    answers = {folder.is_being_written("人员.csv") for _ in range(2000)}
    stop.set()
    writer.join()

    assert answers <= {True, False}
    assert not folder.is_being_written("人员.csv")


def test_check_reads_the_beginning_of_what_waits(tmp_path):
    """Before the agent starts, and without touching anything."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.drop("人员1.csv", GOOD)
    desk.drop("人员2.csv", "id,姓\n")
    desk.drop("人员3.csv", "id,name\n,王\n")
    desk.drop("别的.txt", "x")
    before = sorted(path.name for path in desk.folder.iterdir())
    told = {finding.name: finding for finding in desk.source.check()}

    assert [told[f"file 人员{n}.csv"].passed for n in (1, 2, 3)] == [True, False, False]
    assert "别的.txt" in told["names"].sentence
    assert sorted(path.name for path in desk.folder.iterdir()) == before


def test_a_stop_ends_the_reading_of_a_large_file(desk):
    """Soon, and nothing of it is handed out; the next start reads it again."""
    desk.drop("人员.csv", "id,name\n" + "".join(f"{n},王\n" for n in range(20_000)))
    desk.source.stop_waiting()
    assert desk.source.read(Limits(wait_s=30)) is None
    assert len(desk.room(".exchange/taken")) == 1
    desk.source.close()
    desk.open()
    batch = desk.source.read(Limits(rows=30_000, wait_s=30))

    assert sum(delta.rows for delta in batch.deltas) == 20_000
