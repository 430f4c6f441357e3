"""A bad network between agent and central, under work: it converges, and every effect happens once."""

from threading import Event

import pytest

from tests.support.nemesis import IMPATIENT, weathers
from tests.support.trial import Trial

pytestmark = pytest.mark.timeout(300)
FAULTS = 16
_pause = Event()


def test_every_weather_under_work(tmp_path, postgres18):
    """Cuts, black holes before and after the answer, delays, a slow drip, silence: in any order."""
    with Trial(tmp_path, postgres18, bad_network=True, agent_settings=IMPATIENT) as trial:
        trial.start()
        kinds = weathers(trial)
        with trial.workload(60) as work:
            for turn in range(FAULTS):
                # Each kind in turn first, so that none is missing whatever the seed.
                kind = kinds[turn] if turn < len(kinds) else trial.rng.choice(kinds)
                kind()
                _pause.wait(trial.rng.uniform(0.2, 2.5))
                trial.net.heal()
                _pause.wait(trial.rng.uniform(0.0, 1.0))
                trial.check()
        trial.finish(work)
        sessions = trial.system.central.log.read_text().count("push_opened")
        print(f"{sessions} sessions, {trial.judge.transactions} transactions, {trial.judge.checks} snapshots")

        assert sessions >= 3
        assert trial.stream()["state"] in {"IDLE", "RUNNING"}


def test_the_answer_is_lost_after_every_request(tmp_path, postgres18):
    """Central commits and the agent never hears of it, time after time (G3): sent again, taken once."""
    with Trial(tmp_path, postgres18, bad_network=True, agent_settings=IMPATIENT) as trial:
        trial.start()
        with trial.workload(40) as work:
            for turn in range(6):
                trial.net.black_hole_after_request(turn + 1)
                _pause.wait(1.0)
                trial.net.cut()
                trial.net.heal()
                _pause.wait(0.3)
                trial.check()
        trial.finish(work)

        assert trial.system.central.log.read_text().count("push_opened") >= 3
