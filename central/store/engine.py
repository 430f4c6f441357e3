"""How central enters its database: an engine, and one context for each transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, Engine, Transaction, create_engine, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from central.store.databases import WRITES, Database, database_of
from central.store.tables import NowUs
from proto.errors import DiskBlocked, Refused, Transient

POOL_CONNECTIONS: Final = 16
POOL_WAIT_S: Final = 30
RECYCLE_S: Final = 1800


def open_store(url: str, threads: int = POOL_CONNECTIONS) -> Engine:
    """An engine with a connection for each of *threads*; nothing is connected yet. Raises Refused."""
    try:
        parsed = make_url(url)
        database = database_of(parsed.get_backend_name())
        options = database.options(parsed)
    except ArgumentError as error:
        raise Refused("the database URL cannot be read", where="database") from error
    engine = create_engine(
        parsed,
        pool_size=threads,
        # The last connection used is the next one used: its staging tables and caches are warm.
        pool_use_lifo=True,
        max_overflow=2,
        pool_timeout=POOL_WAIT_S,
        pool_recycle=RECYCLE_S,
        hide_parameters=True,
        **options,
    )
    database.listen(engine)
    return engine


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that changes nothing."""
    with _our_errors(_database(engine)), engine.connect() as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def looking_back(engine: Engine) -> Iterator[Connection]:
    """One transaction that changes nothing and sees one moment, whatever is written meanwhile."""
    database = _database(engine)
    with _our_errors(database), engine.connect() as plain, (still := database.one_moment(plain)).begin():
        yield still


@contextlib.contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """One transaction that happens whole or not at all; with ``durable`` it survives a power cut."""
    database = _database(engine)
    with _our_errors(database), database.turn(engine), engine.connect() as connection:
        transaction = connection.execution_options(**{WRITES: durable}).begin()
        with transaction:
            yield connection
            _commit(transaction, database)


def together(connection: Connection) -> contextlib.AbstractContextManager[object]:
    """Statements inside need not wait for each other's answers; none of them may return rows."""
    return database_of(connection.dialect.name).together(connection)


def now_us(connection: Connection) -> int:
    """The database's clock, microseconds since 1970."""
    return connection.execute(select(NowUs())).scalar_one()


def _database(engine: Engine) -> Database:
    return database_of(engine.dialect.name)


def _commit(transaction: Transaction, database: Database) -> None:
    try:
        transaction.commit()
    except DBAPIError as error:
        if isinstance(full := database.meaning(error), DiskBlocked):
            raise full from error
        raise Transient("nobody knows whether the commit happened; read again", where="database") from error


@contextlib.contextmanager
def _our_errors(database: Database) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        meaning = database.meaning(error)
        if meaning is None:
            raise
        raise meaning from error
