"""A daemon as a process: its log lines, its word to systemd, its signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proto.process import Notifier
from proto.process.logs import escape, plain

ROOT = Path(__file__).parents[2]
HOSTILE = [
    'a"b\\c',
    "line\nMESSAGE=forged\r\n<0>forged",
    "\x1b[2J\x1b]0;title\x07",
    "\x00\x7f\x85\x9b",
    "\u2028\u2029",
    "\u202eright to left",
    "\ud800 alone",
    "人事库 🗂",
    "</script>{{x}}%s%d",
]


def run(program: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run *program* in a process of its own: logging is configured once per process."""
    clean = {
        key: value for key, value in os.environ.items() if key not in {"JOURNAL_STREAM", "NOTIFY_SOCKET"}
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean | (environment or {}),
        capture_output=True,
        timeout=60,
        check=True,
    )


LOG_HOSTILE = f"""
import logging, structlog
from proto.process import configure_logging
configure_logging("info")
class Rude:
    def __str__(self): raise ValueError
for text in {HOSTILE!r}:
    structlog.get_logger().info("event", value=text, **{{text: 1}})
    structlog.get_logger().warning(text, inner=[text, {{text: text}}], rude=Rude(), nan=float("nan"), raw=b"\\xff")
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger().exception("failed")
    logging.getLogger("library").error("said %s", text)
logging.getLogger("library").warning("%d broken", "x")
logging.getLogger("library").info("chatter")
"""


def test_hostile_content_stays_within_its_line_of_json():
    """Every event is one line and one JSON object, whatever is in it, and nothing in it can steer a terminal."""
    lines = run(LOG_HOSTILE).stdout.decode().split("\n")

    assert lines.pop() == ""
    assert len(lines) == 4 * len(HOSTILE) + 1
    events = [json.loads(line) for line in lines]
    assert [event["value"] for event in events if event["event"] == "event"] == HOSTILE
    assert "人事库 🗂" in "".join(lines)
    assert all(escape(line) == line for line in lines)
    assert {event["level"] for event in events} == {"info", "warning", "error"}
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_under_systemd_lines_carry_their_priority():
    """journald reads the level from the <N> prefix."""
    program = """
import structlog
from proto.process import configure_logging, set_level
configure_logging("warning")
log = structlog.get_logger()
log.info("hidden"); log.warning("shown"); set_level("debug"); log.debug("now"); log.critical("end")
configure_logging("error")
log.warning("hidden_again"); log.error("last")
"""
    lines = run(program, {"JOURNAL_STREAM": "8:123"}).stdout.decode().splitlines()

    assert [line[:3] for line in lines] == ["<4>", "<7>", "<2>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["shown", "now", "end", "last"]


def test_a_worker_says_once_who_it_is():
    """Names bound to the context are on every line of that thread."""
    program = """
import structlog
from proto.process import configure_logging
configure_logging()
structlog.contextvars.bind_contextvars(worker="push", stream="hr")
structlog.get_logger().info("batch_pushed", seq=7)
"""
    event = json.loads(run(program).stdout)

    assert (event["worker"], event["stream"], event["seq"]) == ("push", "hr", 7)


def test_on_a_terminal_the_lines_are_for_people():
    """Colours come from us; escape sequences in values do not reach the terminal."""
    master, slave = os.openpty()
    program = """
import structlog
from proto.process import configure_logging
configure_logging()
structlog.get_logger().info("started", name="\\x1b]0;x\\x07人")
try:
    raise ValueError("a\\x1b[2Jb")
except ValueError:
    structlog.get_logger().exception("failed")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=slave, check=True, timeout=60)
    os.close(slave)
    said = os.read(master, 65536).decode()
    os.close(master)

    assert "\x1b[" in said and "started" in said and "人" in said
    assert "\x1b]0" not in said and "\x1b[2J" not in said and "Traceback" in said


def test_a_closed_log_does_not_stop_the_work():
    """When nobody reads any more, logging is silent instead of fatal."""
    program = """
import sys, structlog
from proto.process import configure_logging
configure_logging()
sys.stdin.read()
for _ in range(10_000):
    structlog.get_logger().info("event", text="x" * 100)
sys.stderr.write("done"); sys.stderr.flush()
import os; os._exit(0)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        process.stdout.close()
        process.stdin.close()

        assert process.stderr.read() == b"done"


@pytest.mark.parametrize("value", [{"a": [1, {"b": (2.5, None)}]}, [float("inf")], {1: {2}}])
def test_any_value_becomes_json(value):
    """What cannot be written as itself is written as text."""
    json.loads(json.dumps(plain(value), allow_nan=False))


def test_a_value_that_contains_itself_ends():
    """A cycle is cut at a depth, not at the stack's end."""
    cycle: list[object] = []
    cycle.append(cycle)

    assert "[...]" in json.dumps(plain(cycle))


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """A socket that hears what systemd would hear."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@exchange-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address.replace("@", "\0", 1))
        heard.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield heard


def test_systemd_hears_every_word(systemd):
    """Over a real datagram socket, in a file or in the abstract namespace."""
    notifier = Notifier()
    said = []
    for speak in (
        lambda: notifier.ready("streaming"),
        lambda: notifier.status("two\nlines and READY=1\n人"),
        notifier.alive,
        notifier.reloading,
        notifier.stopping,
    ):
        assert speak()
        said.append(systemd.recv(4096).decode().split("\n"))

    assert said[:3] == [["READY=1", "STATUS=streaming"], ["STATUS=two lines and READY=1 人"], ["WATCHDOG=1"]]
    assert said[3][0] == "RELOADING=1" and said[3][1].startswith("MONOTONIC_USEC=")
    assert said[4] == ["STOPPING=1"]


def test_without_systemd_nobody_listens_and_nothing_fails(monkeypatch, tmp_path):
    """No socket, or a dead one."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not Notifier().ready()
    assert not Notifier(str(tmp_path / "gone")).alive()


@pytest.mark.parametrize(
    ("limit_us", "pid", "interval_s"),
    [
        ("30000000", "", 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
        ("", "", None),
        ("x", "", None),
        ("0", "", None),
    ],
)
def test_the_watchdog_is_fed_twice_per_limit(limit_us, pid, interval_s, monkeypatch):
    """And only by the process that systemd watches."""
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)

    assert Notifier().watchdog_interval_s == interval_s


DAEMON = """
import sys, threading
from proto.process import configure_logging, stop_on_signals
configure_logging("critical")
stop, turns = threading.Event(), iter(range(9))
def reload():
    if next(turns) == 0:
        raise RuntimeError("a bad file")
    print("reloaded", flush=True)
stop_on_signals(stop, reload)
print("ready", flush=True)
stop.wait()
print("stopping", flush=True)
if sys.argv[1:] == ["hang"]:
    threading.Event().wait()
"""


def _daemon(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", DAEMON, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_in_order(number):
    """The main thread wakes at once and ends by itself."""
    with _daemon() as process:
        process.send_signal(number)

        assert process.stdout.readline() == "stopping\n"
        assert process.wait(10) == 0


def test_the_second_signal_exits_at_once():
    """A daemon that hangs while stopping can still be ended."""
    with _daemon("hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 128 + signal.SIGTERM


def test_hangup_reloads_and_a_failed_reload_is_survived():
    """The first reload fails, the second works, and the daemon still stops in order."""
    with _daemon() as process:
        process.send_signal(signal.SIGHUP)
        # Signals that wait together are one signal, so the second is repeated until it was heard.
        heard = threading.Event()

        def repeat():
            while not heard.wait(0.1):
                process.send_signal(signal.SIGHUP)

        repeating = threading.Thread(target=repeat)
        repeating.start()
        assert process.stdout.readline() == "reloaded\n"
        heard.set()
        repeating.join()
        process.terminate()

        assert process.stdout.read().endswith("stopping\n")
        assert process.wait(10) == 0
