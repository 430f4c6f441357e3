"""``make demo``: a population bureau, its node and a central on this machine, and a proof that nothing was lost."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from demo.binaries import ServerFailed
from demo.bureaus.files import FilesBureau
from demo.bureaus.mysql import MysqlBureau
from demo.bureaus.postgresql import PostgresqlBureau
from demo.bureaus.sqlite import SqliteBureau
from demo.demonstration import Demonstration, NewBureau
from demo.show import Show
from demo.system import CommandFailed

INTERRUPTED = 130
BUREAUS: dict[str, NewBureau] = {
    "postgresql": PostgresqlBureau,
    "mysql": MysqlBureau,
    "sqlite": SqliteBureau,
    "files": FilesBureau,
}


def main() -> int:
    """Play it; 0 only when all three sides are equal in the end."""
    show = Show()
    source = os.environ.get("SOURCE") or "postgresql"
    if source not in BUREAUS:
        known = ", ".join(BUREAUS)
        show.say(
            f"演示没有 SOURCE={source}，可选：{known}。",
            f"There is no SOURCE={source}; there are {known}.",
            "red",
        )
        return 2
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="exchange-demo-")).resolve()
    # PostgreSQL refuses root's rights and has to get through to its own folder.
    home.chmod(0o711)
    return _guarded(home, show, BUREAUS[source])


def _guarded(home: Path, show: Show, new_bureau: NewBureau) -> int:
    """Play it to some end; nothing is left behind."""
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, home, ignore_errors=True)
        try:
            demonstration = Demonstration(home, show, new_bureau)
            undo.callback(demonstration.close)
            return _play(demonstration, show)
        except KeyboardInterrupt:
            show.say("停止并清理。", "Stopping and cleaning up.", style="yellow")
            return INTERRUPTED
        except (CommandFailed, ServerFailed) as error:
            show.say(str(error), style="red")
            return 1


def _play(demonstration: Demonstration, show: Show) -> int:
    equal = demonstration.play()
    if os.environ.get("KEEP", "") in {"", "0"}:
        show.say("接下来可以试试：", "What to try next:", style="bold")
        show.say("make demo KEEP=1   保持运行，自己动手   keeps it running, to play with")
        show.say("make demo SOURCE=mysql | sqlite | files   换一种业务系统   another kind of business system")
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
