"""A department that only receives, as its people see it: a real agent process and its real commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from agent.local import LocalClient, NotRunning
from demo.system import Daemon, attempt, command
from proto.channel import TlsFiles
from proto.v1 import local_pb2
from tests.support.central import eventually
from tests.support.parcels import CONSUMER

AGENT: Final = command("exchange-agent")


class ReceivingAgent:
    """Settings without a source, and the process that goes by them."""

    def __init__(self, folder: Path, target: str, tls: TlsFiles, exchange: str = "", **more: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.config = folder, folder / "agent.yaml"
        self.exchange = exchange or f"sqlite:///{folder}/exchange.db"
        settings = {
            "node": CONSUMER,
            "central": {
                "address": target,
                "ca": str(tls.ca),
                "certificate": str(tls.certificate),
                "key": str(tls.key),
                "heartbeat_s": 1,
            },
            "exchange": {"url": self.exchange, "least_free_bytes": 0},
            "socket": str(folder / "a.sock"),
            **more,
        }
        self.config.write_text(yaml.safe_dump(settings, allow_unicode=True))
        self.daemon = Daemon((AGENT, "run", "-c", str(self.config)), folder / "agent.log")

    def use(self, exchange: str) -> None:
        """Another exchange database; before the first start."""
        self.exchange = exchange
        settings = yaml.safe_load(self.config.read_text())
        settings["exchange"]["url"] = exchange
        self.config.write_text(yaml.safe_dump(settings, allow_unicode=True))

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self.daemon.start()
        eventually(lambda: bool(self.status().node))

    def status(self) -> local_pb2.AgentStatus:
        """What it says of itself; nothing while nobody answers."""
        try:
            with LocalClient(self.folder / "a.sock") as agent:
                return agent.status()
        except NotRunning:
            return local_pb2.AgentStatus()

    def grant(self, grant: str = "G-1") -> dict[str, Any]:
        """One grant as ``received show --json`` has it; empty while it is not known."""
        code, said, _ = self.ask("received", "show", grant, "--json")
        return json.loads(said) if code == 0 else {}

    def ask(self, *words: str) -> tuple[int, str, str]:
        """One of the agent's commands: exit code, what it printed, what it complained of."""
        done = attempt(AGENT, *words, "-c", str(self.config))
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def do(self, *words: str) -> str:
        """A command that must succeed."""
        code, said, complaint = self.ask(*words)
        assert code == 0, complaint
        return said

    def close(self) -> None:
        """End it; nothing unforeseen may have happened."""
        self.daemon.kill()
        said = self.daemon.log.read_text() if self.daemon.log.exists() else ""
        assert not [word for word in ("Traceback", "worker_died") if word in said], said[-3000:]
