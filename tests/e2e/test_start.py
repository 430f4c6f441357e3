"""Daemons that come up before what they need: they wait, and go on by themselves when it is there."""

import pytest

from tests.support.postgres import Cluster
from tests.support.trial import Homes, Trial

pytestmark = [pytest.mark.timeout(200), pytest.mark.cold]


def test_central_and_agent_wait_for_their_databases(tmp_path, postgres18):
    """Started while both servers are down, as after a power cut in the machine room."""
    with Cluster(15) as server, Trial(tmp_path, postgres18, Homes(server, server)) as trial:
        trial.start()
        trial.system.stop()
        server.stop("immediate")
        trial.system.start()
        trial.wait_until(
            lambda: "database_unreachable" in trial.system.central.log.read_text(), "central waits"
        )
        trial.wait_until(lambda: "worker_retrying" in trial.system.agent.log.read_text(), "the agent waits")
        server.start()
        with trial.workload(40) as work:
            trial.wait_for_more(trial.central.lsn, "central moves on")
        trial.finish(work)


def test_central_ends_when_told_to_while_it_waits(tmp_path, postgres18):
    """SIGTERM is heard by a central that has no database yet."""
    with Cluster(15) as server, Trial(tmp_path, postgres18, Homes(None, server)) as trial:
        server.stop("immediate")
        trial.system.central.start()
        trial.wait_until(
            lambda: "database_unreachable" in trial.system.central.log.read_text(), "central waits"
        )

        assert trial.system.central.stop() == 0
