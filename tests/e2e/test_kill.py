"""``kill -9`` of everything, at random moments, under work: every snapshot on the way is true, and nothing is missing at the end.

``make soak`` does the same for as long as one likes, with more kills in a row.
"""

import pytest

from tests.support.nemesis import Nemesis
from tests.support.postgres import Cluster
from tests.support.trial import Homes, Trial

pytestmark = pytest.mark.timeout(400)
DAEMONS = {"agent": 5, "central": 4, "both": 1}
SERVERS = {"business": 1, "exchange": 1, "platform": 1}


def survive(trial, weights, kills, per_s=60.0):
    """Work, rage, heal, judge; how many kills of what."""
    nemesis = Nemesis(trial, weights)
    trial.start()
    with trial.workload(per_s) as work:
        nemesis.rage(kills)
    trial.finish(work)
    print(
        f"{dict(nemesis.kills)} kills, {trial.judge.transactions} transactions, {trial.judge.checks} snapshots"
    )
    assert nemesis.kills.total() >= kills
    assert len(work.acknowledged) > kills


def test_daemons_on_sqlite(tmp_path, postgres18):
    """Exchange and central database in files, business on PostgreSQL 18."""
    with Trial(tmp_path, postgres18) as trial:
        survive(trial, DAEMONS, 45)


def test_daemons_and_servers_on_postgresql(tmp_path):
    """Three servers of the trial's own, PostgreSQL 15 and 18, killed as well as the daemons."""
    with (
        Cluster(15) as business,
        Cluster(18) as exchange,
        Cluster(15) as central,
        Trial(tmp_path, business, Homes(exchange, central)) as trial,
    ):
        survive(trial, {**DAEMONS, **SERVERS}, 55)
