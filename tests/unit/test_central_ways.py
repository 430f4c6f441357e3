"""Who decides and where may be said before the command and behind it."""

import pytest

from central.cli.counter import ways_first


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["inbox", "--as", "li-na"], ["--as", "li-na", "inbox"]),
        (["--as", "li-na", "inbox", "--overdue"], ["--as", "li-na", "inbox", "--overdue"]),
        (
            ["show", "R1", "--json", "-c", "a.yaml", "--at=h:1"],
            ["-c", "a.yaml", "--at=h:1", "show", "R1", "--json"],
        ),
        (["agree", "R1", "--opinion", "--", "--as", "x"], ["agree", "R1", "--opinion", "--", "--as", "x"]),
        (["inbox", "--as"], ["--as", "inbox"]),
        ([], []),
    ],
)
def test_the_ways_come_first(typed, read):
    """In their order; whatever stands behind ``--`` is somebody's text."""
    assert ways_first(typed) == read
