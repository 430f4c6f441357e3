"""A drop folder and a real exchange database: the mirror is the memory that snapshots are compared with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent.capture import Capture, CaptureSettings
from agent.exchange import Exchange
from agent.sources.dropfolder.settings import ColumnRule
from agent.sources.dropfolder.source import DropfolderSource
from agent.sources.source import Limits
from agent.worker import run_worker
from proto import frames
from proto.states import State
from proto.values import Kind
from tests.support.dropfolders import Desk

pytest_plugins = ["tests.support.exchanges"]

SOON_S = 20.0
FAST = CaptureSettings(Limits(rows=40, wait_s=0.05))
RULES = (
    ColumnRule(name="id", header="编号"),
    ColumnRule(name="pay", header="工资", kind=Kind.DECIMAL),
    ColumnRule(name="born", header="出生", kind=Kind.DATE),
)


class Office:
    """A clerk, and the agent that takes what the clerk drops."""

    def __init__(self, desk: Desk, exchange: Exchange) -> None:
        self.desk, self.exchange = desk, exchange
        self.source = DropfolderSource(desk.settings, exchange.mirror)
        self.capture = Capture(self.source, exchange, lambda _: None, FAST)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As the service stops."""
        self._stop.set()
        self.capture.stop()
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    def rows(self) -> list[tuple[object, ...]]:
        """What the mirror has."""
        pages = self.exchange.mirror.scan("person")
        kinds = self.desk.settings.tables[0].shape.kinds
        return sorted(
            (row for page in pages for row in frames.rows(page.data, kinds)), key=lambda row: str(row[0])
        )

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until *what* holds; fail if it does not soon."""
        deadline = time.monotonic() + SOON_S
        while not what():
            assert time.monotonic() < deadline, f"{self.capture.state.read()} {self.exchange.tables()}"
            time.sleep(0.01)

    def until_done(self, files: int) -> None:
        """Wait until so many files are filed away."""
        done = self.desk.folder / "done"
        self.until(lambda: done.exists() and len([*done.glob("*.receipt.json")]) == files)

    @property
    def state(self) -> State:
        return self.exchange.tables()["person"].state

    def _run(self) -> None:
        run_worker("capture", self.capture.step, self._stop, self.capture.state)


@pytest.fixture
def office(tmp_path, exchange) -> Iterator[Office]:
    """An office at work, its table copied for the first time."""
    office = Office(Desk(tmp_path / "收件", rules=RULES), exchange)
    office.until(lambda: "person" in exchange.tables() and office.state is State.RUNNING)
    yield office
    office.stop()


def people(numbers, pay="12.50"):
    """A whole table."""
    return "编号,工资,出生\n" + "".join(f"{n:04},{pay},2000/1/1\n" for n in numbers)


@pytest.mark.parametrize("exchange_url", ["sqlite", "postgresql15", "mariadb"], indirect=True)
def test_snapshots_reach_the_mirror_as_differences(office):
    """A second snapshot moves what differs and nothing else, whatever database holds the mirror."""
    office.desk.drop("人员1.csv", people(range(100)))
    office.until_done(1)
    office.desk.drop("人员2.csv", people(range(90)) + "0200,99,2001/1/1\n")
    office.until_done(2)

    assert office.rows() == [(f"{n:04}", "12.50", "2000-01-01") for n in range(90)] + [
        ("0200", "99", "2001-01-01")
    ]
    assert office.exchange.tables()["person"].state is State.RUNNING
    batches = office.exchange.read_outbox(0, 1 << 20)
    assert sum(batch.rows for batch in batches) == 100 + 11


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_a_held_snapshot_is_seen_and_released_by_the_order_of_a_copy(office):
    """QUARANTINE with the remedy in status; the copy takes the held file; later files flow again."""
    office.desk.drop("人员1.csv", people(range(100)))
    office.until_done(1)
    office.desk.drop("人员2.csv", people(range(5)))
    office.until(lambda: office.state is State.QUARANTINE)
    status = office.exchange.tables()["person"]
    assert "would delete 95 of 100 rows" in status.sentence
    assert "exchange-agent snapshot person" in status.fix
    assert len(office.rows()) == 100

    office.capture.order_copy("person")
    office.until(lambda: office.state is State.RUNNING)
    assert len(office.rows()) == 5
    office.desk.drop("人员3.csv", people(range(6)))
    office.until(lambda: len(office.rows()) == 6)


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_a_refused_file_is_seen_and_mended(office):
    """The clerk drops a mended file, the administrator orders the copy."""
    office.desk.drop("人员1.csv", people(range(3)).replace("2000/1/1", "昨天"))
    office.until(lambda: office.state is State.QUARANTINE)
    assert "rejected/000000001~人员1.csv.reasons.csv" in office.exchange.tables()["person"].fix
    office.desk.drop("人员2.csv", people(range(3)))
    office.until_done(1)
    office.capture.order_copy("person")
    office.until(lambda: office.state is State.RUNNING and len(office.rows()) == 3)


@pytest.mark.parametrize("exchange_url", ["sqlite"], indirect=True)
def test_a_restart_goes_on_after_the_last_committed_file(office, tmp_path):
    """What was dropped while nobody looked is taken then."""
    office.desk.drop("人员1.csv", people(range(10)))
    office.until_done(1)
    office.stop()
    office.desk.drop("人员2.csv", people(range(11)))
    again = Office(office.desk, office.exchange)
    again.until_done(2)
    again.stop()

    assert len(again.rows()) == 11
