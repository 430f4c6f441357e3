"""The units are valid and shut in as far as a network service can be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
EXPOSURE_TENTHS = 20


def analyze(*arguments: str) -> str:
    """Ask systemd's own checker; its absence is a failure."""
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: apt-get install systemd (or make setup-test)"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_both_daemons_have_a_unit():
    """One each, named like the command."""
    assert [unit.stem for unit in UNITS] == ["exchange-agent", "exchange-central"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_valid(unit, tmp_path):
    """Every line is understood; the commands are stood in for, since /opt may be empty here."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    (bin_directory / unit.stem).symlink_to("/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/exchange-node/bin", str(bin_directory)))

    assert analyze("verify", "--man=no", "--recursive-errors=no", str(copy)) == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardened(unit):
    """Exposure 2.0 at most, by systemd's own measure."""
    analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", str(unit))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_commands_that_exist(unit):
    """Each command line is one that the program of this release takes, up to the file it names."""
    commands = re.findall(rf"^ExecStart(?:Pre)?=\S+/{unit.stem} (.+) --config \S+$", unit.read_text(), re.M)
    assert len(commands) == 2
    for arguments in commands:
        program = str(Path(sys.executable).parent / unit.stem)
        line = [program, *arguments.split(), "--config", "/nonexistent/settings.yaml"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert "/nonexistent/settings.yaml" in done.stderr
        assert "Usage" not in done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_watched_checked_and_reloadable(unit):
    """A hung daemon is restarted, a bad file does not start, a stray agent.py does not win."""
    lines = unit.read_text().splitlines()

    assert {
        "Type=notify",
        "WatchdogSec=30",
        "Restart=on-failure",
        "ExecReload=/bin/kill -HUP $MAINPID",
    } <= set(lines)
    assert any(line.startswith("ExecStartPre=") and " check " in line for line in lines)
    assert any(line.startswith("Environment=PYTHONSAFEPATH=1") for line in lines)
    assert any(line.startswith("LoadCredential=") for line in lines)
