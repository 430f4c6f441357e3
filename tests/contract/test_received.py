"""What receiving promises, in SQLite, PostgreSQL and MariaDB alike: rows and cursor together, each delivery once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from agent.exchange import Received, StoreLimits, migrate, open_exchange
from agent.exchange.receptions import GrantRefused, room_of
from agent.exchange.store import place_of
from proto import frames
from proto.batch import Delta, Frames, Partial
from proto.delivery import chain
from proto.errors import DiskBlocked, Fenced, Refused
from proto.schema import Column, TableSchema
from proto.states import State
from proto.values import Kind
from tests.support.exchanges import NODE, ROOMY
from tests.support.parcels import Share, came, gone, persons, rows_in
from tests.support.rows import PERSON

pytest_plugins = ["tests.support.exchanges"]

Opening = Callable[..., Received]


@pytest.fixture
def receiving(exchange_url: str) -> Iterator[Opening]:
    """Opens the exchange database as another process would; everything is closed afterwards."""
    engines: list[Engine] = []
    made: list[Received] = []

    def open_one(limits: StoreLimits = ROOMY) -> Received:
        engines.append(open_exchange(exchange_url, NODE))
        migrate(engines[-1])
        made.append(Received(engines[-1], NODE, limits))
        return made[-1]

    yield open_one
    for each in made:
        each.close()
    for engine in engines:
        engine.dispose()


@pytest.fixture
def received(receiving: Opening) -> Received:
    """A started receiver."""
    fresh = receiving()
    fresh.start()
    return fresh


def take(received: Received, *parcels: Any) -> State:
    """Commit them one after the other; the state after the last."""
    row = None
    for parcel in parcels:
        row = received.commit(parcel)
    assert row is not None
    return row.state


def audit(received: Received) -> list[tuple[str, str]]:
    """What is on record: the event and whose."""
    place = place_of(received._engine)
    name = f"{place.schema}.audit" if place.schema else f"{place.prefix}audit"
    query = f"SELECT event, who FROM {name} WHERE stream = '{NODE}/.received' ORDER BY id"
    with received.reading() as connection:
        return [(row[0], row[1]) for row in connection.execute(text(query))]


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


def test_after_its_end_nothing_is_accepted(received: Received) -> None:
    """Whatever arrives, also an announcement that it goes on and a fresh copy; the rows stay (SD29.2, D3)."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))), share.parcel(persons((2, "半")), continues=True))

    row = received.announce(share.news("expired", sentence="有效期已过"))
    assert (row.state, row.code, row.why) == (State.PAUSED, "GRANT_EXPIRED", "有效期已过")
    assert received.announce(share.news("active")).over
    late = share.parcel(persons((3, "迟到")))
    share.afresh()
    assert take(received, late, share.parcel(persons((4, "重来")))) == State.PAUSED

    assert rows_in(received) == [(1, "张三")]
    assert ("grant_ended", "the platform") in audit(received)
    with pytest.raises(Refused):
        received.retry("G-1", "wang")


def test_a_grant_that_is_over_may_take_its_rows_along(received: Received) -> None:
    """With withdraw the inbound table is emptied, once, on record."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))

    row = received.announce(share.news("revoked", withdraw=True))
    received.announce(share.news("revoked", withdraw=True))

    assert (row.code, row.emptied) == ("WITHDRAWN", 1)
    assert rows_in(received) == []
    assert [event for event, _ in audit(received)] == ["grant_received", "grant_ended", "grant_withdrawn"]


def test_suspended_and_active_again(received: Received) -> None:
    """Nothing is taken meanwhile; then it goes on where it was."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))
    parcel = share.parcel(persons((2, "李四")))
    for word in ("suspended", "pending", "a word of tomorrow"):
        assert not received.announce(share.news(word, sentence="暂停")).over
        assert take(received, parcel) == State.PAUSED

    assert received.announce(share.news("expiring")).state == State.RUNNING
    assert take(received, parcel) == State.RUNNING
    assert [row[0] for row in rows_in(received)] == [1, 2]


def test_a_recall_empties_the_table_once(received: Received) -> None:
    """The count is told, the deed is on record, and asked again the answer is the same (GB/T 39477: 召回)."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"), (2, "李四"))))

    assert received.recall("G-1", "C-7", "数据有误") == 2
    take(received, share.parcel(persons((3, "王五"))))
    assert received.recall("G-1", "C-7", "数据有误") == 2
    assert rows_in(received) == [(3, "王五")]
    assert received.recall("G-1", "C-8", "再次") == 1
    assert received.recall("G-none", "C-9", "没有") == 0
    assert [event for event, _ in audit(received)].count("recalled") == 2


def test_a_recall_inside_a_large_transaction(received: Received) -> None:
    """Its beginning is gone, so its end cannot be shown: only a fresh copy mends that."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))), share.parcel(persons((2, "半")), continues=True))

    assert received.recall("G-1", "C-1", "") == 1
    assert take(received, share.parcel(persons((3, "末")))) == State.DIVERGED
    share.afresh()
    assert take(received, share.parcel(persons((2, "半"), (3, "末")))) == State.RUNNING
    assert [row[0] for row in rows_in(received)] == [2, 3]


def test_two_grants_on_one_table_have_a_table_each(received: Received) -> None:
    """They may show other columns; a grant that ended makes way for the next one."""
    first, second, third = Share("G-1"), Share("G-2"), Share("G-3")
    received.announce(first.news())
    received.announce(second.news())
    take(received, first.parcel(persons((1, "张三"))), second.parcel(persons((2, "李四"))))
    assert rows_in(received, "G-1") == [(1, "张三")]
    assert rows_in(received, "G-2") == [(2, "李四")]
    assert received.grants()["G-2"].place == "person~G-2"

    received.announce(first.news("expired"))
    received.announce(third.news())
    narrow = TableSchema("person", PERSON.columns[:1], ("id",))
    take(received, third.parcel(Delta(narrow, inserts=Frames(frames.pack_rows([(3,)], narrow.kinds), 1))))
    assert rows_in(received, "G-3") == [(3,)]
    assert received.grants()["G-3"].place == "person"
    assert rows_in(received, "G-1") == []
    assert received.start()["G-1"].place == ""


def test_a_delivery_of_an_unknown_grant(received: Received) -> None:
    """Nothing is known of it, and nothing is kept."""
    assert received.commit(Share("G-9").parcel(persons((1, "张三")))) is None
    assert received.start() == {}


@pytest.mark.parametrize(
    "other",
    [{"grant": "G 1; DROP"}, {"stream": "../x"}, {"stream": "a/b/c"}, {"table": ""}, {"grant": "x" * 65}],
)
def test_names_that_cannot_be_names(received: Received, other: dict[str, str]) -> None:
    """What would become a room, a table or a key is looked at first."""
    with pytest.raises(GrantRefused):
        received.announce(replace(Share().news(), **other))  # type: ignore[arg-type]


def test_rooms_fit_and_cannot_collide() -> None:
    """Sources have no underscore in their names; long names stay apart."""
    long = [f"{'n' * 31}/{'s' * 30}{end}" for end in "ab"]
    names = [room_of(stream) for stream in ("a/b-c", "a-b/c", *long, "hr/population")]

    assert len(set(names)) == len(names)
    assert all(len(name) <= 40 and "_" in name for name in names)


def test_a_second_process_is_fenced(received: Received, receiving: Opening) -> None:
    """One process receives; one that lost its lock without noticing changes nothing (E9)."""
    with pytest.raises(Fenced, match="already works"):
        receiving().start()
    share = Share()
    received.announce(share.news())
    assert received._guard is not None
    received._guard.release()
    successor = receiving()
    successor.start()

    parcel = share.parcel(persons((1, "张三")))
    with pytest.raises(Fenced, match="took over"):
        received.commit(parcel)
    assert take(successor, parcel) == State.RUNNING


def test_progress_is_written_now_and_then(received: Received) -> None:
    """Shown at once, stored every few seconds, never backwards."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))

    received.progress("G-1", 5, 1_000_000_000)
    received.progress("G-1", 6, 1_000_000_001)
    received.progress("G-1", 7, 999)
    received.progress("G-none", 7, 999)

    assert (received.grants()["G-1"].proven_us, received.grants()["G-1"].source_seq) == (1_000_000_001, 6)
    assert received.start()["G-1"].proven_us == 1_000_000_000


def test_a_nearly_full_disk_takes_nothing(receiving: Opening, exchange_url: str) -> None:
    """Where the volume can be seen, receiving waits before it is full (E3)."""
    received = receiving(StoreLimits(min_free_bytes=1 << 62))
    received.start()
    share = Share()
    received.announce(share.news())
    if not exchange_url.startswith("sqlite"):
        assert take(received, share.parcel(persons((1, "张三")))) == State.RUNNING
        return
    with pytest.raises(DiskBlocked):
        received.commit(share.parcel(persons((1, "张三"))))
    assert received.start()["G-1"].seq == 0
