"""``exchange-central`` as people type it."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess
from typing import Final

import yaml

from demo.system import attempt, command, run
from tests.support.central import TestCentral
from tests.support.sharing import Town

CENTRAL: Final = command("exchange-central")


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

    def run(self, group: str, who: str, *words: str) -> CompletedProcess[str]:
        """One command as that person."""
        options = ["-c", str(self._config), "--as", self._town.name(who)]
        return attempt(CENTRAL, group, *options, *words)

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
        return run(CENTRAL, "person", *words, "-c", str(self._config))


_TLS = {"ca": "ca.pem", "certificate": "server.pem", "key": "server.key"}
