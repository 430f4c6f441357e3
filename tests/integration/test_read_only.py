"""The agent's account at a PostgreSQL reads and nothing else: check proves it by asking for a write (SD40.3)."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from agent.sources.postgresql.source import PostgresqlSource
from agent.sources.source import Finding
from tests.support.listener import unopened

READER, GROUP = "duqu_ro", "yewu_rw"
GIVEN = {
    "the right to delete": (f"GRANT DELETE ON 人员 TO {READER}", f"REVOKE DELETE ON 人员 FROM {READER}"),
    "one column, to everybody": (
        "GRANT UPDATE (name) ON 人员 TO PUBLIC",
        "REVOKE UPDATE (name) ON 人员 FROM PUBLIC",
    ),
    "emptying": (f"GRANT TRUNCATE ON 人员 TO {READER}", f"REVOKE TRUNCATE ON 人员 FROM {READER}"),
    "the owner's group": (f"GRANT {GROUP} TO {READER}", f"REVOKE {GROUP} FROM {READER}"),
    "every power": (f"ALTER ROLE {READER} SUPERUSER", f"ALTER ROLE {READER} NOSUPERUSER"),
}


@pytest.fixture
def reader(db, postgres, business) -> Iterator[PostgresqlSource]:
    """A source whose account was made as the documents say."""
    db.execute(f"CREATE ROLE {READER} LOGIN REPLICATION")
    db.execute(f"CREATE ROLE {GROUP}")
    db.execute("CREATE TABLE 人员 (id int PRIMARY KEY, name text)")
    db.execute(f"ALTER TABLE 人员 OWNER TO {GROUP}")
    db.execute(f"GRANT SELECT ON 人员 TO {READER}")
    yield unopened(postgres, business, "人员", dsn=make_conninfo(postgres.dsn(business), user=READER))
    db.execute("DROP TABLE 人员")
    db.execute(f"DROP ROLE {READER}")
    db.execute(f"DROP ROLE {GROUP}")


def about_writing(source: PostgresqlSource) -> list[Finding]:
    """What check says of it."""
    return [each for each in source.check() if each.name in ("table 人员: no writing", "no superuser")]


def test_an_account_that_only_reads_passes(reader, postgres, business):
    """And the server says the same when it is really asked (SD40.3)."""
    assert [each.passed for each in about_writing(reader)] == [True, True]
    with psycopg.connect(make_conninfo(postgres.dsn(business), user=READER)) as session:
        for statement in ("DELETE FROM 人员", "INSERT INTO 人员 VALUES (1, 'x')", "TRUNCATE 人员"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                session.execute(statement)


@pytest.mark.parametrize(("give", "take"), GIVEN.values(), ids=list(GIVEN))
def test_an_account_that_could_write_is_found_out(reader, db, give, take):
    """However it came by the right; with what mends it; and nothing was changed by asking (SD40.3)."""
    db.execute("INSERT INTO 人员 VALUES (1, '王')")
    db.execute(give)
    failed = [each for each in about_writing(reader) if not each.passed]
    assert len(failed) == 1 and failed[0].fix
    db.execute(take)
    assert all(each.passed for each in about_writing(reader))
    assert db.execute("SELECT * FROM 人员").fetchall() == [(1, "王")]
