"""What receiving promises, in SQLite, PostgreSQL and MariaDB alike: rows and cursor together, each delivery once."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from agent.exchange import Received
from proto import frames
from proto.batch import Delta, Frames, Partial
from proto.delivery import chain
from proto.errors import Refused
from proto.schema import Column, TableSchema
from proto.states import State
from proto.values import Kind
from tests.support.counting import counted
from tests.support.parcels import Share, came, gone, persons, rows_in
from tests.support.receiving import Opening, audit, take
from tests.support.rows import PERSON, VISIT

pytest_plugins = ["tests.support.exchanges", "tests.support.receiving"]


def test_rows_and_cursor_move_together(received: Received) -> None:
    """Inserts, updates and deletes of the provider arrive; the cursor says so, also to the next process (SD12.1)."""
    share = Share()
    received.announce(share.news())

    state = take(
        received, share.parcel(persons((1, "张三"), (2, "李四"))), share.parcel(persons((2, "王五")), gone(1))
    )

    assert state == State.RUNNING
    assert rows_in(received) == [(2, "王五")]
    row = received.start()["G-1"]
    assert (row.generation, row.seq, row.visible_seq, row.digest) == (1, 2, 2, share.digest)
    assert (row.rows, row.resource_name, row.receipt) == (4, "人口基本信息", "R-G-1-1-2")
    assert (row.room, row.place) == ("from_police_population", "person")


def test_a_replay_changes_nothing(received: Received) -> None:
    """The same delivery again, the last or an older one, is known and left (D2)."""
    share = Share(table="visit")
    received.announce(share.news())
    first, second = share.parcel(came(1)), share.parcel(came(2))

    assert take(received, first, second, second, first, second) == State.RUNNING

    assert rows_in(received) == [(1, "来访"), (2, "来访")]
    assert received.grants()["G-1"].rows == 2


def test_what_does_not_follow_is_refused(received: Received) -> None:
    """A gap, a digest that does not chain, another delivery under a known number: DIVERGED, and nothing applied."""
    for number, spoil in enumerate((_skipped, _unchained, _another), 1):
        share = Share(grant=f"G-{number}", stream=f"police/source-{number}")
        received.announce(share.news())
        take(received, share.parcel(persons((1, "张三"))))

        assert take(received, spoil(share)) == State.DIVERGED
        # What follows does not mend it.
        assert take(received, share.parcel(persons((9, "后来")))) == State.DIVERGED
        assert rows_in(received, share.grant) == [(1, "张三")]
        assert received.grants()[share.grant].seq == 1
        assert received.start()[share.grant].state == State.DIVERGED

    assert received.grants()["G-1"].why == "delivery 3 came where 2 was due"


def _skipped(share: Share) -> Any:
    share.parcel(persons((2, "漏掉")))
    return share.parcel(persons((3, "李四")))


def _unchained(share: Share) -> Any:
    parcel = share.parcel(persons((2, "李四")))
    return replace(parcel, digest=chain(bytes(range(32)), parcel.place, parcel.header))


def _another(share: Share) -> Any:
    share.seq, share.digest = 0, bytes(32)
    return share.parcel(persons((1, "不同")))


def test_one_bad_grant_holds_only_itself(received: Received) -> None:
    """Others go on; a person lets it go on, on record, and what was not taken is asked for again (SD10.2, D5)."""
    bad, good = Share("G-1"), Share("G-2", table="visit")
    received.announce(bad.news())
    received.announce(good.news())
    spoiled = replace(bad.parcel(persons((1, "张三"))), payload=b"spoiled")

    assert take(received, spoiled) == State.QUARANTINE
    assert received.grants()["G-1"].code == "BATCH_CORRUPT"
    assert take(received, good.parcel(came(1))) == State.RUNNING

    assert received.retry("G-1", "wang").state == State.SNAPSHOT
    with pytest.raises(Refused, match="is not held"):
        received.retry("G-1", "wang")
    bad.seq, bad.digest = 0, bytes(32)
    assert take(received, bad.parcel(persons((1, "张三")))) == State.RUNNING
    assert rows_in(received) == [(1, "张三")]
    assert ("reception_retried", "wang") in audit(received)


def test_what_waits_together_shares_a_commit(received: Received) -> None:
    """Several grants, a repeated delivery and parts of a large transaction: one commit, every cursor in it (SD12.2)."""
    one, other, unknown = Share("G-1"), Share("G-2", table="visit"), Share("G-9")
    received.announce(one.news())
    received.announce(other.news())
    first, parts = (
        one.parcel(persons((1, "张三"))),
        [other.parcel(came(1), continues=True), other.parcel(came(2))],
    )
    follows = [one.parcel(persons((1, "张叁"), (2, "李四"))), one.parcel(gone(1))]

    with counted(received._engine) as asked:
        rows = received.commit_all(
            [first, parts[0], follows[0], first, unknown.parcel(persons((1, "谁"))), parts[1], follows[1]]
        )

    assert asked.commits == 1
    assert {row.grant_id: (row.seq, row.visible_seq, row.rows) for row in rows} == {
        "G-1": (3, 3, 4),
        "G-2": (2, 2, 2),
    }
    assert (rows_in(received), rows_in(received, "G-2")) == ([(2, "李四")], [(1, "来访"), (2, "来访")])
    assert {row.grant_id: row.digest for row in rows} == {"G-1": one.digest, "G-2": other.digest}
    assert received.start() == {row.grant_id: row for row in rows}


def test_one_bad_delivery_among_many_holds_only_its_grant(received: Received) -> None:
    """It would take the commit of all with it: so each is brought in alone, and nothing is in twice (D5)."""
    good, bad = Share("G-1", table="visit"), Share("G-2")
    received.announce(good.news())
    received.announce(bad.news())
    take(received, bad.parcel(persons((1, "张三"))))
    spoiled = replace(bad.parcel(persons((2, "李四"))), payload=b"spoiled")

    rows = received.commit_all(
        [good.parcel(came(1)), spoiled, good.parcel(came(2)), bad.parcel(persons((3, "王五")))]
    )

    assert {row.grant_id: row.state for row in rows} == {"G-1": State.RUNNING, "G-2": State.QUARANTINE}
    assert (rows_in(received), rows_in(received, "G-2")) == ([(1, "来访"), (2, "来访")], [(1, "张三")])
    assert received.start()["G-2"].code == "BATCH_CORRUPT"


def test_a_row_this_database_cannot_hold(received: Received) -> None:
    """A shape that cannot follow holds the grant with its reason; a fresh copy makes the table anew (D5)."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))
    other = TableSchema(
        "person", (Column("id", Kind.INT64, nullable=False), Column("name", Kind.BOOL)), ("id",)
    )
    changed = Delta(other, upserts=Frames(frames.pack_rows([(1, True)], other.kinds), 1))

    assert take(received, share.parcel(changed)) == State.SCHEMA_HOLD
    assert rows_in(received) == [(1, "张三")]
    held = received.grants()["G-1"]
    assert "name" in held.why and "received retry G-1" in held.fix

    share.afresh()
    assert take(received, share.parcel(changed)) == State.RUNNING
    assert rows_in(received) == [(1, True)]


TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER no BEFORE INSERT ON \"from_police_population.person\" BEGIN SELECT RAISE(ABORT, '不行'); END",
        "DROP TRIGGER no",
    ),
    "postgresql": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '不行'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT ON from_police_population.person FOR EACH ROW EXECUTE FUNCTION no()",
        "DROP FUNCTION no CASCADE",
    ),
    "mysql": (
        "CREATE TRIGGER no BEFORE INSERT ON `from_police_population.person` FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '不行'",
        "DROP TRIGGER no",
    ),
}


def test_whatever_one_grant_meets_stops_it_alone(received: Received) -> None:
    """Somebody put a trigger on the inbound table that refuses with an error of its own (D5)."""
    share, other = Share(), Share("G-2", table="visit")
    received.announce(share.news())
    received.announce(other.news())
    take(received, share.parcel(persons((1, "张三"))))
    made, dropped = TRIGGERS[received._engine.dialect.name]
    with received._engine.begin() as connection:
        connection.exec_driver_sql(made)
    parcel = share.parcel(persons((2, "李四")))

    assert take(received, parcel) == State.QUARANTINE
    assert "李四" not in received.grants()["G-1"].why
    assert take(received, other.parcel(came(1))) == State.RUNNING
    with received._engine.begin() as connection:
        connection.exec_driver_sql(dropped)
    received.retry("G-1", "wang")
    assert take(received, parcel) == State.RUNNING
    assert rows_in(received) == [(1, "张三"), (2, "李四")]


def test_rows_of_another_table_are_refused(received: Received) -> None:
    """A grant of one table brings nothing else."""
    share = Share()
    received.announce(share.news())

    assert take(received, share.parcel(persons((1, "张三")), came(1))) == State.QUARANTINE
    assert rows_in(received) == []


def test_a_large_transaction_becomes_visible_at_its_last_part(received: Received, receiving: Opening) -> None:
    """Parts are durable one by one and survive a restart; readers see all of them or none."""
    share = Share(table="visit")
    received.announce(share.news())
    take(received, share.parcel(came(1)))
    parts = [
        share.parcel(came(2, 3), continues=True),
        share.parcel(came(4), continues=True),
        share.parcel(came(5)),
    ]

    take(received, *parts[:2])
    assert rows_in(received) == [(1, "来访")]
    assert (received.grants()["G-1"].seq, received.grants()["G-1"].visible_seq) == (3, 1)

    received.close()
    successor = receiving()
    assert successor.start()["G-1"].seq == 3
    take(successor, parts[1], parts[2])
    assert [row[0] for row in rows_in(successor)] == [1, 2, 3, 4, 5]
    with successor.reading() as connection:
        assert successor._inbox.next(connection, "G-1", 0, 0) is None


def test_a_fresh_copy_begins_with_nothing(received: Received) -> None:
    """Rows of the copy before are gone, whether its beginning says so or not; so are parts that never ended."""
    share = Share()
    received.announce(share.news())
    take(
        received,
        share.parcel(persons((1, "张三"), (2, "李四"))),
        share.parcel(persons((3, "半")), continues=True),
    )
    share.afresh()

    state = take(received, share.parcel(persons((2, "李四")), copying=True, rows_copied=1, rows_expected=2))
    assert state == State.SNAPSHOT
    assert rows_in(received) == [(2, "李四")]
    assert take(received, share.parcel(persons((4, "赵六")), copying=False)) == State.RUNNING
    assert rows_in(received) == [(2, "李四"), (4, "赵六")]

    share.afresh()
    assert take(received, share.parcel()) == State.RUNNING
    assert rows_in(received) == []


def test_a_fresh_copy_may_have_another_shape(received: Received) -> None:
    """A grant that was narrowed shows fewer columns: an emptied table has nothing to lose (D4)."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))
    narrow = TableSchema("person", PERSON.columns[:1], ("id",))
    share.afresh()

    take(
        received, share.parcel(Delta(narrow, inserts=Frames(frames.pack_rows([(1,), (2,)], narrow.kinds), 2)))
    )

    assert rows_in(received) == [(1,), (2,)]


def test_partial_updates_arrive(received: Received) -> None:
    """Large values that the provider's log left out stay as they are."""
    wide = TableSchema("person", (*PERSON.columns, Column("note", Kind.TEXT)), ("id",))
    share = Share()
    received.announce(share.news())
    take(
        received,
        share.parcel(Delta(wide, inserts=Frames(frames.pack_rows([(1, "张三", "很长")], wide.kinds), 1))),
    )
    part = Partial((1,), Frames(frames.pack_rows([(1, "张叁")], wide.kinds[:2]), 1))

    take(received, share.parcel(Delta(wide, partials=(part,))))

    assert rows_in(received) == [(1, "张叁", "很长")]


def test_memory_holds_one_part_of_a_large_transaction(received: Received) -> None:
    """However many there are, while they come and while they become visible."""
    share = Share(table="visit")
    received.announce(share.news())
    dice, rows = random.Random(1), 2_000
    noise = ["".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(100)) for _ in range(rows)]

    def part(number: int) -> Delta:
        data = frames.pack_rows([(number * rows + n, noise[n]) for n in range(rows)], VISIT.kinds)
        return Delta(VISIT, inserts=Frames(data, rows))

    peaks = []
    for parts in (5, 40):
        tracemalloc.start()
        for number in range(parts):
            take(received, share.parcel(part(number), continues=number < parts - 1))
            share.sent.clear()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    with received.reading() as connection:
        row = received.grants()["G-1"]
        assert received.inbound.room(row).count(connection, VISIT) == 45 * rows
    assert peaks[1] < peaks[0] * 1.5, peaks
