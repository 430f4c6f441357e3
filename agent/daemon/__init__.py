"""The running agent: everything is built here and nowhere else, started and stopped in one order."""

from agent.daemon.node import Node
from agent.daemon.service import run_daemon

__all__ = ["Node", "run_daemon"]
