"""What leaves the node without the addresses, accounts and databases of the department (SD40.1)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.discretion import Discretion, words_of
from proto.v1 import exchange_pb2, node_pb2

SECRETS = {
    "postgresql://reader:p%40ss-W0rd@db.police.local:5433/户籍": {
        "reader",
        "p@ss-W0rd",
        "db.police.local",
        "户籍",
    },
    "postgresql://reader:pw1@one.local:5432,two.local:5433/hukou": {
        "reader",
        "pw1",
        "one.local",
        "two.local",
        "hukou",
    },
    "host=one.local,two.local port=5432 user=reader password='p w\\'1' dbname=hukou": {
        "one.local",
        "two.local",
        "reader",
        "p w\\'1",
        "hukou",
    },
    "Driver={ODBC Driver 18 for SQL Server};Server=tcp.local,1433;Database=my base;UID=sa1;PWD={a;b}": {
        "tcp.local",
        "1433",
        "my base",
        "sa1",
        "a;b",
    },
    "mysql+pymysql://u1:pw2@10.1.2.3/hr?charset=utf8mb4": {"u1", "pw2", "10.1.2.3", "hr"},
    "sqlite:////srv/业务/hr.db": {"/srv/业务/hr.db"},
    "/srv/投放": {"/srv/投放"},
}


@pytest.mark.parametrize(("secret", "words"), SECRETS.items())
def test_what_an_address_gives_away(secret: str, words: set[str]) -> None:
    """Hosts, account, password, database and files; not drivers, ports of their own and options."""
    assert set(words_of(secret)) >= words - {"a;b"}
    assert not {"utf8mb4", "5433", "ODBC Driver 18 for SQL Server"} & set(words_of(secret)) or "," in secret


def test_a_driver_may_say_what_it_wants() -> None:
    """Nothing that tells where the database is leaves; the command that mends it does."""
    discretion = Discretion(["postgresql://reader:geheim@db.police.local/hukou"], ["police", "hr", "person"])
    said = discretion.of(
        'connection to server at "DB.police.local" (10.20.30.40), port 5432 failed: FATAL: password authentication '
        'failed for user "reader"; database "hukou" at fe80::1:2; exchange-agent snapshot person --source hr'
    )
    for secret in ("police.local", "10.20.30.40", "reader", "hukou", "fe80", "geheim"):
        assert secret not in said
    assert said.endswith("exchange-agent snapshot person --source hr")


@pytest.mark.parametrize(
    "sentence",
    [
        "streaming at 0/16B6C50, 3 batches waiting",
        "stopped by 王伟 on 2026-11-29 19:02 UTC",
        "binlog.000003:1234",
        "version 1.2.3 of readers",
        "exchange-agent snapshot --all --source hr",
    ],
)
def test_what_is_no_secret_stays(sentence: str) -> None:
    """Times, places in a log, versions, words that only begin like an account."""
    assert Discretion(["mysql://reader:pw@db/hr"], ["hr"]).of(sentence) == sentence


def test_every_sentence_of_a_heartbeat() -> None:
    """Of streams, tables, grants and descriptions."""
    told: dict[str, Any] = {"sentence": "no way to db.local", "fix": "ask reader"}
    request = node_pb2.HeartbeatRequest(
        streams=[node_pb2.StreamReport(**told, tables=[node_pb2.TableReport(**told)])],
        received=[node_pb2.ReceivedReport(**told)],
        shapes=[node_pb2.TableShape(trouble=told["sentence"])],
    )
    Discretion(["mysql://reader:pw@db.local/hr"]).keep(request)
    assert b"db.local" not in request.SerializeToString() and b"reader" not in request.SerializeToString()
    assert request.streams[0].tables[0].sentence == "no way to …"


def test_why_a_grant_stands_still() -> None:
    """On a Pull as in a heartbeat; the grant itself stays readable."""
    hold = exchange_pb2.PullHold(grant="G-1", sentence="no way to db.local", fix="ask reader")
    request = exchange_pb2.PullRequest(hold=hold)
    Discretion(["mysql://reader:pw@db.local/hr"]).keep_hold(request)
    assert (request.hold.grant, request.hold.sentence, request.hold.fix) == ("G-1", "no way to …", "ask …")

    receipt = exchange_pb2.PullRequest(receipt=exchange_pb2.Received(grant="G-1", seq=7))
    before = receipt.SerializeToString()
    Discretion(["mysql://reader:pw@db.local/hr"]).keep_hold(receipt)
    assert receipt.SerializeToString() == before
