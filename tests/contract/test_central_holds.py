"""What belongs to one table holds that table alone: the others go on, and what waits goes in afterwards, in order, once."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from sqlalchemy import select

from central import audit
from central.apply import Applier, Held, Limits
from central.apply.holding import give_up_old
from central.ledger import Ledger
from central.ledger.tableholds import HeldTable
from central.store import now_us, reading, writing
from central.store.tables import GAPS
from proto.batch import Batch, Delta, Frames
from proto.errors import Refused
from proto.frames import keys, pack, split
from proto.values import Kind
from tests.support.fences import BAD, Fence
from tests.support.stores import EVENT, Node, Store, event_batch
from tests.support.tables import inserts, schema_of, upserts

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("sqlite", "postgres15", "postgres18")

PERSON = schema_of("person", {"id": Kind.INT64, "name": Kind.TEXT})
RENAMED_KEY = schema_of("person", {"number": Kind.INT64, "name": Kind.TEXT}, key=("number",))
UNHOLDABLE = Delta(PERSON, Frames(pack([bytes(9), b"x"]), 1))
"""A whole number of nine bytes: a frame in order, but no value."""


def mixed(number: int, name: str, *, continues: bool = False) -> Batch:
    """A batch for both tables: person *number* called *name*, and an event."""
    deltas = (upserts(PERSON, (str(number), name)), *event_batch(str(number)).deltas)
    return Batch(f"at {number}", deltas, 1, 2, 1, continues)


def held(node: Node) -> HeldTable:
    """The only table that is held."""
    [found] = node.record().tables
    return found


@pytest.fixture
def fence(store: Store, node: Node) -> Fence:
    """Refuses people called BAD."""
    return Fence(store, node.stream, PERSON, "name")


def fenced(node: Node, fence: Fence, *names: str) -> None:
    """Batches for people called *names* are applied while the fence stands."""
    node.hello()
    fence.up()
    node.push(node.seal(*(mixed(number, name) for number, name in enumerate(names, 1))))
    assert node.apply_all() == len(names)


def test_a_bad_row_holds_its_table_and_no_other(store, node, fence):
    """The others go on in the same and later batches, and the cursor moves on (SD11.3)."""
    fenced(node, fence, "王", BAD, "李")

    assert (node.rows(PERSON), node.rows()) == (["王"], ["1", "2", "3"])
    record = node.record()
    assert (record.state, record.applied_seq, record.held_seq, record.rows) == ("RUNNING", 3, 0, 4)
    table = held(node)
    assert (table.table, table.state, table.code, table.held_seq, table.after.seq) == (
        "person",
        "QUARANTINE",
        "QUARANTINE",
        2,
        1,
    )
    assert table.sentence.startswith("batch 2: ")
    assert f"exchange-central stream retry {node.stream} person" in table.fix
    assert BAD not in f"{table.sentence} {table.fix}"
    assert (table.held_digest, 0 < table.since_us <= now_of(store)) == (node.sealed[1].digest, True)
    assert store.audited(node.stream)[-1] == "table_held"
    node.push(node.seal(mixed(4, "赵")))
    assert node.apply_all() == 4
    assert (node.rows(PERSON), node.rows()) == (["王"], ["1", "2", "3", "4"])


def now_of(store: Store) -> int:
    """The database's clock."""
    with reading(store.engine) as connection:
        return now_us(connection)


@pytest.mark.parametrize("key", [None, bytes(9)], ids=["empty key", "no number"])
def test_a_bad_row_is_told_by_its_place_and_never_by_its_value(node, key):
    """The table is held with reason, row numbers and digests of keys (SD11.3)."""
    good = [(str(n), "王") for n in range(1, 61)]
    frames_ = split(inserts(PERSON, *good).inserts.data)
    bad = pack([key, "机密值".encode()])
    spoiled = [*frames_[:16], bad, *frames_[16:40], bad, *frames_[40:]]
    node.hello()
    delta = Delta(PERSON, upserts=Frames(b"".join(spoiled), len(spoiled)))
    node.push([*node.events(1, 2), *node.seal(Batch("at 3", (*event_batch("7").deltas, delta)))])
    assert node.apply_all() == 3
    said = held(node).sentence
    digest = hashlib.sha256(keys(bad, [0])[0]).hexdigest()[:8]
    assert said.startswith("batch 3: ")
    assert said.endswith(
        f": person row 17 of 62 upserts (key {digest}…), person row 42 of 62 upserts (key {digest}…)"
    )
    assert "机密" not in said
    assert node.rows() == ["1", "2", "7"]
    assert node.rows(PERSON) == [], (
        "nothing of the table's part is there, nor of the attempts to find the rows"
    )


def test_every_bad_row_up_to_five_is_named(node):
    """Of a section that holds nothing else as well; a person who mends these looks at the others too (SD11.3)."""
    bad = pack([bytes(9), b"x"])
    node.hello()
    node.push(node.seal(Batch("at 1", (Delta(PERSON, inserts=Frames(bad * 8, 8)),))))
    node.apply_all()
    said = held(node).sentence
    assert [f"row {n} of 8 inserts" in said for n in range(1, 9)] == [True] * 5 + [False] * 3


def test_several_tables_are_held_each_for_itself(store, node):
    """And each is mended for itself (SD11.3)."""
    node.hello()
    others = [dataclasses.replace(PERSON, name=name) for name in ("甲", "乙", "丙")]
    fences = [Fence(store, node.stream, other, "name") for other in others[:2]]
    for each in fences:
        each.up()
    deltas = tuple(upserts(other, ("1", BAD)) for other in others)
    node.push([*node.seal(Batch("at 1", deltas)), *node.events(2, 2)])
    node.apply_all()
    assert sorted(table.table for table in node.record().tables) == ["乙", "甲"]
    assert (node.rows(others[2]), node.rows()) == ([BAD], ["2"])
    for each in fences:
        each.down()
    Held(store.engine).retry_table(node.stream, "甲")
    node.apply_all()
    assert [table.table for table in node.record().tables] == ["乙"]
    assert Held(store.engine).retry(node.stream) == ["乙"]
    node.apply_all()
    assert node.record().tables == ()
    assert [node.rows(other) for other in others] == [[BAD]] * 3


def test_a_retry_brings_what_waits_and_the_table_follows_again(store, node, fence):
    """From the ledger, in order, up to where the stream is; then it is let go, on record (SD11.3)."""
    fenced(node, fence, "王", BAD, "李")
    node.push(node.seal(Batch("at 4", (upserts(PERSON, ("1", "王五")),))))
    node.apply_all()
    fence.down()
    assert Held(store.engine).retry(node.stream, "值班员", "已修复") == ["person"]
    assert node.apply_all() == 4

    assert node.rows(PERSON) == sorted([BAD, "李", "王五"])
    record = node.record()
    assert (record.tables, record.rows) == ((), 7)
    assert store.audited(node.stream)[-2:] == ["table_retried", "table_let_go"]
    node.push(node.seal(mixed(5, "赵")))
    node.apply_all()
    assert node.rows(PERSON) == sorted([BAD, "李", "王五", "赵"])
    with reading(store.engine) as connection:
        audit.verify(connection, node.stream)


def test_a_retry_without_a_cure_is_held_again_where_it_fails(store, node, fence):
    """What lay before is in; since when it is held does not change (SD11.3)."""
    fenced(node, fence, BAD, "李", "赵", BAD, "周")
    first = held(node)
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    assert (held(node).held_seq, held(node).after.seq, held(node).is_asked) == (1, 0, False)
    assert store.audited(node.stream)[-3:] == ["table_held", "table_retried", "table_held"]
    fence.down()
    node.push(node.seal(Batch("at 6", (UNHOLDABLE,))))
    node.apply_all()
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    again = held(node)
    assert (again.held_seq, again.after.seq, again.since_us) == (6, 5, first.since_us)
    assert "person row 1 of 1 inserts" in again.sentence
    assert node.rows(PERSON) == sorted([BAD, "李", "赵", BAD, "周"])


def test_what_waits_goes_in_a_part_at_a_time_while_others_go_on(store, node, fence):
    """Each part is a transaction with its own place; another applier goes on there."""
    fenced(node, fence, *([BAD] * 30))
    fence.down()
    limits = Limits(rows=7)
    Held(store.engine).retry_table(node.stream, "person")
    Applier(node.engine, node.stream, "tests", limits).step()
    assert (held(node).after.seq, len(node.rows(PERSON))) == (7, 7)
    node.push(node.events(31, 31))
    other = Applier(node.engine, node.stream, "tests", limits)
    assert other.step() is True
    assert (held(node).after.seq, other.applied_seq) == (14, 31)
    while other.step():
        pass
    assert (node.record().tables, len(node.rows(PERSON)), len(node.rows())) == ((), 30, 31)


def test_a_fresh_copy_mends_a_changed_structure_by_itself(store, node):
    """A delta that empties the table ends its hold, on record, as at the node (SD11.3, SD17.1)."""
    node.hello()
    node.push(node.seal(Batch("a", (upserts(PERSON, ("1", "Li")),))))
    node.push([*node.seal(Batch("b", (upserts(RENAMED_KEY, ("2", "Wang")),))), *node.events(3, 3)])
    node.apply_all()
    table = held(node)
    assert (table.state, table.code, table.held_seq) == ("SCHEMA_HOLD", "SCHEMA_HOLD", 2)
    assert "exchange-agent snapshot person" in table.fix
    assert node.rows(PERSON) == ["Li"]
    afresh = dataclasses.replace(inserts(RENAMED_KEY, ("3", "Zhao")), truncated=True)
    # What comes in the same batch before the table is emptied counts for nothing.
    node.push(node.seal(Batch("c", (upserts(RENAMED_KEY, ("9", "Gone")), afresh))))
    node.push(node.seal(Batch("d", (upserts(RENAMED_KEY, ("4", "Sun")),))))
    assert node.apply_all() == 5
    assert node.rows(RENAMED_KEY) == ["Sun", "Zhao"]
    assert node.record().tables == ()
    assert store.audited(node.stream)[-1] == "table_let_go"


def test_a_fresh_copy_that_cannot_be_applied_begins_the_hold_there(store, node, fence):
    """What waited before it counts for nothing, and the table shows what it showed until it goes in."""
    fenced(node, fence, "王", BAD, "李")
    afresh = dataclasses.replace(inserts(PERSON, ("8", BAD)), truncated=True)
    node.push(node.seal(Batch("at 4", (afresh,)), mixed(5, "周")))
    node.apply_all()
    assert (held(node).held_seq, held(node).after.seq, node.rows(PERSON)) == (4, 3, ["王"])
    fence.down()
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    assert node.rows(PERSON) == sorted([BAD, "周"])


def test_what_was_emptied_within_its_batch_need_not_go_in(store, node):
    """A retry begins where the table was last emptied, and so needs no cure here."""
    afresh = dataclasses.replace(inserts(PERSON, ("3", "赵")), truncated=True)
    node.hello()
    node.push(node.seal(Batch("at 1", (UNHOLDABLE, afresh)), mixed(2, "钱")))
    node.apply_all()
    assert (held(node).held_seq, node.rows(), node.rows(PERSON)) == (1, ["2"], [])
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    assert (node.record().tables, node.rows(PERSON)) == ((), sorted(["赵", "钱"]))


def test_half_of_a_commit_is_never_visible(store, node, fence):
    """The hold begins with its source transaction, and a retry brings that whole."""
    node.hello()
    fence.up()
    node.push(node.seal(mixed(1, "王")))
    parts = [mixed(n, BAD if n == 3 else "李", continues=n < 4) for n in (2, 3, 4)]
    node.push(node.seal(*parts))
    node.apply_all()
    assert (held(node).held_seq, held(node).after.seq, node.rows(PERSON)) == (3, 1, ["王"])
    assert node.rows() == ["1", "2", "3", "4"]
    fence.down()
    Held(store.engine).retry_table(node.stream, "person")
    Applier(node.engine, node.stream, "tests", Limits(rows=1, bytes=1, reading_bytes=1)).step()
    assert node.rows(PERSON) == sorted(["王", "李", BAD, "李"])


def test_a_skip_for_one_table_is_a_declared_gap_of_it(store, node, fence):
    """With number, digest and a name behind it, once; what follows goes in by itself (fault H2, SD11.3)."""
    fenced(node, fence, "王", BAD, "李", "赵")
    desk, digest, why = Held(store.engine), node.sealed[1].digest.hex(), ("值班员", "已知坏行")
    for seq, prefix in ((1, digest), (3, digest), (2, digest[:7]), (2, "0" * 8)):
        with pytest.raises(Refused):
            desk.skip_table(node.stream, "person", (seq, prefix), why)
    with pytest.raises(Refused, match="no batch is held") as caught:
        desk.skip(node.stream, 2, digest, *why)
    assert "--table person" in caught.value.fix
    for _ in range(2):
        desk.skip_table(node.stream, "person", (2, digest[:8].upper()), why)
    node.apply_all()
    desk.skip_table(node.stream, "person", (2, digest), why)

    assert (node.rows(PERSON), node.rows()) == (sorted(["王", "李", "赵"]), ["1", "2", "3", "4"])
    assert node.record().tables == ()
    with reading(store.engine) as connection:
        gap = connection.execute(select(GAPS).where(GAPS.c.stream == node.stream)).one()
    assert (gap.table_name, gap.first_seq, gap.last_seq, gap.who, gap.reason) == ("person", 2, 2, *why)
    assert store.audited(node.stream).count("table_skipped") == 1


def test_what_is_not_held_cannot_be_retried(store, node, fence):
    """Nor a table that nobody knows; and a retry of nothing changes nothing."""
    fenced(node, fence, "王")
    with pytest.raises(Refused, match="person is not held"):
        Held(store.engine).retry_table(node.stream, "person")
    assert Held(store.engine).retry(node.stream) == []
    assert store.audited(node.stream) == ["stream_began", "accepted"]


def test_the_ledger_keeps_what_a_held_table_waits_for(store, node, fence):
    """Until it was held too long: then only a fresh copy mends it, and the ledger goes on forgetting."""
    fenced(node, fence, "王", "李", BAD, "赵", "周")
    later = now_of(store) + 1_000_000
    with writing(store.engine) as connection:
        assert Ledger().prune(connection, node.stream, later) == 2
    give_up_old(store.engine, held(node).since_us)
    assert not held(node).left_out
    fence.down()
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    assert node.rows(PERSON) == sorted(["王", "李", BAD, "赵", "周"])
    fence.up()
    node.push(node.seal(mixed(6, BAD), mixed(7, "吴")))
    node.apply_all()
    assert give_up_old(store.engine, later + 10**9) >= 1
    with writing(store.engine) as connection:
        assert Ledger().prune(connection, node.stream, later + 10**9) > 1
    _only_a_copy_mends(store, node, "ledger.held_days")


def _only_a_copy_mends(store: Store, node: Node, why: str) -> None:
    assert (held(node).left_out, why in held(node).sentence) == (True, True)
    for retry in (
        lambda: Held(store.engine).retry_table(node.stream, "person"),
        lambda: Held(store.engine).retry(node.stream),
    ):
        with pytest.raises(Refused, match="can only be copied afresh") as caught:
            retry()
        assert "exchange-agent snapshot person" in caught.value.fix
    assert store.audited(node.stream)[-1] == "table_left_out"
    afresh = dataclasses.replace(inserts(PERSON, ("1", "新")), truncated=True)
    node.push(node.seal(Batch("afresh", (afresh,))))
    node.apply_all()
    assert (node.record().tables, node.rows(PERSON)) == ((), ["新"])


@pytest.mark.parametrize("how", ["payload = :junk", "digest = :junk", "seq = 99"])
def test_what_waits_and_is_damaged_is_never_applied(store, node, fence, how):
    """What lies before it is; then only a fresh copy mends the table, and the stream does not notice (fault E6)."""
    fenced(node, fence, BAD, "李", "赵", "周")
    fence.down()
    values = {"junk": b"junk"} if ":junk" in how else {}
    store.run(f"UPDATE {{ledger}} SET {how} WHERE stream = :s AND seq = 3", s=node.stream, **values)
    Held(store.engine).retry_table(node.stream, "person")
    node.apply_all()
    assert (node.record().state, node.rows(PERSON), held(node).after.seq) == (
        "RUNNING",
        sorted([BAD, "李"]),
        2,
    )
    _only_a_copy_mends(store, node, "is damaged in the ledger")


def test_a_release_leaves_only_a_fresh_copy(store, node, fence):
    """What waited is of a past that the stream has left; it says so."""
    fenced(node, fence, "王", BAD, "李")
    store.run("UPDATE {streams} SET adopts_next = :yes WHERE stream = :s", s=node.stream, yes=True)
    older = Node(node.engine, node.name, 2, "another", node.sealed[:1])
    older.hello()
    assert (held(older).left_out, held(older).after.seq) == (True, 1)
    with pytest.raises(Refused, match="can only be copied afresh"):
        Held(store.engine).retry_table(node.stream, "person")
    afresh = dataclasses.replace(inserts(PERSON, ("1", "新")), truncated=True)
    older.push(older.seal(Batch("afresh", (afresh,))))
    assert older.apply_all() == 2
    assert (older.record().tables, older.rows(PERSON), older.rows(EVENT)) == ((), ["新"], ["1", "2", "3"])


def test_a_stream_that_is_held_keeps_its_tables_held(store, node, fence):
    """Both are told, and one retry is for both."""
    fenced(node, fence, BAD)
    node.push([*node.unfit(), *node.events(3, 3)])
    applier = node.applier()
    with pytest.raises(Exception, match="batch 2"):
        while applier.step():
            pass
    record = node.record()
    assert (record.state, record.held_seq, record.held_digest) == ("QUARANTINE", 2, node.sealed[1].digest)
    assert held(node).table == "person"
    fence.down()
    assert Held(store.engine).retry(node.stream) == ["person"]
    with pytest.raises(Exception, match="batch 2"):
        while applier.step():
            pass
    Held(store.engine).skip(node.stream, 2, node.sealed[1].digest.hex(), "值班员", "损坏")
    assert (node.apply_all(), node.rows(PERSON), node.rows()) == (3, [BAD], ["1", "3"])
