"""Pages and rows by key, as a source asks the mirror for them: each row once, whatever the dialect's order is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proto.batch import NO_FRAMES, Frames
from proto.frames import keys as keys_of
from proto.frames import split
from proto.schema import TableSchema
from proto.values import Kind
from tests.support.tables import deletes, inserts, keys, listed, schema_of

if TYPE_CHECKING:
    from tests.support.replicas import Home

pytest_plugins = ["tests.support.replicas"]

PLACE = schema_of(
    "户 \"籍'", {"note": Kind.TEXT, "区": Kind.TEXT, "nr": Kind.DECIMAL, "at": Kind.TIMESTAMPTZ}, ("nr", "区")
)
ROWS = [
    (None, words, number, "2024-01-02 03:04:05.678+00")
    for words in ("", "a", "A", "a ", "北京", "上海\\n'; --", 'x"y')
    for number in ("-1", "0", "2", "10", "10.50", "NaN")
]
KEYS = {
    Kind.BOOL: ["t", "f"],
    Kind.INT64: ["-9223372036854775808", "7"],
    Kind.FLOAT64: ["NaN", "-Infinity", "0.1", "5e-324"],
    Kind.BYTES: ["\\x", "\\x00ff"],
    Kind.DATE: ["2024-02-29", "infinity"],
    Kind.TIME: ["00:00:00", "23:59:59.999999"],
    Kind.TIMESTAMP: ["2024-02-29 00:00:00.000001", "-infinity"],
    Kind.INTERVAL: ["1 mon", "-3 days +04:05:06"],
    Kind.UUID: ["00000000-0000-0000-0000-00000000000a", "f0000000-0000-0000-0000-000000000000"],
    Kind.OTHER: ["{1,2}", "\\"],
}

DATES = (Kind.DATE, Kind.TIMESTAMP)


def paged(home: Home, schema: TableSchema, rows: int) -> list[bytes]:
    """The whole table, page after page, each from the last key of the one before."""
    found: list[bytes] = []
    after = b""
    with home.engine.begin() as connection:
        while page := home.replica.page(connection, schema, after, rows):
            frames = split(page.data)
            assert page.count == len(frames) <= rows
            found += frames
            after = keys_of(frames[-1], schema.key_indexes)[0]
    return found


def asked(home: Home, schema: TableSchema, wanted: Frames) -> Frames:
    """The rows with these keys."""
    with home.engine.begin() as connection:
        return home.replica.rows(connection, schema, wanted)


@pytest.mark.parametrize("rows", [1, 5, len(ROWS), 1000])
def test_pages_are_the_scan(home, rows):
    """No row twice and none left out, with a key of two columns and any size of page."""
    home.prepare(PLACE)
    home.apply(inserts(PLACE, *ROWS))

    assert paged(home, PLACE, rows) == home.rows(PLACE)


@pytest.mark.parametrize("kind", KEYS)
def test_a_page_goes_on_after_a_key_of_any_kind(home, kind):
    """The key goes in as it came out."""
    schema = schema_of("t", {"id": kind})
    words = [word for word in KEYS[kind] if not (home.is_mariadb and kind in DATES and "infinity" in word)]
    home.prepare(schema)
    home.apply(inserts(schema, *((word,) for word in words)))

    assert paged(home, schema, 1) == home.rows(schema)
    assert len(paged(home, schema, 1)) == len(words)


def test_rows_are_found_by_exactly_their_key(home):
    """Not by one that a collation calls equal; keys that are not there bring nothing."""
    home.prepare(PLACE)
    home.apply(inserts(PLACE, *ROWS), deletes(PLACE, ("2", "A")))
    wanted = keys(PLACE, ("10", "a"), ("2", "A"), ("10", "B"), ("0", "北京"), ("NaN", 'x"y'))
    found = asked(home, PLACE, wanted)

    assert sorted(keys_of(found.data, PLACE.key_indexes)) == sorted(
        listed(keys(PLACE, ("10", "a"), ("0", "北京"), ("NaN", 'x"y')))
    )
    assert set(listed(found)) <= set(home.rows(PLACE))


def test_many_keys_are_asked_for_at_once(home):
    """More than go into one statement."""
    schema = schema_of("t", {"id": Kind.INT32})
    home.prepare(schema)
    home.apply(inserts(schema, *((str(number),) for number in range(0, 3000, 2))))
    found = asked(home, schema, keys(schema, *((str(number),) for number in range(3000))))

    assert found.count == 1500
    assert sorted(listed(found)) == home.rows(schema)


def test_an_empty_table_has_no_page(home):
    """And a count of none."""
    home.prepare(PLACE)
    with home.engine.begin() as connection:
        assert home.replica.page(connection, PLACE, b"", 10) == NO_FRAMES
        assert home.replica.count(connection, PLACE) == 0


def test_rows_are_counted(home):
    """All of them."""
    home.prepare(PLACE)
    home.apply(inserts(PLACE, *ROWS))
    with home.engine.begin() as connection:
        assert home.replica.count(connection, PLACE) == len(ROWS)
