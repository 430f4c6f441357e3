"""A journal under the conditions that break naive ones: late commits, rollbacks, crashes, odd keys, missing triggers."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

from agent.sources.journal.install import execute, plan
from agent.sources.journal.marks import Mark
from agent.sources.journal.source import JournalSource
from agent.sources.source import Limits
from proto.errors import Gap, TableHold, Transient
from tests.support.journal import journalled, settings
from tests.support.mirror import Mirror
from tests.support.rigs import read_all

DATABASES = ("sqlite", "postgres15", "mariadb")
SERVERS = ("postgres15", "mariadb")
ODD = "人口 'x\""


@pytest.fixture
def rig(request, tmp_path):
    with journalled(request, request.param, tmp_path / "business.db") as made:
        yield made


@pytest.fixture
def source(rig):
    made = rig.source()
    yield made
    made.close()


def followed(source, mirror=None):
    """The mirror after everything that waits was read and confirmed."""
    mirror = mirror or Mirror()
    for batch in read_all(source):
        mirror.apply(batch)
        source.confirm(batch.position)
    return mirror


@pytest.mark.parametrize("rig", SERVERS, indirect=True)
def test_a_late_commit_with_lower_numbers_is_not_lost(rig, source):
    """It drew its numbers first and became visible last, after the later ones were read and deleted."""
    source.open("")
    with rig.transaction() as late:
        late.put("person", (1, "late", None))
        with rig.transaction() as early:
            early.put("person", (2, "early", None))
        mirror = followed(source)
        assert mirror.rows("person") == [(2, "early", None)]

    followed(source, mirror)

    assert mirror.rows("person") == rig.rows("person") == [(1, "late", None), (2, "early", None)]


@pytest.mark.parametrize("rig", SERVERS, indirect=True)
def test_concurrent_writers_with_rollbacks(rig, source):
    """Nothing is lost and nothing rolled back arrives, while what was read is deleted all the time."""
    source.open("")
    mirror = Mirror()

    def write(seed):
        rng = random.Random(seed)
        for number in range(40):
            with contextlib.suppress(ZeroDivisionError), rig.transaction() as writer:
                key = seed * 1000 + number
                writer.put("person", (key, f"人{key}", None))
                if rng.random() < 0.3:
                    writer.delete("person", (key, None, None))
                if rng.random() < 0.3:
                    raise ZeroDivisionError

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        followed(source, mirror)
    followed(source, mirror)

    assert mirror.rows("person") == rig.rows("person")


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_dying_between_commit_and_delete_repeats_nothing(rig, source):
    """The position knows what was read, though it still lies there."""
    source.open("")
    with rig.transaction() as writer:
        for number in range(25):
            writer.put("person", (number, "甲", None))
    batch = source.read(Limits())
    source.close()
    again = rig.source()
    again.open(batch.position)
    with rig.transaction() as writer:
        writer.put("visit", (1, "乙", None))

    assert [(d.schema.name, d.rows) for b in read_all(again) for d in b.deltas] == [("visit", 1)]
    again.close()


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_what_was_confirmed_is_deleted_but_for_a_bookmark(rig, source):
    """The journal stays small however long it runs."""
    source.open("")
    for number in range(6):
        with rig.transaction() as writer:
            writer.put("person", (number, "x", None))
        assert followed(source).rows("person")
    position = read_position(source)
    with contextlib.closing(rig.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT id, op FROM exchange_journal ORDER BY id")
        left = cursor.fetchall()

    assert [str(op) for _, op in left] == ["b", "k"]
    assert left[-1][0] == Mark.parse(position).kept


def read_position(source):
    """Where an open source is."""
    while source.proof() is None:
        source.read(Limits(wait_s=0.05))
    return source.proof().position


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_a_journal_emptied_by_others_is_a_gap(rig, source):
    """Whatever lay in it was never read."""
    position = source.open("")
    source.close()
    with rig.transaction() as writer:
        writer.put("person", (1, "x", None))
    with rig.transaction() as writer:
        writer.say("DELETE FROM exchange_journal WHERE op <> 'b'")

    with pytest.raises(Gap):
        source.open(position)


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_a_missing_trigger_holds_its_table(rig, source):
    """While it was missing, changes went unnoticed; the other table goes on."""
    source.open("")
    made = plan(rig.settings)
    trigger, *_ = made.dialect.triggers(made.place, made.tables[0])
    with rig.transaction() as writer:
        writer.say(trigger.drop[0])
    with rig.transaction() as writer:
        writer.put("visit", (1, "x", None))
    mirror = followed(source)

    assert [(hold.table, type(hold).__mro__[1]) for hold in source.holds()] == [("person", TableHold)]
    assert mirror.rows("visit") == [(1, "x", None)]


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_no_journal_says_what_to_do(rig):
    """Nothing is installed by itself: it is the administrator's right."""
    source = JournalSource(rig.settings.model_copy(update={"journal": "elsewhere"}))
    with pytest.raises(Transient, match="journal show-sql"):
        source.open("")

    found = source.check()
    assert [(finding.name, finding.passed) for finding in found][-1] == ("journal", False)
    assert "show-sql" in found[-1].fix


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_installing_twice_does_no_harm_and_removing_leaves_nothing(rig, source):
    """The journal keeps its identity; its tables are free of triggers afterwards."""
    position = source.open("")
    source.close()
    execute(rig.url, plan(rig.settings).install())
    assert source.open(position) == position
    source.close()
    execute(rig.url, plan(rig.settings).remove())
    with rig.transaction() as writer:
        writer.put("person", (1, "x", None))

    with pytest.raises(Transient):
        source.open(position)


TYPES = {
    "sqlite": "INTEGER, TEXT, BLOB, NUMERIC",
    "postgres15": "bigint, text, bytea, numeric",
    "mariadb": "BIGINT, VARCHAR(100) CHARACTER SET gbk, VARBINARY(50), DECIMAL(20,5)",
}


@pytest.mark.parametrize("rig", DATABASES, indirect=True)
def test_keys_of_many_parts_and_odd_names(rig, request):
    """Quotes, commas, Chinese, bytes and decimals in keys; names that need quoting."""
    kind = request.node.callspec.params["rig"]
    types = [part.strip() for part in TYPES[kind].replace("(20,5)", "(20;5)").split(",")]
    types = [part.replace(";", ",") for part in types]
    quote = "`" if kind == "mariadb" else '"'
    odd = f"{quote}{ODD.replace(quote, quote * 2)}{quote}"
    columns = ", ".join(f"k{at} {each}" for at, each in enumerate(types))
    with rig.transaction() as writer:
        writer.say(f"CREATE TABLE {odd} ({columns}, v INTEGER, PRIMARY KEY (k0, k1, k2, k3))")
    prefix = "public." if kind == "postgres15" else ""
    escaped = ODD.replace('"', '""')
    known = settings(rig.url, [f'{prefix}"{escaped}"'], journal="exchange_odd")
    execute(rig.url, plan(known).install())
    source = JournalSource(known)
    source.open("")
    keys = [
        (1, "a,'b\"中文\\", b"\x00\xff'", "1.50000"),
        (-(2**62), "", b"", "0.00000"),
        (3, "[1]", b"x", "99.00001"),
    ]
    with rig.transaction() as writer:
        for key in keys:
            writer.say(f"INSERT INTO {odd} VALUES (%s, %s, %s, %s, 1)", key)
    mirror = followed(source)
    assert source.holds() == []
    assert len(mirror.rows(ODD)) == 3
    with rig.transaction() as writer:
        writer.say(f"UPDATE {odd} SET v = 2, k1 = 'moved' WHERE k0 = 1")
        writer.say(f"DELETE FROM {odd} WHERE k0 = 3")
    followed(source, mirror)
    source.close()

    assert [(row[0], row[1], row[4]) for row in mirror.rows(ODD)] == [(-(2**62), "", 1), (1, "moved", 2)]


@pytest.mark.parametrize("rig", ["mariadb"], indirect=True)
def test_a_bit_in_a_key_is_noted_as_yes_or_no(rig):
    """The byte itself would be no text, and no JSON."""
    with rig.transaction() as writer:
        writer.say("CREATE TABLE 标 (是 BIT(1), n INT, v TEXT, PRIMARY KEY (是, n))")
    known = settings(rig.url, ["标"], journal="exchange_bit")
    execute(rig.url, plan(known).install())
    source = JournalSource(known)
    source.open("")
    with rig.transaction() as writer:
        writer.say("INSERT INTO 标 VALUES (b'1', 1, '甲'), (b'0', 1, '乙'), (b'1', 2, '丙')")
    mirror = followed(source)
    with rig.transaction() as writer:
        writer.say("UPDATE 标 SET 是 = b'0' WHERE n = 2")
        writer.say("DELETE FROM 标 WHERE v = '甲'")
    followed(source, mirror)
    source.close()

    assert mirror.rows("标") == [(False, 1, "乙"), (False, 2, "丙")]


@pytest.mark.parametrize("rig", ["postgres15"], indirect=True)
def test_partitions_and_truncate_are_noted(rig):
    """Rows written straight into a partition, and a table emptied at one stroke."""
    with rig.transaction() as writer:
        writer.say("CREATE TABLE parted (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id)")
        writer.say("CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100)")
    known = settings(rig.url, ["public.parted"], journal="exchange_parted")
    execute(rig.url, plan(known).install())
    source = JournalSource(known)
    source.open("")
    with rig.transaction() as writer:
        writer.say("INSERT INTO low VALUES (1, '一')")
        writer.say("INSERT INTO parted VALUES (2, '二')")
    mirror = followed(source)
    assert mirror.rows("parted") == [(1, "一"), (2, "二")]
    with rig.transaction() as writer:
        writer.say("TRUNCATE parted")
        writer.say("INSERT INTO parted VALUES (3, '三')")
    followed(source, mirror)
    source.close()

    assert mirror.rows("parted") == [(3, "三")]


@pytest.mark.parametrize("rig", ["postgres15"], indirect=True)
def test_the_business_needs_no_right_on_the_journal(rig, source):
    """Its own accounts write as before; the reader needs four words."""
    with rig.transaction() as writer:
        writer.say("CREATE ROLE clerk LOGIN")
        writer.say("GRANT SELECT, INSERT, UPDATE, DELETE ON person TO clerk")
    try:
        source.open("")
        with rig.transaction() as writer:
            writer.say("SET ROLE clerk")
            writer.put("person", (1, "由业务写入", None))
        assert followed(source).rows("person") == [(1, "由业务写入", None)]
    finally:
        source.close()
        with rig.transaction() as writer:
            writer.say("DROP OWNED BY clerk")
            writer.say("DROP ROLE clerk")


def test_an_address_without_a_driver_and_a_password_in_chinese(mariadb):
    """Both connections complete the address in the same way; a password need not be Latin-1."""
    database = mariadb.new_database("business")
    mariadb.execute(
        "CREATE OR REPLACE USER '读者'@'%' IDENTIFIED BY '口令é'",
        f"GRANT ALL ON `{database}`.* TO '读者'@'%'",
        f"CREATE TABLE `{database}`.person (id INTEGER PRIMARY KEY, name TEXT)",
    )
    known = settings(f"mariadb://读者:口令é@127.0.0.1:{mariadb.port}/{database}", ["person"])
    made = plan(known)
    execute(mariadb.url(database), [one for one in made.install() if not one.startswith("GRANT")])
    source = JournalSource(known)
    source.open("")
    mariadb.execute(f"INSERT INTO `{database}`.person VALUES (1, '甲')")

    assert followed(source).rows("person") == [(1, "甲")]

    source.close()
    mariadb.drop_database(database)
