"""A stream goes on at a promoted server if its log proves the history that was read, and at no other (C6, C8, C12)."""

from __future__ import annotations

import pytest

from agent.sources.mysql.place import Place
from proto.errors import Diverged, Gap
from tests.support.failover import go_over, pair

__all__ = ["pair"]


@pytest.fixture
def listener(pair):
    """It has read two transactions of the first server, the last of several seconds, which replicas do not repeat."""
    listener = pair.hear()
    pair.say(pair.first, "INSERT INTO t VALUES (1, '一')")
    pair.say(
        pair.first,
        "SET autocommit = 0",
        "INSERT INTO t VALUES (2, '二')",
        "SET @@timestamp = 1700000000",
        "INSERT INTO t VALUES (3, '三')",
        "SET @@timestamp = 1700000009",
        "COMMIT",
    )
    listener.listen()
    assert len(listener.mirror.rows("t")) == 3
    yield listener
    listener.source.close()


def refused(listener, server) -> str:
    """Why the stream does not go on there."""
    with pytest.raises(Diverged) as caught:
        go_over(listener, server)
    return caught.value.what


def test_a_promoted_server_is_gone_on_with_and_the_old_one_again(pair, listener):
    """Nothing twice, nothing left out; what was written before the switch and not read comes first."""
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')", "FLUSH BINARY LOGS")
    pair.promote(pair.second, pair.first)
    pair.first.stop()
    pair.say(pair.second, "INSERT INTO t VALUES (5, '五')", "UPDATE t SET 名 = '改' WHERE id = 1")
    seen = len(listener.batches)
    go_over(listener, pair.second)
    listener.listen()
    assert [batch.rows for batch in listener.batches[seen:]] == [3]
    listener.reopen()
    pair.first.start()
    pair.fetch(pair.first, pair.second)
    pair.say(pair.second, "INSERT INTO t VALUES (6, '六')")
    listener.listen()
    pair.promote(pair.first, pair.second)
    pair.say(pair.first, "FLUSH BINARY LOGS", "DELETE FROM t WHERE id = 2")
    go_over(listener, pair.first)
    listener.listen()
    listener.reopen()

    assert listener.mirror.rows("t") == [(1, "改"), (3, "三"), (4, "四"), (5, "五"), (6, "六")]
    assert len(listener.copy("t").rows("t")) == 5


def test_a_server_that_was_promoted_too_early_has_diverged(pair, listener):
    """What we read is lost there, and its numbers go to others: before and after they have come as far as ours."""
    pair.cut()
    pair.say(pair.first, "INSERT INTO t VALUES (4, '没了')", "INSERT INTO t VALUES (5, '没了')")
    listener.listen()
    assert "does not have all that we read" in refused(listener, pair.second)
    pair.say(pair.second, "INSERT INTO t VALUES (4, '另一个')", "INSERT INTO t VALUES (5, '另一个')")
    assert "in place of the one we read" in refused(listener, pair.second)
    pair.say(pair.second, "INSERT INTO t VALUES (6, '另一个')")
    assert "in place of the one we read" in refused(listener, pair.second)


def test_a_replica_that_was_written_to_has_diverged(pair, listener):
    """Its own transaction came before what we read, so nobody would ever send it."""
    pair.cut()
    pair.say(pair.second, "SET GLOBAL gtid_strict_mode = OFF", "INSERT INTO t VALUES (99, '私')")
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')", "INSERT INTO t VALUES (5, '五')")
    pair.second.execute("START SLAVE")
    listener.listen()
    pair.promote(pair.second, pair.first)
    assert "gtid_strict_mode is OFF" in refused(listener, pair.second)
    pair.second.execute("SET GLOBAL gtid_strict_mode = ON")
    assert "diverged" not in (why := refused(listener, pair.second))
    assert "out of order" in why or "other transactions of other servers" in why


def test_a_transaction_of_another_server_in_between_has_diverged(pair, listener):
    """Also when all numbers rise, as they do where one of ours was skipped."""
    pair.cut()
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')", "INSERT INTO t VALUES (5, '五')")
    listener.listen()
    at_s = Place.parse(listener.position).at_s
    number = int(pair.ask(pair.second, "SELECT @@gtid_binlog_pos").split("-")[2])
    forged = f"SET SESSION server_id = 1, gtid_seq_no = {number + 2}, timestamp = {at_s}"
    pair.say(pair.second, "INSERT INTO t VALUES (99, '私')")
    pair.say(pair.second, forged, "INSERT INTO t VALUES (5, '五')")

    assert "other transactions of other servers" in refused(listener, pair.second)


def test_a_replica_that_skipped_a_transaction_has_diverged(pair, listener):
    """Its rows are not there, and no log will ever say so."""
    pair.cut()
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')", "INSERT INTO t VALUES (5, '五')")
    listener.listen()
    pair.second.execute("SET GLOBAL sql_slave_skip_counter = 1", "START SLAVE")
    pair.promote(pair.second, pair.first)

    assert "nothing between" in refused(listener, pair.second)


def test_another_transaction_under_our_number_has_diverged(pair, listener):
    """As after the primary was restored, went on, and its new history was replicated."""
    pair.cut()
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')")
    listener.listen()
    number = int(pair.ask(pair.second, "SELECT @@gtid_binlog_pos").split("-")[2])
    forged = f"SET SESSION server_id = 1, gtid_seq_no = {number + 1}, timestamp = {1_800_000_000}"
    pair.say(pair.second, forged, "INSERT INTO t VALUES (4, '另一个')")

    assert "another time" in refused(listener, pair.second)


def test_a_promoted_server_whose_log_begins_later_is_a_gap(pair, listener):
    """What it no longer has cannot be read."""
    pair.say(pair.first, "INSERT INTO t VALUES (4, '四')")
    pair.promote(pair.second, pair.first)
    pair.say(pair.second, "FLUSH BINARY LOGS", "INSERT INTO t VALUES (5, '五')", "FLUSH BINARY LOGS")
    newest = "binlog.000003"
    pair.say(pair.second, f"PURGE BINARY LOGS TO '{newest}'")
    with pytest.raises(Gap):
        go_over(listener, pair.second)


def test_a_promoted_server_that_was_reset_has_diverged(pair, listener):
    """It knows nothing of what came before, whatever its numbers say later."""
    pair.promote(pair.second, pair.first)
    pair.say(pair.second, "RESET MASTER")
    assert "does not have all that we read" in refused(listener, pair.second)
    pair.say(pair.second, *(f"INSERT INTO t VALUES ({number}, 'x')" for number in range(100, 130)))
    assert "in place of the one we read" in refused(listener, pair.second)


def test_a_position_that_does_not_say_enough_has_diverged(pair, listener):
    """One written before the time of its end was kept, and one of several domains."""
    pair.promote(pair.second, pair.first)
    place = Place.parse(listener.position)
    listener.position = str(place.at(place.gtids, place.spot, place.born_s))
    refused(listener, pair.second)
    listener.position = str(place.at(f"{place.gtids},7-1-1", place.spot, place.born_s, place.at_s))
    refused(listener, pair.second)
