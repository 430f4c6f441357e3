"""Old records leave only with two persons and an export, and the chain goes on from a tombstone (SD26.3)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from central import audit
from central.audit import Tip
from central.log.checking import check_export
from central.log.export import CERTIFICATE, INDEX, SIGNATURE, export_log
from central.people import Actor, Role
from central.people.office import actor
from central.store import reading, writing
from central.store.log import TOMBSTONES
from central.store.tables import AUDIT
from central.store.traces import TRACES
from proto.errors import ExchangeError, NotAdmitted, Refused
from proto.signing import SignatureWrong
from tests.support.bureaucracy import Bureaucracy
from tests.support.shares import grant_directly, put_in_force

pytest_plugins = ["tests.support.stores"]
OLD_US = 1_500_000_000_000_000
"""In July 2017."""
BEFORE = date(2018, 1, 1)


class Archive:
    """A chain with seven old records and three of today, and people to decide."""

    def __init__(self, store, folder: Path) -> None:
        self.people, self.store, self.folder = Bureaucracy(store, folder), store, folder
        self.chain = f"旧日志{self.people.number}"
        people = self.people
        people.hire("he-shen", people.bureau, Role.AUDIT_ADMIN)
        people.hire("an-quan", people.bureau, Role.SECURITY_ADMIN)
        with writing(store.engine) as connection:
            for number in range(7):
                tip = audit.tip(connection, self.chain)
                old = Tip(tip.chain, tip.n, tip.digest, OLD_US + number)
                audit.append(connection, old, "tried", {"number": number})
            for number in range(3):
                audit.record(connection, self.chain, "tried", number=number)

    def export(self, name: str, **when: int) -> Path:
        """As files."""
        return export_log(self.store.engine, self.people.signer, self.folder / name, **when).folder

    def do(self, verb: str, person: str, **arguments: Any) -> Any:
        """One verb of the log."""

        def who(connection: Connection) -> Actor:
            return actor(connection, self.people.called(person), "certificate")

        return self.people.desk.do(f"audit.{verb}", arguments, who)

    def retire(self, folder: Path, person: str = "he-shen", before: date = BEFORE) -> Any:
        """Ask."""
        said = {name: (folder / file).read_text("utf-8") for name, file in FILES.items()}
        return self.do("retire", person, before=before.isoformat(), reason="满五年", **said)

    def left(self) -> list[int]:
        """The numbers that are still there, each checked."""
        with reading(self.store.engine) as connection:
            return [record.n for record in audit.records(connection, self.chain)]


FILES = {"index": INDEX, "signature": SIGNATURE, "certificate": CERTIFICATE}


@pytest.fixture
def archive(store, tmp_path) -> Archive:
    """A fresh one."""
    return Archive(store, tmp_path)


def test_two_persons_retire_what_is_old(archive):
    """The old prefix goes, the rest verifies from the tombstone, in the database and as files."""
    whole = archive.export("whole")
    asked = archive.retire(whole)
    assert {"chain": archive.chain, "up_to": 7} in asked["chains"]
    assert archive.left() == list(range(1, 11))
    done = archive.do("confirm_retirement", "an-quan", number=asked["number"])

    assert done["records"] >= 7
    assert archive.left() == [8, 9, 10]
    with reading(archive.store.engine) as connection:
        grave = connection.execute(select(TOMBSTONES).where(TOMBSTONES.c.chain == archive.chain)).one()
        said = list(audit.records(connection, "decisions"))[-1]
    assert (grave.n, grave.asked_by, grave.confirmed_by) == (
        7,
        archive.people.called("he-shen"),
        archive.people.called("an-quan"),
    )
    assert said.event == "records_retired"
    later = archive.export("later")
    report = check_export(later, archive.people.authority.pem, [whole])
    assert [each for each in report.findings if each.chain == archive.chain] == []


def test_records_under_the_years_never_go(archive):
    """Not by asking, and not by a confirmed request: the database lets go only what is older than its tombstone."""
    whole = archive.export("whole")
    with pytest.raises(Refused, match="kept for 5 years"):
        archive.retire(whole, before=datetime.now(UTC).date())
    asked = archive.retire(whole)
    archive.do("confirm_retirement", "an-quan", number=asked["number"])
    table = archive.store.table("central_audit")
    with pytest.raises(Exception, match="append-only"), writing(archive.store.engine) as connection:
        connection.execute(text(f"DELETE FROM {table} WHERE chain = '{archive.chain}'"))
    assert archive.left() == [8, 9, 10]


def test_what_was_traced_leaves_with_its_record(archive):
    """And not before: a trace is as old as the record that it lies beside (SD26.3, SD26.4)."""
    entry = archive.people.entry()
    grant = f"老授权{archive.people.number}"
    with writing(archive.store.engine) as connection:
        put_in_force(connection, entry)
        grant_directly(connection, grant, "civil", entry, {})
        rows = connection.execute(select(AUDIT).where(AUDIT.c.chain == archive.chain)).all()
        same = {
            "grant_id": grant,
            "chain": archive.chain,
            "form": 0,
            "rows": 1,
            "traced": 1,
            "digests": b"8 bytes.",
        }
        connection.execute(insert(TRACES), [{**same, "n": row.n, "at_us": row.at_us} for row in rows])
    asked = archive.retire(archive.export("whole"))
    archive.do("confirm_retirement", "an-quan", number=asked["number"])
    with reading(archive.store.engine) as connection:
        left = connection.scalars(
            select(TRACES.c.n).where(TRACES.c.grant_id == grant).order_by(TRACES.c.n)
        ).all()
    assert left == archive.left() == [8, 9, 10]


def test_one_person_is_not_enough(archive):
    """Nor is the wrong role, nor a number that does not wait."""
    whole = archive.export("whole")
    asked = archive.retire(whole)
    with pytest.raises(NotAdmitted):
        archive.retire(whole, person="liu-yang")
    with pytest.raises(NotAdmitted):
        archive.do("confirm_retirement", "he-shen", number=asked["number"])
    archive.do("confirm_retirement", "liu-yang", number=asked["number"])
    with pytest.raises(Refused, match="no such retirement waits"):
        archive.do("confirm_retirement", "liu-yang", number=asked["number"])


def test_without_a_whole_export_nothing_goes(archive, tmp_path):
    """A part of the time, a changed index, another platform's signature."""
    part = archive.export("part", since_us=OLD_US + 3)
    with pytest.raises(Refused, match="does not hold records 1 to 7"):
        archive.retire(part)
    index = part / INDEX
    index.write_bytes(index.read_bytes().replace(b'"first":4', b'"first":1'))
    with pytest.raises(SignatureWrong):
        archive.retire(part)
    (part / CERTIFICATE).write_text("x")
    with pytest.raises(SignatureWrong, match="not this platform's"):
        archive.retire(part)


def test_the_database_itself_wants_two_persons_and_keeps_tombstones(archive):
    """Whatever a program says."""
    grave = {
        "chain": archive.chain,
        "n": 3,
        "digest": b"x",
        "before_us": OLD_US,
        "at_us": OLD_US + 1,
        "asked_by": "he-shen",
        "confirmed_by": "he-shen",
        "export": "x",
    }
    with pytest.raises((ExchangeError, Exception), match="two_persons"), writing(archive.store.engine) as one:
        one.execute(insert(TOMBSTONES), grave)
    asked = archive.retire(archive.export("whole"))
    archive.do("confirm_retirement", "an-quan", number=asked["number"])
    for statement in ("DELETE FROM {}", "UPDATE {} SET n = n + 1"):
        with pytest.raises(Exception, match="append-only"), writing(archive.store.engine) as connection:
            connection.execute(text(statement.format(archive.store.table("central_tombstones"))))
