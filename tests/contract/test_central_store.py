"""Central's database, its audit log and its registry, on every database it may stand on."""

from __future__ import annotations

import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from central import audit
from central.store import METADATA, SCHEMA, migrate, now_us, open_store, reading, writing
from central.store.tables import AUDIT, AUDIT_HEADS, NODES
from proto.errors import Credential, Diverged, Refused, Transient
from tests.support.stores import Store

pytest_plugins = ["tests.support.stores"]
DIALECTS = ("sqlite", "postgres15", "postgres18")


def test_the_migrated_tables_are_the_ones_in_code(store):
    """Otherwise a change of the tables was left without a migration."""
    with store.engine.connect() as connection:
        schema = None if store.is_sqlite else SCHEMA
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == schema,
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
        names = set(inspect(connection).get_table_names(schema=schema))

    assert {table.name for table in METADATA.tables.values()} <= names
    if not store.is_sqlite:
        assert [change for change in found if "version" not in str(change)] == []


def test_migrating_again_and_at_once_changes_nothing(store):
    """Several central processes may start together."""
    threads = [threading.Thread(target=migrate, args=(store.engine,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(store.engine) as connection:
        versions = connection.execute(text(f"SELECT * FROM {store.table('central_version')}")).all()

    assert versions == [("0012",)]


def test_a_newer_database_is_refused(store):
    """An older release must not write into tables it does not know (fault H4)."""
    store.run(f"UPDATE {store.table('central_version')} SET version_num = '9999'")
    try:
        with pytest.raises(Refused, match="9999 is not known to this release"):
            migrate(store.engine)
    finally:
        store.run(f"UPDATE {store.table('central_version')} SET version_num = '0001'")


@pytest.mark.parametrize(
    "url", ["mysql+pymysql://x/y", "sqlite://", "sqlite:///:memory:", "postgresql+psycopg2://x/y", "nonsense"]
)
def test_a_database_that_cannot_hold_central_is_refused(url):
    """At start, with a sentence."""
    with pytest.raises(Refused):
        open_store(url)


def test_a_database_that_cannot_be_reached_is_no_bug(tmp_path):
    """The server may come back; the file's directory may not."""
    with pytest.raises(Transient), reading(open_store("postgresql+psycopg://nobody@127.0.0.1:1/x")):
        pass
    with (
        pytest.raises(Refused, match="cannot be opened"),
        reading(open_store(f"sqlite:///{tmp_path}/no/x.db")),
    ):
        pass


def test_a_missing_database_is_a_matter_of_credentials_or_patience(postgres15):
    """The server's own words stay out of ours."""
    with pytest.raises((Transient, Credential)) as caught, reading(open_store(postgres15.url("missing"))):
        pass
    assert "missing" not in str(caught.value)


def test_commits_are_durable_unless_the_ledger_stands_behind(store):
    """Asked of the server itself."""
    setting = "PRAGMA synchronous" if store.is_sqlite else "SHOW synchronous_commit"
    found = []
    for durable in (True, False, True):
        with writing(store.engine, durable=durable) as connection:
            found.append(connection.exec_driver_sql(setting).scalar_one())

    assert found == ([2, 1, 2] if store.is_sqlite else ["on", "off", "on"])


def test_a_failed_transaction_leaves_nothing(store, node):
    """Whole or not at all."""
    with pytest.raises(ZeroDivisionError), writing(store.engine) as connection:
        connection.execute(NODES.insert(), {"node": node.name, "added_us": 1})
        raise ZeroDivisionError
    with reading(store.engine) as connection:
        assert connection.scalar(select(func.count()).where(NODES.c.node == node.name)) == 0


def test_the_databases_clock_goes_on_inside_a_transaction(store):
    """Expiry is judged at the moment of asking, in microseconds since 1970."""
    with reading(store.engine) as connection:
        first = now_us(connection)
        time.sleep(0.01)
        second = now_us(connection)

    assert first + 10_000 <= second < first + 60_000_000
    assert abs(first - time.time() * 1_000_000) < 60_000_000


def test_a_chain_of_records_can_be_walked(store, node):
    """Numbers are dense, chains do not know each other."""
    with writing(store.engine) as connection:
        numbers = [
            audit.record(connection, node.name, "tried", number=number, ok=True) for number in range(5)
        ]
        assert audit.verify(connection, node.name) == 5
        assert audit.verify(connection, "nothing") == 0
        assert node.name in audit.chains(connection)

    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "statement", ["UPDATE {audit} SET event = 'x'", "DELETE FROM {audit}", "TRUNCATE {audit}"]
)
def test_records_cannot_be_changed_by_accident(store, node, statement):
    """The database itself refuses."""
    with writing(store.engine) as connection:
        audit.record(connection, node.name, "tried")

    with pytest.raises(
        DBAPIError, match="TRUNCATE" if store.is_sqlite and "TRUNC" in statement else "append-only"
    ):
        store.run(statement)


TAMPERINGS = {
    "changed": ("UPDATE {audit} SET facts = '[]' WHERE chain = :c AND n = 3", 3),
    "moved in time": ("UPDATE {audit} SET at_us = at_us + 1 WHERE chain = :c AND n = 3", 3),
    "removed": ("DELETE FROM {audit} WHERE chain = :c AND n = 3", 3),
    "cut off": ("DELETE FROM {audit} WHERE chain = :c AND n > 3", 4),
    "inserted": (
        "INSERT INTO {audit} SELECT chain, 6, at_us, event, facts, digest FROM {audit} WHERE chain = :c AND n = 5",
        6,
    ),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_a_changed_record_is_found(store, node, how):
    """By somebody who owns the tables and took the guards away."""
    statement, first_bad = TAMPERINGS[how]
    with writing(store.engine) as connection:
        for number in range(5):
            audit.record(connection, node.name, "tried", number=number)
    with guards_off(store):
        store.run(statement, c=node.name)

    with pytest.raises(Diverged, match=f"record {first_bad} "), reading(store.engine) as connection:
        audit.verify(connection, node.name)


class guards_off:  # noqa: N801 - reads as a phrase
    """The audit table without its triggers, for one statement."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.saved: list[str] = []

    def __enter__(self) -> None:
        if not self.store.is_sqlite:
            self.store.run("ALTER TABLE {audit} DISABLE TRIGGER ALL")
            return
        with writing(self.store.engine) as connection:
            triggers = connection.execute(
                text(
                    "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'central_audit'"
                )
            ).all()
            for name, made in triggers:
                self.saved.append(made)
                connection.exec_driver_sql(f"DROP TRIGGER {name}")

    def __exit__(self, *_: object) -> None:
        if not self.store.is_sqlite:
            self.store.run("ALTER TABLE {audit} ENABLE TRIGGER ALL")
        with writing(self.store.engine) as connection:
            for made in self.saved:
                connection.exec_driver_sql(made)


def test_an_action_whose_record_fails_does_not_happen(store, node):
    """Fail closed (fault P10): without its record, a batch is not accepted."""
    node.start(1)
    store.run(f"DELETE FROM {store.table('central_audit_heads')} WHERE chain = :c", c=node.stream)

    with pytest.raises(Transient):
        node.push(node.events(2, 2))
    assert node.record().accepted_seq == 1


def test_a_chain_may_be_written_from_many_sides(store, node):
    """They wait for each other, none is lost."""

    def write() -> None:
        for _ in range(10):
            with writing(store.engine) as connection:
                audit.record(connection, node.name, "tried")

    write()
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(store.engine) as connection:
        assert audit.verify(connection, node.name) == 50
        assert connection.scalar(select(AUDIT_HEADS.c.n).where(AUDIT_HEADS.c.chain == node.name)) == 50
        assert connection.scalar(select(func.count()).where(AUDIT.c.chain == node.name)) == 50
