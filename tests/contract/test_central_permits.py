"""What the data path asks: which entry is in force, and whether this grant lets anything through now."""

from __future__ import annotations

import itertools

import pytest

from central.catalogue.published import newest_release, published, published_of
from central.sharing.permits import NotGranted, permit, permits
from central.store import now_us, writing
from proto.errors import Refused
from tests.support.shares import change_grant, entry_of, grant_directly, put_in_force
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
_numbers = itertools.count(1)


def test_the_newest_release_says_what_is_in_force(store: Store):
    """A later version takes the place of the one before, and what was never released is not there."""
    code = f"3070101/{next(_numbers):06d}"
    stream = f"police/hr{next(_numbers)}"
    with writing(store.engine) as connection:
        put_in_force(connection, entry_of(code, stream, "person", ["id", "name"]))
        release = put_in_force(connection, entry_of(code, stream, "person", ["id", "name", "born"]))
        found = published(connection, code)
        assert (found.version, found.release, len(found.entry.items)) == (2, release, 3)
        assert [each.entry.code for each in published_of(connection, stream)] == [code]
        assert newest_release(connection) == release
        with pytest.raises(Refused, match="sharing catalogue"):
            published(connection, "没有")


def test_a_permit_ends_with_its_day_and_with_its_state(store: Store):
    """By the time that is given, which is the database's."""
    code, grant, node = f"3070102/{next(_numbers)}", f"GP{next(_numbers)}", f"permit-{next(_numbers)}"
    with writing(store.engine) as connection:
        entry = entry_of(code, "police/hr", "person", ["id", "name"])
        put_in_force(connection, entry)
        grant_directly(connection, grant, node, entry, {"items": ("id",)}, days=1)
        now, found = now_us(connection), permit(connection, grant)
        assert found.refusal(now) == ""
        assert "run out" in found.refusal(found.valid_to_us)
        assert "not begun" in found.refusal(found.valid_from_us - 1)
        change_grant(connection, grant, state="revoked", sentence="数据用途不符")
        [again] = permits(connection, node)
        assert again.version == 2
        with pytest.raises(NotGranted, match="数据用途不符"):
            again.demand(now)
        with pytest.raises(NotGranted, match="no such grant"):
            permit(connection, "G0")
