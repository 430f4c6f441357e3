"""What is confirmed to the source is on disk: no setting of a database's own can weaken that."""

from __future__ import annotations

from agent.exchange import open_exchange


def test_a_commit_in_a_file_waits_for_the_disk(tmp_path):
    """FULL in write-ahead mode: the log is synchronised at every commit."""
    engine = open_exchange(f"sqlite:///{tmp_path / 'exchange.db'}", "hr-node")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_a_commit_in_postgresql_waits_for_the_disk(postgres15):
    """Also where the database's administrator chose otherwise for everybody."""
    name = postgres15.new_database("exchange")
    with postgres15.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    engine = open_exchange(postgres15.url(name), "hr-node")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    engine.dispose()
    postgres15.drop_database(name)
