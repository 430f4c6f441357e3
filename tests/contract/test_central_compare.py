"""Comparison under a grant: match, mismatch or not found, never a value; and the case it may become."""

from __future__ import annotations

import json

import pytest

from proto.comparison import text_digest
from proto.errors import ExchangeError, NotAdmitted, Refused
from proto.values import Kind
from tests.support.fences import hold_by_hand
from tests.support.sharing import ROWS

pytest_plugins = ["tests.support.stores", "tests.support.sharing"]
LI, WANG, ZHANG = (row[0] for row in ROWS)


@pytest.fixture
def compared(town):
    """Compare claims of texts under a grant, as the asking side would."""

    def run(grant, claims, who="civil-clerk", **other):
        said = {"grant": grant, "purpose": "核对低保对象"}
        begun = town.do(who, "share.compare-begin", **said)
        kinds = {each["name"]: Kind(each["kind"]) for each in begun["items"]}
        key = bytes.fromhex(begun["key"])
        made = [
            {
                "key": {"id": number},
                "digests": {
                    name: text_digest(key, name, kinds.get(name, Kind.TEXT), text)
                    for name, text in row.items()
                },
            }
            for number, row in claims
        ]
        arguments = {**said, "comparison": begun["comparison"], "claims": made, **other}
        return town.do(who, "share.compare", **arguments)

    return run


def test_match_mismatch_and_not_found_for_each_key(town, compared):
    """And never a value of the other side (SD20.1)."""
    grant = town.granted(town.entry(), items=["id", "name", "born", "married"])
    answer = compared(
        grant,
        [
            (LI, {"name": "李娜", "born": "1990-01-01"}),
            (WANG, {"name": "王维", "born": "1985-05-05", "married": "true"}),
            (ZHANG, {"married": None}),
            ("370100000000000000", {"name": "无"}),
        ],
    )
    told = [(each["outcome"], each["items"]) for each in answer["answers"]]
    assert told == [("match", []), ("mismatch", ["name", "married"]), ("match", []), ("not_found", [])]
    assert answer["counts"] == {"match": 2, "mismatch": 1, "not_found": 1}
    said = json.dumps(answer, ensure_ascii=False)
    assert not [value for row in ROWS for value in row if value and len(value) > 4 and value in said]


def test_a_comparison_with_a_held_table_says_so(town, store, compared):
    """Before and after: what differs may only be late (SD11.3)."""
    entry = town.entry()
    grant = town.granted(entry)
    assert compared(grant, [(LI, {"name": "李娜"})])["held"] == ""
    hold_by_hand(store, entry.binding.stream, entry.binding.table)
    begun = town.do("civil-clerk", "share.compare-begin", grant=grant, purpose="核对低保对象")
    answer = compared(grant, [(LI, {"name": "李娜"})])
    assert begun["held"] == answer["held"] != ""
    assert "up to batch 7" in answer["held"]


def test_a_comparison_is_on_record_by_its_numbers(town, compared):
    """Neither keys nor digests (SD20.1, SD26.5)."""
    grant = town.granted(town.entry())
    compared(grant, [(LI, {"name": "李娜"})])
    facts = town.records("compared")[-1]
    assert (facts["match"], facts["mismatch"], facts["not_found"], facts["purpose"]) == (
        1,
        0,
        0,
        "核对低保对象",
    )
    assert LI not in json.dumps([facts, town.records("comparison_opened")[-1]])


def test_two_comparisons_have_nothing_in_common(town):
    """The same value has another digest each time, so none can be tried against a list."""
    grant = town.granted(town.entry())
    one, two = (
        town.do("civil-clerk", "share.compare-begin", grant=grant, purpose="核对")["key"] for _ in range(2)
    )
    assert one != two
    digests = {text_digest(bytes.fromhex(key), "married", Kind.BOOL, "true") for key in (one, two)}
    assert len(digests) == 2


def test_a_comparison_with_anothers_key_matches_nothing(town, compared):
    """The name of the comparison decides about its key."""
    grant = town.granted(town.entry())
    ends = town.now() + 60_000_000
    answer = compared(grant, [(LI, {"name": "李娜"})], comparison=f"{ends}-{'0' * 32}")
    assert answer["answers"][0]["outcome"] == "mismatch"


def test_a_comparison_runs_out(town, compared):
    """By the database's clock."""
    grant = town.granted(town.entry())
    with pytest.raises(Refused, match="has run out"):
        compared(grant, [(LI, {"name": "李娜"})], comparison=f"1-{'0' * 32}")


@pytest.mark.parametrize("item", ["married", "id"])
def test_items_outside_the_grant_are_not_compared(town, compared, item):
    """A yes or no about them would be their value (SD20.1)."""
    grant = town.granted(town.entry())
    with pytest.raises(Refused, match="is not compared under this grant"):
        compared(grant, [(LI, {item: "true"})])


def test_what_a_mask_hides_is_not_compared_and_rows_outside_are_not_found(town, limited, compared):
    """Guessing would find it out (SD20.1)."""
    grant = limited(masks={"name": {"mask": "hide"}}, rows="region = '370102'")
    with pytest.raises(Refused, match="is not compared"):
        compared(grant, [(LI, {"name": "李娜"})])
    assert compared(grant, [(WANG, {"born": "1985-05-05"})])["answers"][0]["outcome"] == "not_found"


def test_a_comparison_counts_against_the_grants_limits(town, limited, compared):
    """Keys like rows."""
    grant = limited(limits={"query_rows": 2, "rows_per_day": 3, "queries_per_hour": 50})
    with pytest.raises(ExchangeError, match="2 keys at once"):
        compared(grant, [(str(n), {"region": "1"}) for n in range(3)])
    compared(grant, [(str(n), {"region": "1"}) for n in range(2)])
    with pytest.raises(ExchangeError, match="1 keys at once"):
        compared(grant, [(str(n), {"region": "1"}) for n in range(2)])


def test_what_differs_becomes_a_case_against_the_source(town, compared):
    """Both sides see it; it holds digests and the words of who raised it, no value (SD20.2)."""
    grant = town.granted(town.entry())
    with pytest.raises(NotAdmitted, match="raising a case"):
        compared(grant, [(WANG, {"name": "王维"})], raise_case="姓名不符")
    claims = [(LI, {"name": "李娜"}), (WANG, {"name": "王维"})]
    number = compared(grant, claims, who="civil-admin", raise_case="姓名不符")["case"]
    case = town.do("police-admin", "case.show", case=number)
    assert (case["kind"], case["handler"], case["grant"]) == ("comparison", town.codes["police"], grant)
    assert "1 rows differ" in case["evidence"]
    said = json.dumps(case, ensure_ascii=False)
    assert not [value for value in (WANG, "王维", "王伟") if value in said]
    assert compared(grant, claims[:1], who="civil-admin", raise_case="姓名不符")["case"] == 0
