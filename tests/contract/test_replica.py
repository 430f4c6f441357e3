"""What every dialect of a replica keeps: the same frames in, the same table, the same frames out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from proto.batch import Delta, Frames
from proto.errors import BadRow
from proto.schema import TableSchema
from proto.values import Kind
from tests.support.tables import (
    deletes,
    frame,
    frames,
    inserts,
    keys,
    listed,
    partial,
    schema_of,
    upserts,
)

if TYPE_CHECKING:
    from tests.support.replicas import Home

pytest_plugins = ["tests.support.replicas"]

PERSON = schema_of("人口", {"id": Kind.INT64, "姓名": Kind.TEXT, "note": Kind.TEXT})
LOG = schema_of("log", {"at": Kind.INT32, "what": Kind.TEXT}, key=())
MANY = 100
"""Rows enough to be staged where a dialect stages."""

EXTREMES: dict[Kind, Sequence[str]] = {
    Kind.BOOL: ["t", "f"],
    Kind.INT16: ["-32768", "0", "32767"],
    Kind.INT32: ["-2147483648", "0", "2147483647"],
    Kind.INT64: ["-9223372036854775808", "0", "9223372036854775807", "9007199254740993"],
    Kind.FLOAT32: ["NaN", "Infinity", "-Infinity", "-0", "0", "1e-45", "3.4028235e+38", "0.1", "16777216"],
    Kind.FLOAT64: [
        "NaN",
        "Infinity",
        "-Infinity",
        "-0",
        "0",
        "5e-324",
        "1.7976931348623157e+308",
        "0.1",
        "3",
    ],
    Kind.DECIMAL: [
        "NaN",
        "Infinity",
        "-Infinity",
        "0",
        "0.000",
        "-1.50",
        "1e1",
        "1" + "0" * 200,
        "-0." + "0" * 99 + "1",
        "12345678901234.567891",
    ],
    Kind.TEXT: ["", " ", "中文 🀄", "a\tb\n\\N", "'\";--", "%s :x ?", "NaN", "1", "é" * 5000],
    Kind.BYTES: ["\\x", "\\x00", "\\x00ff00", "\\x" + "27" * 9000],
    Kind.DATE: ["infinity", "-infinity", "0044-03-15 BC", "4713-11-24 BC", "2000-01-01", "5874897-12-31"],
    Kind.TIME: ["00:00:00", "23:59:59.999999", "24:00:00"],
    Kind.TIMESTAMP: [
        "infinity",
        "-infinity",
        "4713-11-24 00:00:00 BC",
        "2024-02-29 12:00:00.000001",
        "294276-12-31 23:59:59.999999",
    ],
    Kind.TIMESTAMPTZ: ["infinity", "-infinity", "0001-01-01 00:00:00+00 BC", "2024-02-29 12:00:00.5+00"],
    Kind.INTERVAL: ["00:00:00", "1 year 2 mons -3 days +04:05:06.789", "-178000000 years", "-1 days"],
    Kind.JSON: ["null", "{}", '{"b": 1,  "a": [1.0, "\\u4e2d"]}', '"x"'],
    Kind.JSONB: ["null", "{}", '{"a": [1.0, "中"], "b": 1}', "1.50"],
    Kind.UUID: ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    Kind.OTHER: ["{1,2,NULL}", "[1,5)", '(1,"a b")', ""],
}


DATES = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


def extremes(home: Home, kind: Kind) -> list[str]:
    """Those that the dialect can hold: MariaDB's dates go from year 1 to 9999."""
    values = EXTREMES[kind]
    if home.is_mariadb and kind in DATES:
        return [value for value in values if value[4:5] == "-" and not value.endswith("BC")]
    return list(values)


def person(number: int, name: str | None = "甲", note: str | None = None) -> tuple[str | None, ...]:
    """A row of PERSON."""
    return (str(number), name, note)


def expect(home: Home, schema: TableSchema, *rows: Sequence[str | None]) -> None:
    """The table holds these rows and no others."""
    assert sorted(home.rows(schema)) == sorted(listed(frames(schema, *rows)))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("copies", [1, MANY], ids=["few", "many"])
def test_every_value_of_every_kind_comes_back_bit_for_bit(home: Home, kind: Kind, copies: int):
    """Extremes, NULL and texts that look like something else; by statements, by staging and by COPY."""
    schema = schema_of("k", {"id": Kind.INT32, "value": kind})
    values = [*extremes(home, kind), None]
    rows = [
        (str(n * len(values) + place), value) for n in range(copies) for place, value in enumerate(values)
    ]
    half = len(rows) // 2

    home.apply(Delta(schema, inserts=frames(schema, *rows[:half]), upserts=frames(schema, *rows[half:])))

    assert home.rows(schema) == listed(frames(schema, *rows))


@pytest.mark.parametrize("kind", DATES)
@pytest.mark.parametrize("say", [inserts, upserts])
def test_a_date_that_the_database_cannot_hold_is_a_bad_row(
    homes: list[Home], kind: Kind, say: Callable[..., Delta]
):
    """The error names the column and quotes nothing; the other rows of the table stay as they were."""
    schema = schema_of("k", {"id": Kind.INT32, "何时": kind})
    for home in (each for each in homes if each.is_mariadb):
        home.apply(inserts(schema, ("1", None)))
        for value in set(EXTREMES[kind]) - set(extremes(home, kind)):
            with pytest.raises(BadRow, match='years 1 to 9999, column "何时"') as caught:
                home.apply(say(schema, ("1", None), ("2", value)))
            assert value not in str(caught.value)
        expect(home, schema, ("1", None))


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.JSON])
@pytest.mark.parametrize("others", [0, MANY], ids=["few", "many"])
def test_a_key_of_any_kind_finds_its_row(home: Home, kind: Kind, others: int):
    """Upsert, partial update and delete by key."""
    schema = schema_of("k", {"id": kind, "n": Kind.INT32, "v": Kind.TEXT}, key=("id", "n"))
    # 0 and −0, 1.0 and 1.00 are one key to PostgreSQL; such neighbours are not what is tested here.
    values = [value for value in extremes(home, kind) if value not in {"-0", "0.000"} and len(value) < 1000]
    rows = [(value, str(n), "old") for value in values for n in range(1 + others)]
    home.apply(inserts(schema, *rows))

    home.apply(upserts(schema, *((value, n, "new") for value, n, _ in rows)))
    expect(home, schema, *((value, n, "new") for value, n, _ in rows))

    home.apply(Delta(schema, partials=(partial(schema, [2], *((value, n, "part") for value, n, _ in rows)),)))
    expect(home, schema, *((value, n, "part") for value, n, _ in rows))

    home.apply(deletes(schema, *((value, n) for value, n, _ in rows)))
    expect(home, schema)


@pytest.mark.parametrize("count", [3, MANY])
def test_inserts_that_are_there_already_are_merged(home: Home, count: int):
    """A clash is no error: the newer row wins, the others arrive."""
    home.apply(inserts(PERSON, *(person(n, "旧") for n in range(count))))
    rows = [person(n, "新") for n in range(count - 1, 2 * count)]

    home.apply(inserts(PERSON, *rows))

    expect(home, PERSON, *(person(n, "旧") for n in range(count - 1)), *rows)


@pytest.mark.parametrize("count", [3, MANY])
def test_upserts_replace_and_add(home: Home, count: int):
    """Half of the rows are there, half are not; NULL replaces a value."""
    home.apply(inserts(PERSON, *(person(n, "旧", "kept?") for n in range(count))))
    rows = [person(n, "新") for n in range(count // 2, count + count // 2)]

    assert home.apply(upserts(PERSON, *rows)) == count

    expect(home, PERSON, *(person(n, "旧", "kept?") for n in range(count // 2)), *rows)


@pytest.mark.parametrize("count", [3, MANY])
def test_deletes_remove_their_rows_and_mind_no_absent_ones(home: Home, count: int):
    """Only the keys named go; the number of rows touched is the number that went."""
    home.apply(inserts(PERSON, *(person(n) for n in range(count + 1))))

    assert home.apply(deletes(PERSON, *((str(n),) for n in range(1, 2 * count)))) == count

    expect(home, PERSON, person(0))


@pytest.mark.parametrize("count", [2, MANY])
def test_a_partial_update_leaves_the_other_columns(home: Home, count: int):
    """Absent rows stay absent; present columns may be NULL."""
    home.apply(inserts(PERSON, *(person(n, "甲", "large") for n in range(count))))

    touched = home.apply(
        Delta(PERSON, partials=(partial(PERSON, [1], *((str(n), None) for n in range(count + 5))),))
    )

    assert touched == count
    expect(home, PERSON, *(person(n, None, "large") for n in range(count)))


def test_a_partial_update_moves_a_row_to_its_new_key(home: Home):
    """Also when the key is named and stays, when the old row is absent, and when something lies in the way."""
    home.apply(inserts(PERSON, person(1, "a", "one"), person(2, "b", "two"), person(3, "c", "three")))
    part = partial(PERSON, [0, 1], ("1", "11", "moved"), ("2", "2", "stays"), ("7", "17", "absent"))

    home.apply(Delta(PERSON, partials=(part,)))
    expect(home, PERSON, person(11, "moved", "one"), person(2, "stays", "two"), person(3, "c", "three"))

    home.apply(Delta(PERSON, partials=(partial(PERSON, [0], ("11", "3"), ("8", "2")),)))
    expect(home, PERSON, person(3, "moved", "one"), person(2, "stays", "two"))


def test_a_partial_update_of_a_composite_key_may_name_a_part_of_it(home: Home):
    """The other part keeps its old value."""
    schema = schema_of("c", {"a": Kind.TEXT, "v": Kind.TEXT, "b": Kind.INT32}, key=("b", "a"))
    home.apply(inserts(schema, ("x", "1", "1"), ("y", "2", "1"), ("x", "3", "2")))

    home.apply(Delta(schema, partials=(partial(schema, [2], ("1", "x", "2"), ("1", "y", "1")),)))

    expect(home, schema, ("y", "2", "1"), ("x", "1", "2"))


def test_the_order_inside_a_delta(home: Home):
    """Truncate, deletes, partials, upserts, inserts: with the same key in several the order shows."""
    home.apply(inserts(PERSON, person(1), person(2), person(9)))
    first = Delta(PERSON, truncated=True, upserts=frames(PERSON, person(1, "up")))
    second = Delta(
        PERSON,
        deletes=keys(PERSON, ("1",)),
        upserts=frames(PERSON, person(1, "back"), person(5, "up")),
        inserts=frames(PERSON, person(6, "in")),
    )

    home.apply(first, second)

    expect(home, PERSON, person(1, "back"), person(5, "up"), person(6, "in"))


@pytest.mark.parametrize("count", [2, MANY])
def test_deltas_of_one_table_are_applied_in_order(home: Home, count: int):
    """Each sees what the one before left, whatever was staged before."""
    steps = [
        inserts(PERSON, *(person(n, "1") for n in range(count))),
        upserts(PERSON, *(person(n, "2") for n in range(count // 2, count))),
        upserts(PERSON, *(person(n, "3") for n in range(count // 2))),
        deletes(PERSON, *((str(n),) for n in range(count // 2))),
        upserts(PERSON, *(person(n, "4") for n in range(count // 2))),
        deletes(PERSON, *((str(n),) for n in range(count // 2, count))),
    ]

    home.apply(*steps)

    expect(home, PERSON, *(person(n, "4") for n in range(count // 2)))


@pytest.mark.parametrize("count", [4, MANY])
def test_a_replay_changes_nothing(home: Home, count: int):
    """At-least-once becomes exactly-once."""
    home.apply(inserts(PERSON, *(person(n) for n in range(count))))
    delta = Delta(
        PERSON,
        inserts=frames(PERSON, *(person(n + count, "in") for n in range(count))),
        upserts=frames(PERSON, *(person(n, "up") for n in range(count // 4))),
        deletes=keys(PERSON, *((str(n),) for n in range(count // 4, count // 2))),
        partials=(partial(PERSON, [2], *((str(n), "p") for n in range(count // 2, count))),),
    )
    home.apply(delta)
    once = home.digest(PERSON)

    home.apply(delta)
    home.apply(delta, delta)

    assert home.digest(PERSON) == once


def test_truncated_empties_the_table_first(home: Home):
    """Rows of the same delta stay."""
    home.apply(inserts(PERSON, *(person(n) for n in range(MANY))))

    home.apply(Delta(PERSON, truncated=True, inserts=frames(PERSON, person(1, "first"))))

    expect(home, PERSON, person(1, "first"))


@pytest.mark.parametrize("count", [2, MANY])
def test_an_append_only_table_takes_equal_rows(home: Home, count: int):
    """Inserts and upserts are added as they come."""
    rows = [("1", "same")] * count
    home.apply(inserts(LOG, *rows), upserts(LOG, *rows))

    expect(home, LOG, *rows, *rows)
    home.apply(Delta(LOG, truncated=True))
    expect(home, LOG)


def test_an_append_only_table_refuses_what_needs_a_key(home: Home):
    """The row cannot be found, so the table is held."""
    home.prepare(LOG)

    with pytest.raises(BadRow, match="append-only"):
        home.apply(Delta(LOG, deletes=Frames(frame([], []), 1)))


def test_a_table_that_is_all_key(home: Home):
    """There is nothing to set, and still nothing fails."""
    schema = schema_of("pairs", {"a": Kind.TEXT, "b": Kind.INT16}, key=("a", "b"))
    few, many = [("乙", "1"), ("甲", "2")], [("丙", str(n)) for n in range(MANY)]

    home.apply(inserts(schema, *few, *many), upserts(schema, *few), upserts(schema, *many))

    expect(home, schema, *few, *many)


def test_rows_are_scanned_in_key_order_and_in_pages(home: Home):
    """Pages are bounded; texts are ordered byte by byte in every dialect."""
    schema = schema_of("t", {"v": Kind.INT32, "k": Kind.TEXT}, key=("k",))
    names = sorted(
        {f"{n % 7}乙b B_{n}" for n in range(250)} | {"Z", "a", "ä", "中"}, key=lambda name: name.encode()
    )
    home.apply(inserts(schema, *(("1", name) for name in reversed(names))))

    with home.engine.begin() as connection:
        pages = list(home.replica.scan(connection, schema, page_rows=100))

    assert [page.count for page in pages] == [100, 100, len(names) - 200]
    assert [f for page in pages for f in listed(page)] == listed(
        frames(schema, *(("1", name) for name in names))
    )


def test_a_scan_may_be_left_early(home: Home):
    """The transaction goes on."""
    home.apply(inserts(PERSON, *(person(n) for n in range(5000))))

    with home.engine.begin() as connection:
        scan = home.replica.scan(connection, PERSON, page_rows=10)
        next(iter(scan))
        scan.close()  # type: ignore[attr-defined]
        home.replica.apply(connection, [Delta(PERSON, truncated=True)])

    expect(home, PERSON)


def test_a_huge_row(home: Home):
    """Twenty megabytes in one value, changed and read again."""
    schema = schema_of("files", {"id": Kind.INT32, "body": Kind.BYTES, "text": Kind.TEXT})
    row = ("1", "\\x" + "00ff27" * 7_000_000, "大" * 2_000_000)

    home.apply(inserts(schema, row))
    home.apply(upserts(schema, ("1", "\\x", "small"), ("2", *row[1:])))

    assert home.rows(schema) == listed(frames(schema, ("1", "\\x", "small"), ("2", *row[1:])))


def test_equal_tables_have_equal_digests_in_every_dialect(homes: list[Home]):
    """One table of every kind, filled in different orders."""
    schema = schema_of("all", {"id": Kind.INT32, **{f"c_{kind}": kind for kind in Kind}})
    held = [min((extremes(home, kind) for home in homes), key=len) for kind in Kind]
    deep = max(map(len, held))
    rows = [(str(n), *(values[n] if n < len(values) else None for values in held)) for n in range(deep)]
    for home in homes:
        home.apply(inserts(schema, *rows[: deep // 2]))
        home.apply(upserts(schema, *rows[:0:-1]))

    found = [home.digest(schema) for home in homes]
    assert found[0].rows == deep
    assert found == [found[0]] * len(homes)

    homes[0].apply(upserts(schema, (*rows[0][:-1], "changed")))
    assert homes[0].digest(schema) != found[0]


def test_the_digest_of_an_empty_table_is_zero(home: Home):
    """And of a table with one row it is not."""
    home.prepare(PERSON)

    assert (home.digest(PERSON).rows, home.digest(PERSON).content) == (0, bytes(16))
    home.apply(inserts(PERSON, person(1)))
    assert home.digest(PERSON).content != bytes(16)
