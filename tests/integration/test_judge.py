"""The reference itself: what the judge believes about the source is what the source holds."""

import random
from collections import Counter

import pytest

from tests.support import workloads
from tests.support.judge import Broken, Digest, Judge, Sight, check_once, digest_of
from tests.support.reference import (
    TEXT_FORMS,
    Change,
    Columns,
    Decoder,
    Transaction,
    columns_of,
    parse,
    plain,
)


def read_source(connection, tables):
    """Every probe's rows as the source holds them."""
    found = {}
    for name, columns in tables.items():
        listed = ", ".join(text_of(column, kind) for column, kind in columns.types.items())
        rows = connection.execute(f'SELECT {listed} FROM "{name}"').fetchall()
        kinds = list(columns.types.values())
        found[name] = [tuple(map(plain, kinds, row)) for row in rows]
    return found


def text_of(column, kind):
    """A cast to text would trim a char(n)."""
    return f'textin(bpcharout("{column}"))' if kind == "character" else f'"{column}"::text'


def test_the_model_is_the_source_after_every_kind_of_transaction(postgres, business):
    """Hundreds of seeded transactions: key changes, swaps, truncates, savepoints, unchanged large values."""
    seed = random.randrange(10**6)
    print("seed", seed)
    with postgres.connect(business) as connection:
        connection.execute(TEXT_FORMS_AS_SET)
        workloads.create(connection)
        tables = columns_of(connection, workloads.PLACES)
        decoder, judge = Decoder(postgres.dsn(business)), Judge(tables)
        workloads.fill(connection)
        client = workloads.Client(postgres.dsn(business), 1, seed)
        rng = random.Random(seed)
        for number in range(1, 250):
            client.transact(connection, rng, number)
        judge.learn(decoder.read())

        sight = Sight(judge.end_lsn, 1, read_source(connection, tables))

    assert judge.check(sight) == judge.transactions
    workloads.check_laws(sight)
    check_once(sight, client.acknowledged, client.aborted)
    assert client.aborted and not client.unknown


TEXT_FORMS_AS_SET = ";".join(f"SET {form.strip()}" for form in TEXT_FORMS.split("-c") if form.strip())
ONE_TABLE = {"t": Columns({"id": "integer", "v": "text"}, ("id",))}


def judge_of(*lines):
    """A judge that has seen one transaction per line, each ending at 10, 20, 30 …"""
    judge = Judge(ONE_TABLE)
    judge.learn(Transaction(10 * (n + 1), tuple(parse(line))) for n, line in enumerate(lines))
    return judge


INSERT = "table public.t: INSERT: id[integer]:1 v[text]:'a'"
REKEY = (
    "table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:unchanged-toast-datum"
)


@pytest.mark.parametrize(
    ("lsn", "rows"),
    [(0, []), (9, []), (10, [(1, "a")]), (19, [(1, "a")]), (20, [(2, "a")]), (99, [(2, "a")])],
)
def test_each_position_has_its_one_state(lsn, rows):
    """A position between two commits stands for the earlier one."""
    judge_of(INSERT, REKEY).check(Sight(lsn, 1, {"t": rows}))


@pytest.mark.parametrize(
    ("lsn", "rows"),
    [(10, []), (10, [(2, "a")]), (20, [(1, "a"), (2, "a")]), (20, [(2, None)]), (20, [(2, "a"), (2, "a")])],
)
def test_any_other_state_is_found(lsn, rows):
    """Behind, ahead, a key change taken for an upsert, an unchanged value taken for NULL, a row twice."""
    with pytest.raises(Broken, match="prefix"):
        judge_of(INSERT, REKEY).check(Sight(lsn, 1, {"t": rows}))


def test_nobody_goes_back():
    """What was shown once stays shown."""
    judge = judge_of(INSERT, REKEY)
    judge.check(Sight(20, 2, {"t": [(2, "a")]}))

    with pytest.raises(Broken, match="went back"):
        judge.check(Sight(10, 1, {"t": [(1, "a")]}))


@pytest.mark.parametrize(
    ("seen", "promise"), [([1], "no-loss"), ([1, 2, 2], "once"), ([1, 2, 3], "no-phantom")]
)
def test_numbers_tell_which_promise_broke(seen, promise):
    """2 was acknowledged, 3 was rolled back."""
    sight = Sight(0, 0, {"events": [(1, n, "") for n in seen]})

    with pytest.raises(Broken, match=promise):
        check_once(sight, acknowledged=[1, 2], aborted=[3])


def test_lines_are_read_to_the_letter():
    """Quotes, spaces, brackets and Chinese in names and values."""
    line = """table public."宽 表": UPDATE: "a:[b"[text]:'x'' y[text]:''z' "n""q"[text[]]:'{a,b}' z[bigint]:null"""

    assert parse(line) == [
        Change("宽 表", "UPDATE", {"a:[b": "x' y[text]:'z", 'n"q': "{a,b}", "z": None}, {})
    ]
    assert parse("table public.a, public.b: TRUNCATE: (no-flags)") == [
        Change("a", "TRUNCATE", {}, {}),
        Change("b", "TRUNCATE", {}, {}),
    ]


def test_a_digest_is_a_multiset():
    """Order does not matter, times do."""
    rows = [(1, "a"), (2, None), (2, None)]

    assert digest_of(rows) == digest_of(reversed(rows)) != digest_of(set(rows))
    assert Digest().plus((1, "a")).plus((2, None)).minus((1, "a")) == digest_of([(2, None)])
    assert Counter(rows)[(2, None)] == 2
