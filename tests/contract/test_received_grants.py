"""What becomes of grants at their consumer: ends, recalls, their tables, and who may receive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.exchange import Received, StoreLimits
from agent.exchange.receptions import GrantRefused, room_of
from proto import frames
from proto.batch import Delta, Frames
from proto.errors import DiskBlocked, Fenced, Refused
from proto.schema import TableSchema
from proto.states import State
from tests.support.parcels import Share, persons, rows_in
from tests.support.receiving import Opening, audit, take
from tests.support.rows import PERSON

pytest_plugins = ["tests.support.exchanges", "tests.support.receiving"]


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


def test_a_recall_of_a_table_that_somebody_changed(received: Received) -> None:
    """Its rows must go: where it cannot be emptied any more it is dropped."""
    share = Share()
    received.announce(share.news())
    take(received, share.parcel(persons((1, "张三"))))
    name = {"postgresql": "from_police_population.person", "sqlite": '"from_police_population.person"'}
    with received._engine.begin() as connection:
        table = name.get(connection.dialect.name, "`from_police_population.person`")
        connection.exec_driver_sql(f"DROP TABLE {table}")

    assert received.recall("G-1", "C-1", "数据有误") == 0
    assert rows_in(received) == []
    share.afresh()
    assert take(received, share.parcel(persons((2, "李四")))) == State.RUNNING
    assert rows_in(received) == [(2, "李四")]


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

    assert (received.grants()["G-1"].proven_us, received.grants()["G-1"].source_seq) == (1_000_000_001, 7)
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
