"""What a release closes is in no byte that leaves; what it changes otherwise is followed from its day on (SD05.2, SD17.2)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from central.catalogue.entry import Entry
from central.catalogue.node_part import NodeParts
from central.delivery.visit import granted
from central.sharing.contract import contract_of
from central.sharing.permits import permit
from central.store import now_us, reading, writing
from proto import codec
from proto.batch import SealedBatch
from tests.support.deliveries import Pulling
from tests.support.granting import PERSON, Share, ShareMaker
from tests.support.shares import entry_of, grant_directly, put_in_force
from tests.support.tables import inserts

pytest_plugins = ["tests.support.stores", "tests.support.granting"]
DIALECTS = ("sqlite", "postgres15", "postgres18")
CANARY = "金丝雀13900001111"
HOUR_US = 3_600_000_000


def entry(one: Share, *columns: str, code: str = "", **share: str) -> Entry:
    """The resource with these columns and these share types."""
    return entry_of(code or one.entry.code, one.node.stream, "person", columns, share=share)


def release(one: Share, *entries: Entry, contract_us: int | None = None) -> None:
    """The next release."""
    with writing(one.store.engine) as connection:
        put_in_force(connection, *entries, contract_us=contract_us)


def in_us(one: Share, microseconds: int) -> int:
    """So long after now, by the database's clock."""
    with reading(one.store.engine) as connection:
        return now_us(connection) + microseconds


def columns(pulling: Pulling) -> tuple[str, ...]:
    """Of the consumer's table as it is now."""
    schema = pulling.receiver.schema
    return tuple(column.name for column in schema.columns) if schema else ()


def told(pulling: Pulling) -> Any:
    """What the consumer is told after everything came."""
    said = granted(pulling.drain())
    assert said is not None
    return said


ALL = ("id", "name", "phone", "area")


def test_what_is_closed_is_in_no_byte_from_batches_recorded_before(share: ShareMaker):
    """The ledger and the platform's table still hold it; the consumer's next delivery and a new one's copy do not (SD05.2)."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    one.apply()
    pulling = one.pull()
    pulling.drain()
    one.change(inserts(PERSON, ("2", "李四", CANARY, "西区")))
    one.apply()
    release(one, entry(one, *ALL, phone="not_shared"))
    assert any(CANARY.encode() in codec_bytes(each) for each in one.node.sealed)

    pulling.drain()
    assert columns(pulling) == ("id", "name", "area")
    assert "李四".encode() in pulling.receiver.bytes_seen
    assert CANARY.encode() not in pulling.receiver.bytes_seen

    with writing(one.store.engine) as connection:
        grant_directly(connection, f"{one.grant}-new", f"{one.consumer}-new", one.entry, {})
    newcomer = Share(
        one.store, one.node, one.signer, one.entry, f"{one.grant}-new", f"{one.consumer}-new"
    ).pull()
    newcomer.drain()
    assert len(newcomer.receiver.table.rows) == 2
    assert CANARY.encode() not in newcomer.receiver.bytes_seen


def codec_bytes(sealed: SealedBatch) -> bytes:
    """The rows of a batch."""
    return b"".join(delta.inserts.data for delta in codec.decode(sealed.header, sealed.payload).deltas)


def test_what_one_resource_of_a_table_closes_is_closed_for_all(share: ShareMaker):
    """As the node goes by it: an item that one entry does not share leaves under no other one either."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", CANARY, "东区")))
    one.apply()
    release(one, entry(one, *ALL, code=f"{one.entry.code}-2", phone="not_shared"))
    pulling = one.pull()
    pulling.drain()
    assert columns(pulling) == ("id", "name", "area")
    assert CANARY.encode() not in pulling.receiver.bytes_seen


def test_rows_are_not_chosen_by_what_is_closed(share: ShareMaker):
    """Which rows come would tell the value."""
    one = share(rows={"op": "=", "column": "area", "value": "东区"})
    one.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    one.apply()
    release(one, entry(one, *ALL, area="not_shared"))
    step = one.pull().drain()
    assert step.standing.state == "PAUSED"
    assert "chosen by area" in step.standing.sentence


def test_a_grant_follows_its_version_until_the_day(share: ShareMaker):
    """Told beforehand with the day; the table becomes another one at that moment, by the database's clock (SD17.2)."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    one.apply()
    pulling = one.pull()
    assert (told(pulling).contract, told(pulling).change) == (1, "")
    day = in_us(one, 2_500_000)
    release(one, entry(one, "id", "name", "area", "email"), contract_us=day)
    said = told(pulling)
    assert (said.contract, said.change_us) == (1, day)
    assert said.change == "without phone (信息项phone); with email (信息项email)"
    assert (columns(pulling), pulling.receiver.generation) == (ALL, 1)
    one.change(inserts(PERSON, ("2", "李四", "139", "西区")))
    one.apply()
    pulling.drain()
    assert (columns(pulling), pulling.receiver.generation) == (ALL, 1)

    threading.Event().wait(max(0, day - in_us(one, 0)) / 1_000_000)
    said = told(pulling)
    assert (said.contract, said.change, said.change_us) == (2, "", 0)
    assert (columns(pulling), pulling.receiver.generation) == (("id", "name", "area"), 2)
    assert len(pulling.receiver.table.rows) == 2


def test_what_is_closed_does_not_wait_for_the_day(share: ShareMaker):
    """The same release takes one item away later and closes another one now."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", CANARY, "东区")))
    one.apply()
    release(one, entry(one, "id", "name", "phone", phone="not_shared"), contract_us=in_us(one, HOUR_US))
    pulling = one.pull()
    said = told(pulling)
    assert columns(pulling) == ("id", "name", "area")
    assert CANARY.encode() not in pulling.receiver.bytes_seen
    assert said.change == "without area (信息项area); phone (信息项phone) not shared any more, at once"


def test_a_grant_made_since_follows_the_new_version_at_once(share: ShareMaker):
    """It was never promised the older one."""
    one = share()
    one.change(inserts(PERSON, ("1", "张三", "138", "东区")))
    one.apply()
    release(one, entry(one, "id", "name", "area"), contract_us=in_us(one, HOUR_US))
    with writing(one.store.engine) as connection:
        grant_directly(connection, f"{one.grant}-new", f"{one.consumer}-new", one.entry, {})
    newcomer = Share(
        one.store, one.node, one.signer, one.entry, f"{one.grant}-new", f"{one.consumer}-new"
    ).pull()
    assert told(newcomer).contract == 2
    assert columns(newcomer) == ("id", "name", "area")
    pulling = one.pull()
    assert told(pulling).contract == 1
    assert columns(pulling) == ALL


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 2, 1), (-1, 2, 2), (2, -1, 3), (-2, -1, 3)])
def test_several_versions_wait_for_their_days(share: ShareMaker, first: int, second: int, expected: int):
    """The newest whose day has come is followed, whatever the order of the days."""
    one = share()
    release(one, entry(one, "id", "name", "phone"), contract_us=in_us(one, first * HOUR_US))
    release(one, entry(one, "id", "name"), contract_us=in_us(one, second * HOUR_US))
    with reading(one.store.engine) as connection:
        found = contract_of(connection, permit(connection, one.grant), now_us(connection))
    assert found.version == expected
    assert (found.coming is None) == (expected == 3)


def test_the_node_lets_items_leave_until_the_day(share: ShareMaker):
    """What grants still receive stays in the node's part of the catalogue; what is closed does not (SD17.2)."""
    one = share()
    day = in_us(one, 2_000_000)
    release(one, entry(one, "id", "name", "area", area="not_shared"), contract_us=day)
    parts = NodeParts(one.store.engine, one.signer)
    node = one.node.stream.partition("/")[0]

    def shown() -> dict[str, str]:
        with reading(one.store.engine) as connection:
            entries = parts._part(connection, node).entries
        return {
            each.column: each.share_type
            for entry in entries
            for each in entry.columns
            if entry.code == one.entry.code
        }

    before = parts.told_now(node)
    assert shown() == {
        "id": "unconditional",
        "name": "unconditional",
        "area": "not_shared",
        "phone": "unconditional",
    }
    threading.Event().wait(max(0, day - in_us(one, 0)) / 1_000_000)
    assert "phone" not in shown()
    assert parts.told_now(node) != before
