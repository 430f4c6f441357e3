"""``exchange-central``: set up, check, serve, and look after nodes and streams.

A mistake of the caller ends in one line that says what, where and what to do; never in a traceback. Exit codes: 0 done,
1 refused or failed, 2 the settings or the command line cannot be understood. Heavy imports wait until a command needs them.
"""

from central.cli.app import main

__all__ = ["main"]
