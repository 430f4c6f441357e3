"""The log leaves as files, and whatever is done to them is found, with the record named (SD26.2)."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from central import audit
from central.ca import make_authority
from central.log.checking import Report, check_export
from central.log.checkpoints import Checkpoints, mark, signed
from central.log.export import INDEX, export_log
from central.store import now_us, reading, writing
from central.store.log import CHECKPOINTS
from proto.errors import Diverged, ExchangeError, Refused
from proto.log import Checkpoint, Signed, demand_follows
from proto.signing import SignatureWrong, Signer
from tests.support.stores import Store, opened

pytest_plugins = ["tests.support.stores"]
_numbers = itertools.count(1)


class Log:
    """A chain of its own in a store where other tests broke theirs, and a platform that signs."""

    def __init__(self, store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.chain = f"日志{next(_numbers)}"
        self.authority = AUTHORITY
        issued = self.authority.issue_platform("省平台")
        issued.write(folder / "platform.pem", folder / "platform.key")
        self.signer = Signer.load(folder / "platform.pem", folder / "platform.key")

    def write(self, count: int) -> None:
        """So many more records."""
        with writing(self.store.engine) as connection:
            for number in range(count):
                audit.record(connection, self.chain, "tried", number=number, note="备注")

    def mark(self) -> int:
        """A checkpoint."""
        return mark(self.store.engine, self.signer)

    def export(self, name: str = "out", **when: int) -> Path:
        """As files."""
        return export_log(self.store.engine, self.signer, self.folder / name, **when).folder

    def file(self, folder: Path) -> Path:
        """Where this chain is."""
        index = json.loads((folder / INDEX).read_bytes())
        return folder / str(next(each["file"] for each in index["chains"] if each["chain"] == self.chain))

    def held(self, name: str = "node.jsonl") -> Path:
        """What a node holds now: the newest checkpoint."""
        with reading(self.store.engine) as connection:
            newest = signed(connection, 1, 10**6)[-1]
        (self.folder / name).write_text(f"{newest.to_line()}\n", encoding="utf-8")
        return self.folder / name

    def check(self, folder: Path, *witnesses: Path) -> Report:
        """Offline. Other tests break chains of their own in this store; only this chain and the checkpoints count."""
        report = check_export(folder, self.authority.pem, witnesses)
        report.findings = [each for each in report.findings if each.chain in {self.chain, "checkpoints"}]
        return report

    def first_bad(self, folder: Path, *witnesses: Path) -> tuple[str, int]:
        """What is named."""
        found = self.check(folder, *witnesses).findings
        assert found, "nothing was found"
        return found[0].chain, found[0].n


AUTHORITY = make_authority("市大数据局 CA")


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Not the session's: all that is in it is exported and checked hundreds of times, so it is to be little."""
    yield from opened(request, tmp_path_factory)


@pytest.fixture
def log(store, tmp_path) -> Log:
    """Ten records under two checkpoints."""
    forget_checkpoints(store)
    made = Log(store, tmp_path)
    made.write(4)
    made.mark()
    made.write(6)
    made.mark()
    return made


def test_what_is_exported_is_whole(log):
    """The chain, every other one, and the witnesses agree (SD26.2)."""
    held = log.held()
    report = log.check(log.export(), held)

    assert report.findings == []
    assert report.records >= 10
    assert report.witnesses == 1


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda lines: [*lines[:4], lines[4].replace('"tried"', '"lied"'), *lines[5:]], 5),
        (lambda lines: [*lines[:4], lines[4].replace(":", ": ", 1), *lines[5:]], 5),
        (lambda lines: lines[:4] + lines[5:], 5),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], 6),
        (lambda lines: lines[1:], 1),
        (lambda lines: lines[:-2], 9),
        (lambda lines: [], 1),
    ],
)
def test_damage_is_found_and_the_first_bad_record_is_named(log, damage, named):
    """Altered, removed, reordered, inserted, cut off (SD26.2)."""
    folder = log.export()
    file = log.file(folder)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("".join(f"{line}\n" for line in damage(lines)), encoding="utf-8")

    assert log.first_bad(folder) == (log.chain, named)


def test_random_damage_is_always_found(log):
    """Hundreds of changed bits anywhere in the chain's file: each is found, none names a record after it."""
    folder, rng = log.export(), random.Random(26)
    file = log.file(folder)
    whole = file.read_bytes()
    for _ in range(300):
        at = rng.randrange(len(whole) - 1)
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        chain, named = log.first_bad(folder)
        assert (chain, True) == (log.chain, named <= whole[:at].count(b"\n") + 1), at


def test_an_end_that_was_cut_before_the_export_is_found_through_witnesses(log, tmp_path):
    """The platform removes its last records, signs a new story, and exports that (SD26.2, missing tail)."""
    earlier, held = log.export("earlier"), log.held()
    rewrite(log, keep=6)
    folder = log.export("rewritten")

    assert log.check(folder).findings == []  # by itself it is a perfect log
    assert log.first_bad(folder, earlier) == (log.chain, 7)
    assert log.check(folder, held).findings[0].chain == "checkpoints"


def test_a_story_told_anew_is_found_through_witnesses(log):
    """As many records as before, and another one among them."""
    earlier = log.export("earlier")
    rewrite(log, keep=4)
    log.write(6)
    log.mark()
    folder = log.export("rewritten")

    assert log.check(folder).findings == []
    chain, named = log.first_bad(folder, earlier)
    assert chain == log.chain
    assert named <= 5


def test_a_shorter_log_is_never_signed(log):
    """Central notices by itself when records vanish under its checkpoints."""
    cut(log, keep=6)
    with pytest.raises(Diverged, match="record 10 was there"):
        log.mark()
    rewrite(log, keep=6)


def test_a_part_of_the_time_is_exported(log):
    """With what comes before and after left out, and still checked."""
    with reading(log.store.engine) as connection:
        middle = now_us(connection)
    log.write(3)
    late, early = log.export("late", since_us=middle), log.export("early", until_us=middle)

    assert [len(log.file(each).read_text("utf-8").splitlines()) for each in (late, early)] == [3, 10]
    assert log.check(late).findings == log.check(early, late).findings == []


def test_an_export_signed_by_somebody_else_is_refused(log, tmp_path):
    """Another authority's platform; a changed index; a folder of something else; a folder that is in use."""
    folder = log.export()
    with pytest.raises(SignatureWrong):
        check_export(folder, make_authority("另一个").pem)
    with pytest.raises(Refused, match="files already"):
        log.export()
    index = folder / INDEX
    index.write_bytes(index.read_bytes().replace(b'"first":1', b'"first":2', 1))
    with pytest.raises(SignatureWrong):
        log.check(folder)
    with pytest.raises(Refused, match="no export"):
        log.check(tmp_path)


def test_damaged_checkpoints_are_found(log):
    """One is gone, one is changed, one names another end."""
    folder = log.export()
    file = folder / "checkpoints.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for changed in (lines[:-1], lines[:-2] + lines[-1:], [*lines[:-1], lines[-1].replace(log.chain, "x")]):
        file.write_text("".join(changed), encoding="utf-8")
        assert log.first_bad(folder)[0] == "checkpoints"


def test_a_checkpoint_is_made_only_when_something_was_added(log):
    """And each follows the one before it."""
    before = log.mark()
    assert log.mark() == before
    log.write(1)
    assert log.mark() == before + 1
    with reading(log.store.engine) as connection:
        found = [each.open(log.authority.pem) for each in signed(connection, 1, 10**6)]
    for one, next_one in itertools.pairwise(found):
        demand_follows(one, next_one)
    with pytest.raises(Diverged, match="went back"):
        demand_follows(found[-1], found[-2])
    with pytest.raises(Diverged, match="does not follow"):
        demand_follows(found[-3], found[-1])
    assert isinstance(found[-1], Checkpoint)


def test_a_node_is_told_what_follows_its_checkpoint(log):
    """Everything after it; the newest for a new node, and for one that knows more than we do."""
    log.write(1)
    newest = log.mark()
    told = Checkpoints(log.store.engine)
    assert [Checkpoint.read(each.content).n for each in told.after(newest - 2)] == [newest - 1, newest]
    assert told.after(newest) == []
    for known in (0, newest + 5):
        assert [Checkpoint.read(each.content).n for each in told.after(known)] == [newest]


@pytest.mark.parametrize("line", ["", "x", "{}", '{"content":"{}","signature":"!","certificate":"x"}'])
def test_nonsense_is_no_checkpoint(line):
    """A witness's file may be anything."""
    with pytest.raises(ExchangeError):
        Signed.from_line(line).open(AUTHORITY.pem)


def cut(log: Log, keep: int) -> None:
    """Remove the chain's end behind central's back, as somebody who owns the tables can."""
    table, heads = log.store.table("central_audit"), log.store.table("central_audit_heads")
    with writing(log.store.engine) as connection:
        guard = _take_off_guard(connection, log.store.is_sqlite)
        which = {"chain": log.chain, "keep": keep}
        connection.execute(text(f"DELETE FROM {table} WHERE chain = :chain AND n > :keep"), which)
        digest = connection.scalar(
            text(f"SELECT digest FROM {table} WHERE chain = :chain AND n = :keep"), which
        )
        connection.execute(
            text(f"UPDATE {heads} SET n = :keep, digest = :digest WHERE chain = :chain"),
            {**which, "digest": digest},
        )
        connection.exec_driver_sql(guard)


def rewrite(log: Log, keep: int) -> None:
    """The same, with every checkpoint made anew."""
    cut(log, keep)
    forget_checkpoints(log.store)
    log.mark()
    with reading(log.store.engine) as connection:
        assert connection.scalar(select(CHECKPOINTS.c.n)) == 1


def forget_checkpoints(store) -> None:
    """As if there had been none; those of other tests are another authority's."""
    with writing(store.engine) as connection:
        for name in ("checkpoints", "checkpoint_moves", "checkpoint_heads"):
            connection.execute(text(f"DELETE FROM {store.table(f'central_{name}')}"))


def _take_off_guard(connection: Connection, is_sqlite: bool) -> str:
    """As the owner of the tables can; returns what puts it back."""
    if is_sqlite:
        guard = text("SELECT sql FROM sqlite_master WHERE name = 'central_audit_delete'")
        made = str(connection.scalar(guard))
        connection.exec_driver_sql("DROP TRIGGER central_audit_delete")
        return made
    connection.exec_driver_sql("ALTER TABLE exchange_central.central_audit DISABLE TRIGGER USER")
    return "ALTER TABLE exchange_central.central_audit ENABLE TRIGGER USER"
