"""Central over the wire: real TLS over loopback, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.central import Chain, TestCentral, running


@pytest.fixture(params=["sqlite", "postgresql"])
def central(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestCentral]:
    """A running central on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'central.db'}"
    else:
        server = request.getfixturevalue("postgres15")
        url = server.url(server.new_database("central"))
    yield from running(tmp_path, url)


def test_batches_are_accepted_and_become_rows(central: TestCentral) -> None:
    """Push to acknowledgement to visible row."""
    node, chain = central.node(), Chain("hr-node/hr")
    with node.push(chain) as push:
        push.send(*chain.events(20))
        push.until_accepted(20)
        push.until_applied(20)
    assert [row[0] for row in central.rows("hr-node/hr")] == list(range(60))
