"""``exchange-central`` as people type it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.central import TestCentral
from tests.support.sharing import Town


class Shell:
    """``exchange-central`` at the console of central's machine."""

    def __init__(self, central: TestCentral, folder: Path, town: Town) -> None:
        said = {
            "listen": central.settings.listen,
            "database": central.url,
            "tls": {name: str(central.folder / f) for name, f in _TLS.items()},
            "console_decides": True,
        }
        self._town, self._config = town, folder / "central.yaml"
        self._config.write_text(yaml.safe_dump(said))

    def run(self, group: str, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        """One command as that person."""
        options = ["-c", str(self._config), "--as", self._town.name(who)]
        line = [sys.executable, "-m", "central", group, *options, *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)

    def ok(self, group: str, who: str, *words: str) -> str:
        """One that must succeed."""
        done = self.run(group, who, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def leave(self, who: str) -> str:
        """A person leaves."""
        return self.people("leave", self._town.name(who), "--reason", "调离")

    def people(self, *words: str) -> str:
        """A command about people, which needs nobody's name; it must succeed."""
        line = [sys.executable, "-m", "central", "person", *words, "-c", str(self._config)]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout


_TLS = {"ca": "ca.pem", "certificate": "server.pem", "key": "server.key"}
