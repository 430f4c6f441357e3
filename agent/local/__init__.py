"""The agent's own door for the people of its department: a Unix socket that only its user can open. No TCP port."""

from agent.local.client import LocalClient, NotRunning
from agent.local.server import Control, LocalServer

__all__ = ["Control", "LocalClient", "LocalServer", "NotRunning"]
