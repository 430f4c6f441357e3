"""A journal that grew too large, and a business database that is older than what was read of it."""

from __future__ import annotations

import shutil

import pytest

from proto.errors import Gap
from tests.support.journal import journalled
from tests.support.mirror import Mirror
from tests.support.rigs import read_all

DATABASES = ("sqlite", "postgres15", "mariadb")
AT_ONCE = 900
MANY = """
INSERT INTO person WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
SELECT i + {after}, '人', NULL FROM n
"""


@pytest.fixture
def rig(request, tmp_path):
    with journalled(request, request.param, tmp_path / "business.db") as made:
        yield made


@pytest.fixture
def source(rig):
    made = rig.source()
    made.open("")
    yield made
    made.close()


def grow(rig, times):
    """Many rows, and as many entries."""
    with rig.transaction() as writer:
        for number in range(times):
            writer.say(MANY.format(rows=AT_ONCE, after=number * AT_ONCE))


def followed(source, mirror):
    """Read and confirm everything; where the source is then."""
    position = ""
    for batch in read_all(source):
        mirror.apply(batch)
        source.confirm(batch.position)
        position = batch.position
    return position


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_giving_up_is_a_gap_that_fresh_copies_mend(rig, source):
    """The journal's place is free again, what was not read is not passed over in silence, and copies bring all of it."""
    with rig.transaction() as writer:
        writer.put("visit", (1, "甲", None))
    position = followed(source, Mirror())
    grow(rig, 2)
    source.give_up_place()

    with pytest.raises(Gap, match="entry we read last is gone"):
        source.open(position)

    source.open("")
    source.start_copy("person", b"")
    mirror = Mirror()
    while pages := list(source.pages()):
        for page in pages:
            mirror.merge(page.schema, page.frames.data)
    with rig.transaction() as writer:
        writer.put("person", (0, "后", None))
    followed(source, mirror)
    assert mirror.rows("person") == rig.rows("person")


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_what_is_kept_is_measured_by_what_waits(rig, source):
    """Or the limit that made us give up our place would do so again and again: files do not shrink."""
    grow(rig, 10)
    before = source.retained().bytes
    source.give_up_place()

    assert before > 10 * AT_ONCE * 20
    assert source.retained().bytes < before // 100


@pytest.mark.parametrize("rig", ["sqlite"], indirect=True)
def test_an_older_copy_of_the_file_is_a_gap(rig, source, tmp_path):
    """Also when the same numbers were drawn again since."""
    grow(rig, 1)
    followed(source, Mirror())
    source.close()
    checkpoint(rig)
    shutil.copy(rig.path, tmp_path / "backup.db")
    source.open("")
    with rig.transaction() as writer:
        writer.put("person", (5000, "晚", None))
    position = followed(source, Mirror())
    source.close()
    checkpoint(rig)
    shutil.copy(tmp_path / "backup.db", rig.path)

    with pytest.raises(Gap):
        source.open(position)
    with rig.transaction() as writer:
        writer.put("person", (5001, "又", None))
    with pytest.raises(Gap):
        source.open(position)


def checkpoint(rig):
    """Everything into the one file."""
    connection = rig.connect()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
