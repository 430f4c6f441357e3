"""Databases restored from older copies, and a slot that is gone: never a silent hole; loud, and mended by the named remedy."""

import re
import shutil
from pathlib import Path

import pytest
from sqlalchemy import make_url

from demo.system import CommandFailed
from tests.support.trial import Trial

pytestmark = pytest.mark.timeout(300)


def save(url: str, folder: Path) -> None:
    """Copy a database file with everything that belongs to it; its daemon is stopped."""
    path = Path(make_url(url).database or "")
    folder.mkdir()
    for part in path.parent.glob(f"{path.name}*"):
        shutil.copy2(part, folder)


def restore(url: str, folder: Path) -> None:
    """Put the older copy in the place of the newer database."""
    path = Path(make_url(url).database or "")
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()
    for part in folder.iterdir():
        shutil.copy2(part, path.parent)


def work_a_little(trial):
    """Some seconds of work, and all of it at central."""
    with trial.workload(60) as work:
        trial.wait_until(lambda: len(work.acknowledged) > 100, "100 transactions")
    trial.finish(work)


def is_done(trial, *command: str) -> bool:
    """Whether the agent does as told; it refuses a copy that central would pass over."""
    try:
        trial.system.agent_command(*command)
    except CommandFailed:
        return False
    return True


def copy_everything_afresh(trial):
    """The way out of a gap, as status names it."""
    trial.system.agent_command("resume")
    trial.wait_until(lambda: is_done(trial, "snapshot", "--all"), "a fresh copy is ordered")
    follow_the_fresh_copy(trial)


def follow_the_fresh_copy(trial):
    """Everything is equal again, and stays so under work."""
    trial.wait_for_state("SNAPSHOT", "RUNNING", "IDLE")
    trial.system.wait_until_copied()
    trial.judge.forget(trial.central.room)
    trial.judge.forget(trial.exchange.room)
    work_a_little(trial)


def test_an_older_exchange_database_is_refused_loudly(tmp_path, postgres18):
    """E7: central knows more than the agent, which must not number on as if nothing had been.

    The copy was started as often as the original since, so that their epochs coincide; the remedy is typed as shown.
    """
    with Trial(tmp_path / "trial", postgres18) as trial:
        trial.start()
        work_a_little(trial)
        trial.system.agent.stop()
        save(trial.system.exchange_database, tmp_path / "copy")
        trial.system.agent.start()
        work_a_little(trial)
        trial.system.agent.stop()
        restore(trial.system.exchange_database, tmp_path / "copy")
        before = trial.central.look()

        trial.system.agent.start()
        told = trial.wait_for_state("DIVERGED")

        print(told)
        assert told["code"] and told["sentence"]
        assert trial.central.look() == before

        # Where the slot went on before the copy was put back, the changes between are gone as well, and another copy is asked for.
        release, copy, *_ = re.findall(r": exchange-(?:central|agent) ([^;]+)", told["fix"])
        trial.system.central_command(*release.split(), "--reason", "restored")
        trial.system.agent_command(*copy.split())
        follow_the_fresh_copy(trial)


def test_an_older_central_is_filled_up_from_the_outbox(tmp_path, postgres18):
    """P6: what central forgot is still in the outbox, and is sent again."""
    with Trial(tmp_path / "trial", postgres18) as trial:
        trial.start()
        work_a_little(trial)
        trial.system.central.stop()
        save(trial.system.central_database, tmp_path / "copy")
        trial.system.central.start()
        work_a_little(trial)
        trial.system.central.stop()
        restore(trial.system.central_database, tmp_path / "copy")
        trial.judge.forget(trial.central.room)
        trial.system.central.start()

        work_a_little(trial)


def test_a_slot_that_is_gone_is_a_gap(tmp_path, postgres18):
    """C4, C9: changes were lost to us, so the stream stops, says so, and its remedy mends it."""
    with Trial(tmp_path / "trial", postgres18) as trial:
        trial.start()
        work_a_little(trial)
        trial.system.agent.stop()
        with trial.connect() as connection:
            connection.execute("SELECT pg_drop_replication_slot('exchange_hr')")
        before = trial.central.look()
        trial.system.agent.start()
        told = trial.wait_for_state("GAP")

        print(told)
        assert told["code"] == "GAP" and "exchange-agent snapshot --all" in told["fix"]
        assert trial.central.look() == before

        copy_everything_afresh(trial)
