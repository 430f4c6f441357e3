"""What an exchange database on MariaDB needs of its server and of whoever grants rights there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect, make_url
from sqlalchemy.exc import DBAPIError

from agent.exchange import Exchange, migrate, open_exchange
from agent.exchange.store import server_of
from proto.errors import Refused, Transient
from tests.support.exchanges import NODE, ROOMY, STREAM
from tests.support.mariadb import MariadbServer
from tests.support.rows import both, mirrored


@pytest.fixture
def engine(mariadb: MariadbServer) -> Iterator[Engine]:
    """An empty exchange database."""
    name = mariadb.new_database("exchange")
    engine = open_exchange(mariadb.url(name), NODE)
    yield engine
    engine.dispose()
    mariadb.drop_database(name)


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("innodb_flush_log_at_trx_commit = 2", "innodb_flush_log_at_trx_commit = 1"),
        ("sync_binlog = 0", "sync_binlog = 1"),
        ("max_allowed_packet = 16777216", "max_allowed_packet = 67108864"),
    ],
)
def test_a_server_that_would_lose_commits_is_not_begun_with(
    mariadb: MariadbServer, engine: Engine, weak: str, strong: str
):
    """Nobody but its administrator can mend that: the error says what to type, and the next try finds it mended."""
    migrate(engine)
    exchange = Exchange(engine, STREAM, ROOMY)
    mariadb.execute(f"SET GLOBAL {weak}")
    try:
        with pytest.raises(Transient, match="power cut") as caught:
            exchange.start()
    finally:
        mariadb.execute(f"SET GLOBAL {strong}")

    assert f"SET GLOBAL {strong.partition(' =')[0]}" in caught.value.fix
    exchange.start()
    exchange.close()


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mariadb+pymysql", "mysql+pymysql"])
def test_every_way_to_write_the_address_is_one_driver(mariadb: MariadbServer, engine: Engine, scheme: str):
    """Also those that mean another driver elsewhere."""
    url = engine.url.set(drivername=scheme).render_as_string(hide_password=False)
    opened = open_exchange(url, NODE)
    migrate(opened)
    exchange = Exchange(opened, STREAM, ROOMY)
    exchange.start()
    exchange.commit([both(1, 1, 2)])

    assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
    assert {"hr.person", "hr.visit", "exchange_outbox"} <= set(inspect(opened).get_table_names())
    exchange.close()
    opened.dispose()


def test_an_address_without_a_database_is_refused():
    """There is no default to write into by mistake."""
    with pytest.raises(Refused, match="names no database"):
        open_exchange("mysql+pymysql://root:secret@127.0.0.1", NODE)


def test_check_finds_missing_rights_and_names_the_grant(mariadb: MariadbServer, engine: Engine):
    """What it tells the administrator to type is enough for everything, and probing leaves nothing behind."""
    mariadb.execute("CREATE OR REPLACE USER agent@'%' IDENTIFIED BY 'x'")
    mariadb.execute(f"GRANT SELECT ON {engine.url.database}.* TO agent@'%'")
    url = engine.url.set(username="agent", password="x").render_as_string(hide_password=False)
    poor = open_exchange(url, NODE)
    with poor.connect() as connection, pytest.raises(DBAPIError, match="denied"):
        server_of(poor).probe(connection)

    mariadb.execute(server_of(poor).grant(make_url(url)))
    poor.dispose()
    with poor.connect() as connection:
        server_of(poor).probe(connection)
    assert inspect(engine).get_table_names() == []
    migrate(poor)
    exchange = Exchange(poor, STREAM, ROOMY)
    exchange.start()
    exchange.commit([both(1, 1)])
    exchange.close()
    poor.dispose()


def test_a_lost_server_is_tried_again():
    """A commit that may or may not have happened is read again from the checkpoint."""
    with MariadbServer() as server:
        engine = open_exchange(server.url(server.new_database("exchange")), NODE)
        migrate(engine)
        exchange = Exchange(engine, STREAM, ROOMY)
        exchange.start()
        exchange.commit([both(1, 1)])
        server.kill()
        with pytest.raises(Transient):
            exchange.commit([both(2, 2)])
        server.start()

        assert exchange.checkpoint().position == "0001"
        exchange.commit([both(2, 2)])
        assert mirrored(exchange) == [(1, "p1"), (2, "p2")]
        exchange.close()
        engine.dispose()
