"""The running central: built in one place, started and stopped in one order."""

from central.daemon.service import Daemon

__all__ = ["Daemon"]
