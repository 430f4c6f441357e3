"""What dropped files do to a table: snapshots, deltas, holds, copies; each file once, whatever happens."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from agent.sources.dropfolder.settings import ColumnRule, OperationRule
from agent.sources.source import Limits
from proto.batch import Batch
from proto.errors import BadRow, Diverged, Transient
from proto.values import Kind
from tests.support.dropfolders import Desk
from tests.support.rigs import SOON

RULES = (ColumnRule(name="id", kind=Kind.INT32), ColumnRule(name="name", required=True))
DELTA = {"mode": "delta", "rules": RULES, "operation": OperationRule(header="操作")}


@pytest.fixture
def desk(tmp_path):
    """Whole files."""
    desk = Desk(tmp_path / "收件", rules=RULES, max_deletes_share=0.5)
    desk.open()
    yield desk
    desk.source.close()


@pytest.fixture
def changes(tmp_path):
    """Files of changes."""
    desk = Desk(tmp_path / "收件", **DELTA)
    desk.open()
    yield desk
    desk.source.close()


def table(*rows):
    """A CSV of whole rows."""
    return "id,name\n" + "".join(f"{number},{name}\n" for number, name in rows)


def receipt(desk, number):
    """The receipt of an accepted file."""
    name = next(
        name for name in desk.room("done") if name.startswith(f"{number:09}") and name.endswith(".json")
    )
    return json.loads((desk.folder / "done" / name).read_text())


def test_a_snapshot_becomes_the_table(desk):
    """New rows come, others change, missing ones go, equal ones make no change."""
    desk.drop("人员1.csv", table((1, "王"), (2, "李"), (3, "张")))
    desk.take()
    desk.drop("人员2.csv", table((3, "张"), (2, "李娜"), (4, "赵")))
    desk.take()
    told = receipt(desk, 2)

    assert desk.rows() == [(2, "李娜"), (3, "张"), (4, "赵")]
    assert [told[name] for name in ("rows", "inserted", "updated", "deleted")] == [3, 1, 1, 1]
    assert told["position"] == desk.position
    assert len(told["sha256"]) == 64
    assert told["confirmed_at"]


def test_a_snapshot_that_says_nothing_new_changes_nothing(desk):
    """In whatever order its rows stand."""
    desk.drop("人员1.csv", table((1, "王"), (2, "李")))
    desk.take()
    desk.drop("人员2.csv", table((2, "李"), (1, "王")))
    batch = None
    while batch is None:
        batch = desk.source.read(SOON)

    assert (batch.rows, batch.position) == (0, desk.source._lane.ledger.position(2))


def test_a_snapshot_dropped_again_is_a_read_and_an_empty_folder_is_none(desk):
    """Whoever gives the same table again says that it is still so; nobody says anything by giving nothing (SD23.1)."""
    assert desk.source.read_at() == {}
    desk.drop("人员1.csv", table((1, "王"), (2, "李")))
    desk.take()
    first = desk.source.read_at()["person"]
    desk.take()
    assert desk.source.read_at() == {"person": first}
    desk.drop("人员2.csv", table((1, "王"), (2, "李")))
    desk.take()
    assert desk.source.read_at()["person"] > first
    desk.source.close()
    assert desk.source.read_at()["person"] > first


def test_half_a_file_is_held_until_a_person_says_that_it_is_meant(desk):
    """A share of deletes over the limit; the order of a fresh copy takes the held file."""
    desk.drop("人员1.csv", table(*((n, "王") for n in range(10))))
    desk.take()
    desk.drop("人员2.csv", table((1, "王"), (2, "王")))
    desk.take()
    holds = desk.holds()

    assert len(desk.rows()) == 10
    assert desk.room("held") == ["000000002~人员2.csv"]
    assert "would delete 8 of 10 rows" in holds[0]
    assert "exchange-agent snapshot person" in holds[0]

    desk.copy()
    assert desk.rows() == [(1, "王"), (2, "王")]
    assert desk.room("held") == []


def test_a_held_file_is_replaced_by_a_whole_one(desk):
    """The copy then takes the newer file, and the held one is put aside."""
    desk.drop("人员1.csv", table(*((n, "王") for n in range(10))))
    desk.take()
    desk.drop("人员2.csv", table((1, "王")))
    desk.take()
    desk.drop("人员3.csv", table(*((n, "李") for n in range(9))))
    desk.take()
    assert len(desk.rows()) == 10
    desk.copy()

    assert desk.rows() == [(n, "李") for n in range(9)]
    assert desk.room("rejected") == ["000000002~人员2.csv"]


def test_a_hold_outlives_a_restart_until_the_table_is_copied(desk):
    """It is told again, so that a crash cannot lose it; afterwards the files flow."""
    desk.drop("人员1.csv", "id\n1\n")
    desk.take()
    assert len(desk.holds()) == 1
    desk.source.close()
    desk.open()
    desk.drop("人员2.csv", table((1, "王")))
    desk.take()
    assert (desk.rows(), len(desk.holds())) == ([], 1)
    desk.copy()
    desk.drop("人员3.csv", table((1, "王"), (2, "李")))
    desk.take()
    desk.source.close()
    desk.open()

    assert desk.rows() == [(1, "王"), (2, "李")]
    assert desk.holds() == []


def test_changes_are_applied_in_order(changes):
    """The last word on a key counts, within a file and between files."""
    changes.drop("人员1.csv", "操作,id,name\n新增,1,王\n修改,1,王伟\n新增,2,李\nDELETE,2,\ninsert,3,张\n")
    changes.take()
    changes.drop("人员2.csv", "操作,id,name\n删除,3,\n修改,1,王伟伟\n")
    changes.take()

    assert changes.rows() == [(1, "王伟伟")]


def test_good_rows_of_a_delta_go_on_and_bad_ones_are_told(changes):
    """The clerk mends the rest and drops that."""
    changes.drop("人员1.csv", "操作,id,name\n新增,1,王\n新增,x,李\n不知,3,张\n新增,4,\n")
    changes.take()

    assert changes.rows() == [(1, "王")]
    assert [(row[2], row[3]) for row in changes.reasons()] == [("3", "id"), ("4", "操作"), ("5", "name")]
    assert receipt(changes, 1)["rejected_rows"] == 3
    assert changes.holds() == []


def test_refused_rows_are_told_until_their_report_is_removed(changes):
    """After a restart as well, after clean files too; never a value of them. Refused files are told by their hold."""
    changes.drop("人员1.csv", "操作,id,name\n新增,1,王\n新增,机密,李\n")
    changes.take()
    changes.drop("人员2.csv", "操作,id,name\n新增,2,赵\n不知,3,张\n新增,4,\n")
    changes.take()
    changes.drop("人员3.csv", "操作,id,name\n新增,5,孙\n")
    changes.take()
    changes.source.close()
    changes.open()
    remark = changes.source.remarks()["person"]
    assert remark.sentence == "3 rows of 人员2.csv and 1 earlier file were refused"
    assert "rejected/000000002~人员2.csv.reasons.csv" in remark.fix and "机密" not in str(remark)

    (changes.folder / "rejected" / "000000002~人员2.csv.reasons.csv").unlink()
    changes.read_until(lambda: "人员1.csv" in changes.source.remarks()["person"].sentence)
    assert changes.source.remarks()["person"].sentence == "1 row of 人员1.csv was refused"
    (changes.folder / "rejected" / "000000001~人员1.csv.reasons.csv").unlink()
    changes.drop("人员4.csv", "操作,id\n新增,6\n")
    changes.read_until(lambda: not changes.source.remarks())
    assert len(changes.holds()) == 1


def test_a_delta_may_be_refused_whole(tmp_path):
    """Where half a file is worse than none."""
    desk = Desk(tmp_path / "收件", **DELTA, reject="file")
    desk.open()
    desk.drop("人员1.csv", "操作,id,name\n新增,1,王\n新增,x,李\n")
    desk.take()
    desk.source.close()

    assert desk.mirror.tables == {}
    assert "000000001~人员1.csv" in desk.room("rejected")


def test_the_same_changes_are_taken_once(changes):
    """Under the same name or another, before or after the first was committed."""
    content = "操作,id,name\n新增,1,王\n"
    changes.drop("人员1.csv", content)
    changes.drop("人员2.csv", content)
    changes.take()
    changes.drop("人员3.csv", "操作,id,name\n修改,1,王伟\n")
    changes.take()
    changes.drop("人员1.csv", content)
    changes.take()

    assert changes.rows() == [(1, "王伟")]
    assert [receipt(changes, n)["duplicate_of"] for n in (1, 2, 3, 4)] == [None, 1, None, 1]
    changes.copy()
    assert changes.rows() == [(1, "王伟")]


def test_a_copy_is_all_accepted_changes_and_what_comes_meanwhile(changes):
    """From done/, and the pages show what was handed out since the copy began."""
    changes.drop("人员1.csv", "操作,id,name\n新增,1,王\n新增,2,李\n")
    changes.drop("人员2.csv", "操作,id,name\n删除,1,\n")
    changes.take()
    changes.source.resume_table("person")
    assert changes.source.expected_rows("person") == 1
    changes.source.start_copy("person", b"")
    changes.drop("人员3.csv", "操作,id,name\n修改,2,李娜\n新增,3,张\n")
    while changes.source.read(SOON) is None:
        pass
    page = next(iter(changes.source.pages()))

    assert (page.frames.count, page.is_last) == (2, True)


def test_a_snapshot_that_meets_a_copy_compares_with_what_the_copy_brings(desk):
    """The mirror is empty while pages are under way; what is gone from the file must go there as well."""
    desk.drop("人员1.csv", table((1, "王"), (2, "李"), (3, "张")))
    desk.take()
    desk.source.resume_table("person")
    desk.mirror.tables["person"].clear()
    desk.source.start_copy("person", b"")
    pages = list(desk.source.pages())
    desk.drop("人员2.csv", table((1, "王"), (2, "李娜")))
    batch = None
    while batch is None:
        batch = desk.source.read(SOON)
    for page in pages:
        desk.mirror.merge(page.schema, page.frames.data)
    desk.mirror.apply(batch)

    assert desk.rows() == [(1, "王"), (2, "李娜")]


def test_a_copy_without_its_file_says_what_it_needs(desk):
    """Before the table is emptied anywhere."""
    desk.drop("人员1.csv", table((1, "王")))
    desk.take()
    (desk.folder / "done" / "000000001~人员1.csv").unlink()

    with pytest.raises(BadRow, match="file 1 is not in done/ any more"):
        desk.source.resume_table("person")


def test_a_file_that_lay_there_before_is_the_first_copy(tmp_path):
    """A new stream starts now; what was there is copied."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.drop("人员1.csv", table((1, "王")))
    desk.drop("人员2.csv", table((1, "王"), (2, "李")))
    desk.open()
    assert desk.source.read(SOON) is None
    desk.copy()
    desk.source.close()

    assert desk.rows() == [(1, "王"), (2, "李")]


def test_a_large_snapshot_comes_in_parts_and_is_one_effect(desk):
    """Inserts, updates and deletes of one file become visible together."""
    desk.drop("人员1.csv", table(*((n, "王") for n in range(100))))
    desk.take()
    desk.drop("人员2.csv", table(*((n, "李") for n in range(50, 150))))
    batches: list[Batch] = []
    while not batches or batches[-1].continues:
        batches += filter(None, [desk.source.read(Limits(rows=30, wait_s=0.1))])
    for batch in batches:
        desk.mirror.apply(batch)

    assert [batch.rows for batch in batches] == [30, 30, 30, 30, 30]
    assert desk.rows() == [(n, "李") for n in range(50, 150)]


def test_a_file_is_not_touched_while_it_changes_or_is_written(tmp_path):
    """It counts once it stood still, and nobody has it open for writing as far as the system knows."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.open()
    path = desk.folder / "人员1.csv"
    with path.open("w") as file:
        file.write(table((1, "王")))
        file.flush()
        assert desk.source.read(SOON) is None
        assert path.exists()
    desk.take()
    desk.source.close()

    assert desk.rows() == [(1, "王")]


def test_a_file_that_waits_to_settle_is_no_silence(tmp_path):
    """Being idle is not claimed over something that lies there."""
    desk = Desk(tmp_path / "收件", rules=RULES, settle_s=30)
    desk.open()
    desk.source.read(SOON)
    first = desk.source.proof()
    desk.drop("人员1.csv", table((1, "王")))
    desk.source.read(SOON)
    dropped = desk.source.proof()
    desk.source.read(SOON)
    desk.source.close()

    assert first is not None
    assert dropped.at_us <= desk.folder.joinpath("人员1.csv").stat().st_ctime_ns // 1000


def test_an_event_wakes_a_waiting_read(tmp_path):
    """Looking now and then is for what the system does not tell."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.settings = desk.settings.model_copy(update={"scan_every_s": 60})
    desk.source = type(desk.source)(desk.settings, desk.door)
    desk.open()
    assert desk.source.read(Limits(wait_s=0)) is None
    hidden = desk.folder / ".x"
    hidden.write_text(table((1, "王")))
    os.posix_spawn(
        "/bin/sh", ["sh", "-c", f"sleep 0.3; mv '{hidden}' '{desk.folder}/人员1.csv'"], {"PATH": "/bin"}
    )
    batch = desk.source.read(Limits(wait_s=20))
    desk.source.close()

    assert batch.rows == 1


def test_a_column_that_comes_later_is_compared_as_empty(desk):
    """The mirror has not got it yet; rows that have a value there change, the others stay."""
    desk.drop("人员1.csv", table((1, "王"), (2, "李")))
    desk.take()
    desk.source.close()
    wider = Desk(desk.folder, rules=(*RULES, ColumnRule(name="tel")))
    wider.door.mirror, wider.position = desk.mirror, desk.position
    wider.open()
    wider.drop("人员2.csv", "id,name,tel\n1,王,\n2,李,138\n")
    batch = None
    while batch is None:
        batch = wider.source.read(SOON)
    wider.source.close()

    assert (batch.deltas[0].inserts.count, batch.deltas[0].upserts.count) == (0, 1)


def test_another_key_holds_the_table(desk):
    """Rows of two keys cannot be compared."""
    desk.drop("人员1.csv", table((1, "王")))
    desk.take()
    desk.source.close()
    other = Desk(desk.folder, rules=(ColumnRule(name="id"), ColumnRule(name="name")))
    other.position = desk.position
    other.door.mirror = desk.mirror
    other.open()
    other.drop("人员2.csv", table((1, "李")))
    other.take()

    assert [hold.startswith("SCHEMA_HOLD") for hold in other.holds()] == [True]
    other.source.close()


def test_a_folder_restored_from_a_backup_is_not_believed(desk, tmp_path):
    """It gave out a number that it does not remember."""
    shutil.copytree(desk.folder, tmp_path / "备份", symlinks=True)
    desk.drop("人员1.csv", table((1, "王")))
    desk.take()
    desk.source.close()
    shutil.rmtree(desk.folder)
    (tmp_path / "备份").rename(desk.folder)

    with pytest.raises(Diverged, match="restored"):
        desk.open()


def test_a_folder_that_is_not_there_is_waited_for(tmp_path):
    """A share that is not mounted comes back by itself."""
    desk = Desk(tmp_path / "收件", rules=RULES)
    desk.folder.rmdir()

    with pytest.raises(Transient, match="is not there"):
        desk.open()
