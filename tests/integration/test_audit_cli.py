"""``exchange-central audit``: what is on record, by whom it can be read, and what is said when it was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from demo.system import attempt, command

CENTRAL = command("exchange-central")


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A platform on which two departments were made known."""
    database = f"sqlite:///{tmp_path}/central.db"
    made = attempt(CENTRAL, "init", "--dir", str(tmp_path), "--name", "localhost", "--database", database)
    assert made.returncode == 0, made.stderr
    for code, name in (("11370100004188888K", "济南市公安局"), ("11370100004189012K", "济南市民政局")):
        told = ("department", "add", code, "--name", name, "--region", "370100")
        assert attempt(CENTRAL, *told, "-c", str(tmp_path / "central.yaml")).returncode == 0
    return tmp_path


def audit(platform: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, what was printed, what was complained of."""
    done = attempt(CENTRAL, "audit", *words, "-c", str(platform / "central.yaml"))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_what_is_on_record_is_shown_and_verified(platform: Path) -> None:
    """Chains, the records of one with names in Chinese, for people and for programs (SD31.1)."""
    assert "registry" in audit(platform, "list")[1]
    said = audit(platform, "show", "registry")[1]
    assert "济南市民政局" in said and "the chain is unbroken" in said
    records = json.loads(audit(platform, "show", "registry", "--json", "--last", "1")[1])
    assert [each["facts"]["name"] for each in records] == ["济南市民政局"]
    assert audit(platform, "show", "registry", "--event", "delivered", "--json")[1].strip() == "[]"
    assert "1 chains are unbroken" in audit(platform, "verify")[1]
    code, _, complaint = audit(platform, "show", "delivery:nobody")
    assert code == 1 and "audit list" in complaint


def test_a_changed_record_is_named(platform: Path) -> None:
    """By show and by verify, each with exit code 1 and one line (P10)."""
    engine = create_engine(f"sqlite:///{platform}/central.db")
    with engine.begin() as connection:
        guards = (
            connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
        )
        for guard in guards:
            connection.execute(text(f"DROP TRIGGER {guard}"))
        changed = "UPDATE central_audit SET event = 'nothing' WHERE n = 1"
        assert connection.execute(text(changed)).rowcount == 1
    engine.dispose()
    for words in (("verify",), ("show", "registry")):
        code, _, complaint = audit(platform, *words)
        assert code == 1 and "record 1 is missing or was changed" in complaint
        assert len(complaint.splitlines()) == 1
