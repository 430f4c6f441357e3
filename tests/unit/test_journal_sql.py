"""The SQL of journals where no server can be had here: as reviewed by hand against the manuals."""

from __future__ import annotations

import pytest

from agent.sources.journal.dialects import JournalPlace, Watched, dialect_of
from proto.errors import Refused
from proto.values import Kind

JOURNAL = JournalPlace("exchange", "exchange_journal")
PERSON = Watched(
    "dbo", "人口", (("编号", Kind.INT64), ("it's", Kind.TEXT), ("hash", Kind.BYTES), ("day", Kind.DATE))
)


def test_sql_server_notes_all_rows_of_a_statement_at_once():
    """UNION leaves out an old key that is also a new one."""
    (trigger,) = dialect_of("mssql").triggers(JOURNAL, PERSON)
    key = (
        "N'[' + N'\"' + STRING_ESCAPE(CONVERT(NVARCHAR(4000), [编号]), 'json') + N'\"' + N',' + "
        "N'\"' + STRING_ESCAPE(CONVERT(NVARCHAR(4000), [it's]), 'json') + N'\"' + N',' + "
        "N'\"' + STRING_ESCAPE(N'\\x' + LOWER(CONVERT(NVARCHAR(4000), [hash], 2)), 'json') + N'\"' + N',' + "
        "N'\"' + STRING_ESCAPE(CONVERT(NVARCHAR(4000), [day], 23), 'json') + N'\"' + N']'"
    )

    assert trigger.create == (
        f"CREATE OR ALTER TRIGGER [dbo].[{trigger.name}] ON [dbo].[人口] AFTER INSERT, UPDATE, DELETE AS BEGIN "
        "SET NOCOUNT ON; INSERT INTO [exchange].[exchange_journal] (place, op, k) "
        f"SELECT N'dbo.人口', N'k', k FROM (SELECT {key} AS k FROM inserted UNION SELECT {key} FROM deleted) AS keys; END",
    )
    assert trigger.drop == (f"DROP TRIGGER IF EXISTS [dbo].[{trigger.name}]",)


def test_oracle_notes_row_by_row():
    """With the rights of whoever made the trigger."""
    (trigger,) = dialect_of("oracle").triggers(JOURNAL, Watched("HR", "PERSON", PERSON.key))
    head, _, body = trigger.create[0].partition("\n")
    key = (
        'JSON_ARRAY(TO_CHAR(:NEW."编号", \'TM9\'), :NEW."it\'s", \'\\x\' || LOWER(RAWTOHEX(:NEW."hash")), '
        "TO_CHAR(:NEW.\"day\", 'YYYY-MM-DD') RETURNING VARCHAR2(4000))"
    )

    assert head == (
        f'CREATE OR REPLACE TRIGGER "HR"."{trigger.name}" AFTER INSERT OR UPDATE OR DELETE ON "HR"."PERSON" FOR EACH ROW'
    )
    assert f"IF NOT DELETING THEN SELECT {key} INTO new_key FROM dual; END IF;" in body
    assert "IF old_key IS NOT NULL AND (new_key IS NULL OR old_key <> new_key) THEN" in body
    assert (
        body.count("INSERT INTO \"exchange\".\"exchange_journal\" (place, op, k) VALUES ('HR.PERSON', 'k', ")
        == 2
    )


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        ("mssql", "DELETE FROM [exchange].[exchange_journal] WHERE id BETWEEN 5 AND 11 AND (id - 5) % 3 = 0"),
        (
            "oracle",
            'DELETE FROM "exchange"."exchange_journal" WHERE id BETWEEN 5 AND 11 AND MOD(id - 5, 3) = 0',
        ),
    ],
)
def test_a_run_with_steps_is_deleted_exactly(database, statement):
    """Entries between the steps belong to others, who may not have committed yet."""
    assert dialect_of(database).delete(JOURNAL, 5, 11, 3) == statement


@pytest.mark.parametrize("database", ["mssql", "oracle"])
def test_scripts_end_each_statement_as_the_client_wants(database):
    """Bodies hold semicolons, so a line of its own ends a statement."""
    end = {"mssql": "GO", "oracle": "/"}[database]

    assert dialect_of(database).script(["A; B", "C"]) == f"A; B\n{end}\n\nC\n{end}"


@pytest.mark.parametrize("database", ["postgresql", "mysql", "sqlite", "mssql", "oracle"])
def test_a_trigger_is_named_after_what_it_does(database):
    """Another key is another name, so the wrong trigger is as good as none."""
    dialect = dialect_of(database)
    one = dialect.triggers(JOURNAL, Watched("s", "t", (("a", Kind.INT32),)))
    other = dialect.triggers(JOURNAL, Watched("s", "t", (("b", Kind.INT32),)))

    assert not {trigger.name for trigger in one} & {trigger.name for trigger in other}
    assert all(trigger.name.lower().startswith("exchange_journal_") for trigger in one)


@pytest.mark.parametrize("database", ["postgresql", "mysql", "sqlite", "mssql", "oracle"])
def test_a_key_that_cannot_be_noted_exactly_is_refused(database):
    """Its text would depend on what a business session has set."""
    for key in ((), (("at", Kind.TIMESTAMPTZ),), (("share", Kind.FLOAT64),)):
        with pytest.raises(Refused):
            dialect_of(database).triggers(JOURNAL, Watched("s", "t", key))


def test_a_database_without_triggers_of_ours_is_named():
    """With the other way of listening."""
    with pytest.raises(Refused, match="access"):
        dialect_of("access")
