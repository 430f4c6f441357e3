"""``make demo``: a population bureau, its node and a central on this machine, and a proof that nothing was lost."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from threading import Event

from demo.binaries import ServerFailed
from demo.demonstration import Demonstration
from demo.show import Show
from demo.system import CommandFailed

INTERRUPTED = 130


def main() -> int:
    """Play it; 0 only when all three sides are equal in the end."""
    show = Show()
    source = os.environ.get("SOURCE") or "postgresql"
    if source != "postgresql":
        show.say(
            f"演示只有 SOURCE=postgresql 一种业务数据库，没有 {source}。",
            f"The demonstration has one business database, SOURCE=postgresql; {source} is not among them.",
            style="red",
        )
        return 2
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="exchange-demo-")).resolve()
    # PostgreSQL refuses root's rights and has to get through to its own folder.
    home.chmod(0o711)
    demonstration = Demonstration(home, show)
    try:
        return _play(demonstration, show)
    except KeyboardInterrupt:
        show.say("停止并清理。", "Stopping and cleaning up.", style="yellow")
        return INTERRUPTED
    except (CommandFailed, ServerFailed) as error:
        show.say(str(error), style="red")
        return 1
    finally:
        demonstration.close()
        shutil.rmtree(home, ignore_errors=True)


def _play(demonstration: Demonstration, show: Show) -> int:
    equal = demonstration.play()
    if os.environ.get("KEEP", "") in {"", "0"}:
        show.say("接下来可以试试：", "What to try next:", style="bold")
        show.say("make demo KEEP=1   保持运行，自己动手   keeps it running, to play with")
        show.say("make test          全部测试，含数百次 kill -9    every test, hundreds of kill -9")
        show.say("README.md          五分钟搭建自己的节点   five minutes to a node of your own")
        return 0 if equal else 1
    demonstration.where()
    try:
        Event().wait()
    except KeyboardInterrupt:
        show.say("停止并清理。", "Stopping and cleaning up.", style="yellow")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
