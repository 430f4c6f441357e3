"""What another department sees of a table, and what becomes of it when the table changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import frames
from proto.batch import NO_FRAMES, Delta, Frames, Partial
from proto.errors import FrameCorrupt, Refused
from proto.masks import Hide, Keep, Mask, Pseudonym, Year
from proto.predicate import parse
from proto.schema import Column, TableSchema
from proto.values import Kind
from proto.view import View
from tests.support.filters import frame

KEY = b"k" * 32
PERSON = TableSchema(
    "人员",
    (
        Column("证件号", Kind.TEXT, "varchar(18)", nullable=False),
        Column("姓名", Kind.TEXT, "varchar(20)"),
        Column("地区", Kind.TEXT, "char(6)"),
        Column("出生", Kind.DATE, "date", nullable=False),
        Column("收入", Kind.DECIMAL, "numeric(12,2)", nullable=False),
        Column("人数", Kind.INT32, "integer"),
    ),
    ("证件号",),
)
ALL = tuple(column.name for column in PERSON.columns)
LI = ("110101199003071234", "李雷", "370100", "1990-03-07", "8000.50", "3")
HAN = ("370102200001015678", "韩梅梅", "370200", "2000-01-01", "9000.00", None)
WANG = ("370103198512319999", "王😀", None, "1985-12-31", "0.00", "1")


def full(*people: tuple[str | None, ...]) -> Frames:
    """Full rows as they are stored."""
    return Frames(b"".join(frame(PERSON, person) for person in people), len(people))


def keys(*people: tuple[str | None, ...]) -> Frames:
    """Their keys as they are stored."""
    return Frames(b"".join(frame(PERSON, person, (0,)) for person in people), len(people))


def texts(found: Frames, schema: TableSchema) -> list[tuple[Any, ...]]:
    """Delivered rows."""
    rows = frames.rows(found.data, schema.kinds)
    assert len(rows) == found.count
    return [tuple(row) for row in rows]


def test_columns_are_chosen_masked_and_put_in_order() -> None:
    """The delivered table says what the masks make of it."""
    masks: dict[str, Mask] = {"姓名": Keep(1, 0), "出生": Year(), "收入": Hide(), "人数": Pseudonym()}
    bound = View(("出生", "证件号", "姓名", "收入", "人数"), masks).bind(PERSON, KEY)
    assert bound.schema == TableSchema(
        "人员",
        (
            Column("出生", Kind.DATE, "date", nullable=False),
            Column("证件号", Kind.TEXT, "varchar(18)", nullable=False),
            Column("姓名", Kind.TEXT),
            Column("收入", Kind.DECIMAL),
            Column("人数", Kind.TEXT),
        ),
        ("证件号",),
    )
    passing, left = bound.divide(full(LI, HAN))
    pseudonym = Pseudonym().ready(Kind.INT32, KEY)(b"\0\0\0\3")
    assert pseudonym is not None
    assert texts(passing, bound.schema) == [
        ("1990-01-01", LI[0], "李*", None, pseudonym.decode()),
        ("2000-01-01", HAN[0], "韩**", None, None),
    ]
    assert left == NO_FRAMES
    assert not bound.is_identity
    assert not bound.filters


def test_rows_are_divided_by_the_filter() -> None:
    """Those that pass in full, of the others the key; it may look at what is not delivered."""
    bound = View(("证件号", "姓名"), {}, parse("地区 starts with '3701' or 人数 < 2")).bind(PERSON, KEY)
    passing, left = bound.divide(full(LI, HAN, WANG))
    assert texts(passing, bound.schema) == [(LI[0], LI[1]), (WANG[0], WANG[1])]
    assert left == keys(HAN)
    assert bound.filters


def test_a_view_of_everything_hands_on_the_same_bytes() -> None:
    """Only then: another order, a mask or a filter change something."""
    bound = View(ALL).bind(PERSON, KEY)
    rows = full(LI, HAN)
    delta = Delta(PERSON, inserts=rows, deletes=keys(WANG))
    assert bound.is_identity
    assert bound.divide(rows)[0] is rows
    assert bound.delta(delta).delta is delta
    for view in (
        View(ALL[::-1]),
        View(ALL[:-1]),
        View(ALL, {"姓名": Hide()}),
        View(ALL, {}, parse("地区 is null or 地区 is not null")),
    ):
        assert not view.bind(PERSON, KEY).is_identity


def test_keys_are_delivered_as_the_rows_are() -> None:
    """A pseudonym of a key is the same in rows, deletes and digests."""
    bound = View(("姓名", "证件号"), {"证件号": Pseudonym()}, parse("地区 = '370100'")).bind(PERSON, KEY)
    passing, left = bound.divide(full(LI, HAN))
    assert bound.keys(keys(LI)) == bound.keys_of(passing)
    assert bound.keys(keys(HAN)) == left
    assert bound.key_digests(left) == [hashlib.blake2b(left.data, digest_size=16).digest()]
    assert HAN[0].encode() not in passing.data + left.data
    plain = View(("姓名", "证件号")).bind(PERSON, KEY)
    assert plain.keys(keys(LI)) == keys(LI)


@pytest.mark.parametrize(
    ("view", "column"),
    [
        (View(("证件号", "没有")), "没有"),
        (View(("姓名",)), "证件号"),
        (View(("证件号",), {"证件号": Keep(3, 4)}), "证件号"),
        (View(("证件号",), {"证件号": Hide()}), "证件号"),
        (View(("证件号", "姓名"), {"姓名": Year()}), "姓名"),
        (View(("证件号", "收入"), {"收入": Keep(1, 1)}), "收入"),
        (View(("证件号",), {}, parse("没有 = 1")), "没有"),
        (View(("证件号",), {}, parse("出生 > '1990'")), "出生"),
    ],
)
def test_what_does_not_go_with_the_table_is_refused(view: View, column: str) -> None:
    """With the column's name."""
    with pytest.raises(Refused) as error:
        view.bind(PERSON, KEY)
    assert error.value.where == column


def test_pseudonyms_need_a_key() -> None:
    """Nothing else does."""
    View(ALL, {"姓名": Hide()}).bind(PERSON, b"")
    with pytest.raises(Refused) as error:
        View(ALL, {"姓名": Pseudonym()}).bind(PERSON, b"")
    assert error.value.where == "姓名"


def test_a_changed_table_needs_a_new_binding() -> None:
    """Frames of another shape are not guessed at."""
    other = TableSchema(PERSON.name, PERSON.columns[:-1], PERSON.key)
    with pytest.raises(Refused):
        View(ALL).bind(PERSON, KEY).delta(Delta(other))
    with pytest.raises(FrameCorrupt):
        View(ALL[:2]).bind(PERSON, KEY).divide(Frames(frames.pack([b"x"]), 1))


VIEW = View(
    ALL[:3], {"姓名": Keep(1, 0), "证件号": Pseudonym()}, parse("地区 = '370100' and not (收入 > 9.5)")
)
FORM = {
    "columns": ["证件号", "姓名", "地区"],
    "masks": {"证件号": {"mask": "pseudonym"}, "姓名": {"mask": "keep", "first": 1, "last": 0}},
    "rows": {
        "op": "and",
        "parts": [
            {"op": "=", "column": "地区", "value": "370100"},
            {"op": "not", "part": {"op": ">", "column": "收入", "value": "9.5"}},
        ],
    },
}


def test_a_view_comes_back_from_its_form() -> None:
    """Equal, with the same fingerprint; the form is what is stored and shown."""
    assert VIEW.to_json() == FORM
    assert View.from_json(FORM) == VIEW
    assert View.from_json({"columns": ["a"]}) == View(("a",), {}, None)
    assert hash(View.from_json(FORM)) == hash(VIEW)


def test_a_fingerprint_changes_with_everything() -> None:
    """Columns and their order, masks and what they keep, the filter and its literals."""
    views = [
        VIEW,
        View(VIEW.columns, VIEW.masks),
        View(VIEW.columns[::-1], VIEW.masks, VIEW.rows),
        View(VIEW.columns, {"姓名": Keep(1, 0)}, VIEW.rows),
        View(VIEW.columns, {"姓名": Keep(0, 1), "证件号": Pseudonym()}, VIEW.rows),
        View(VIEW.columns, VIEW.masks, parse("地区 = '370200' and not (收入 > 9.5)")),
    ]
    assert len({view.fingerprint for view in views}) == len(views)
    swapped: Mapping[str, Mask] = {"证件号": Pseudonym(), "姓名": Keep(1, 0)}
    assert View(VIEW.columns, swapped, VIEW.rows).fingerprint == VIEW.fingerprint
    assert VIEW.fingerprint.hex() == "186c224829a796e1ae0bce1cd96a51f3", (
        "stored grants would all look changed"
    )


def test_a_view_does_not_change_with_the_dictionary_it_was_made_of() -> None:
    """What was approved stays approved."""
    masks: dict[str, Mask] = {"姓名": Hide()}
    view = View(ALL, masks)
    masks.clear()
    assert view.masks == {"姓名": Hide()}


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        {},
        {"columns": "证件号"},
        {"columns": []},
        {"columns": ["a", "a"]},
        {"columns": ["a", 1]},
        {"columns": ["a"], "where": "1 = 1"},
        {"columns": ["a"], "masks": None},
        {"columns": ["a"], "masks": []},
        {"columns": ["a"], "masks": {"b": {"mask": "hide"}}},
        {"columns": ["a"], "masks": {"a": {"mask": "drop"}}},
        {"columns": ["a"], "rows": "a = 1"},
        {"columns": ["a"], "rows": {"op": "=", "column": "a", "value": 1}},
    ],
)
def test_a_form_is_strict(form: Any) -> None:
    """Nothing missing, nothing unknown."""
    with pytest.raises(Refused):
        View.from_json(form)


def test_a_table_without_a_key_has_no_keys_left() -> None:
    """Rows that do not pass leave nothing behind."""
    notes = TableSchema("记录", (Column("内容", Kind.TEXT), Column("级别", Kind.INT32)), ())
    bound = View(("内容",), {}, parse("级别 >= 2")).bind(notes, KEY)
    rows = frames.pack_rows([("一", 1), ("二", 2), ("三", 3)], notes.kinds)
    found = bound.delta(Delta(notes, inserts=Frames(rows, 3)))
    assert texts(found.delta.inserts, bound.schema) == [("二",), ("三",)]
    assert (found.left_keys, found.undecided) == (NO_FRAMES, NO_FRAMES)
    assert bound.divide(Frames(rows, 3))[1] == NO_FRAMES


def test_a_delta_is_sifted_section_by_section() -> None:
    """What passes is delivered; what does not may have been there, but for inserts."""
    bound = View(("证件号", "姓名"), {}, parse("地区 = '370100'")).bind(PERSON, KEY)
    moved = (HAN[0], "韩梅", "370300", *HAN[3:])
    delta = Delta(PERSON, inserts=full(LI, WANG), upserts=full(moved), deletes=keys(("1",)), truncated=True)
    found = bound.delta(delta)
    assert texts(found.delta.inserts, bound.schema) == [(LI[0], LI[1])]
    assert found.delta.upserts == found.delta.deletes == NO_FRAMES
    assert found.delta.truncated
    assert found.left_keys == Frames(keys(HAN).data + keys(("1",)).data, 2)
    unfiltered = View(("证件号", "姓名")).bind(PERSON, KEY).delta(delta)
    assert unfiltered.delta.deletes == keys(("1",))
    assert unfiltered.left_keys == NO_FRAMES


def update(columns: tuple[int, ...], *people: tuple[str | None, ...], old: str | None = None) -> Partial:
    """Partial updates of some columns."""
    packed = [
        frames.pack([(old or str(person[0])).encode(), *frames.fields(frame(PERSON, person, columns))])
        for person in people
    ]
    return Partial(columns, Frames(b"".join(packed), len(packed)))


def test_a_partial_update_is_decided_by_what_it_carries() -> None:
    """Passing ones are chosen and masked, others leave their key."""
    view = View(
        ("姓名", "证件号", "出生"), {"姓名": Keep(1, 0), "证件号": Pseudonym()}, parse("地区 = '370100'")
    )
    bound = view.bind(PERSON, KEY)
    found = bound.partial(update((1, 2, 4), LI, HAN))
    (part,) = found.delta.partials
    assert part.columns == (0,)
    assert frames.fields(part.frames.data) == [frames.fields(bound.keys(keys(LI)).data)[0], "李*".encode()]
    assert found.left_keys == bound.keys(keys(HAN))
    assert found.partial_keys == (keys(LI),)
    assert found.undecided == NO_FRAMES


def test_a_partial_update_without_the_filters_column_is_undecided() -> None:
    """Its row must be looked up by the key as it is stored."""
    bound = View(ALL[:2], {"证件号": Pseudonym()}, parse("地区 = '370100'")).bind(PERSON, KEY)
    found = bound.partial(update((1, 4), LI, HAN))
    assert found.undecided == keys(LI, HAN)
    assert (found.delta.partials, found.left_keys) == ((), NO_FRAMES)


def test_a_key_column_of_the_filter_is_always_there() -> None:
    """The old key says what an unchanged key is."""
    bound = View(ALL[:2], {}, parse("证件号 starts with '3701'")).bind(PERSON, KEY)
    found = bound.partial(update((1,), LI, HAN))
    assert found.delta.partials == (update((1,), HAN),)
    assert found.left_keys == keys(LI)


def test_a_changed_key_is_lost_and_looked_up() -> None:
    """Whoever has the row under its old key must not keep it there."""
    bound = View(ALL[:2], {"证件号": Pseudonym()}, parse("地区 = '370100'")).bind(PERSON, KEY)
    part = update((0, 1, 2), LI, old="000")
    found = bound.partial(part)
    assert found.left_keys == bound.keys(keys(("000",)))
    assert found.undecided == keys(LI)
    same = bound.partial(update((0, 1, 2), LI))
    assert (same.left_keys, same.undecided) == (NO_FRAMES, keys(LI))
    everyone = View(ALL[:2]).bind(PERSON, KEY).partial(part)
    assert everyone.delta.partials == (Partial((0, 1), update((0, 1), LI, old="000").frames),)


def test_a_partial_update_of_nothing_delivered_is_nothing() -> None:
    """Unless the row may have come into the filter."""
    assert View(ALL[:2]).bind(PERSON, KEY).partial(update((4,), LI)).delta.partials == ()
    bound = View(ALL[:2], {}, parse("地区 = '370100'")).bind(PERSON, KEY)
    found = bound.delta(Delta(PERSON, partials=(update((2,), LI),)))
    known = frozenset(bound.key_digests(bound.keys(keys(LI))))
    assert bound.asks(found) == list(known)
    assert bound.settle(found, known) == (Delta(bound.schema), NO_FRAMES)
    assert bound.settle(found, frozenset()) == (Delta(bound.schema), keys(LI))


def test_nobody_has_a_row_of_a_table_that_was_emptied() -> None:
    """What the receiver had before is gone already, so nothing of it is deleted once more or updated."""
    bound = View(ALL[:2], {}, parse("地区 = '370100'")).bind(PERSON, KEY)
    delta = Delta(PERSON, upserts=full(HAN), partials=(update((2,), LI),), truncated=True)
    found = bound.delta(delta)
    ready, wanted = bound.settle(found, frozenset(bound.asks(found)))
    assert ready == Delta(bound.schema, truncated=True)
    assert wanted == keys(LI)


CANARIES = ("110101199003071234", "李雷雷雷", "370100", "金丝雀-收入-", "金丝雀-病历-")
SECRETS = TableSchema("档案", tuple(Column(f"列{at}", Kind.TEXT) for at in range(5)), ("列0",))


@settings(deadline=None)
@given(data=st.data())
def test_nothing_of_an_unchosen_or_masked_value_is_delivered(data: st.DataObject) -> None:
    """No byte of it in rows, keys, partial updates or what is left; keys to look up never leave."""
    number = data.draw(st.lists(st.integers(0, 999), min_size=1, max_size=4, unique=True))
    rows = [tuple(f"{canary}{at:03}" for canary in CANARIES) for at in number]
    masked: dict[str, Mask] = data.draw(
        st.fixed_dictionaries(
            {"列0": st.just(Pseudonym())},
            optional={"列1": st.sampled_from([Keep(1, 0), Hide(), Pseudonym()]), "列3": st.just(Hide())},
        )
    )
    chosen = ("列0", *data.draw(st.permutations([name for name in masked if name != "列0"])))
    rows_seen = data.draw(st.sampled_from([None, parse("列2 starts with '3701'"), parse("列4 is null")]))
    bound = View(chosen, masked, rows_seen).bind(SECRETS, KEY)
    packed = Frames(b"".join(frame(SECRETS, row) for row in rows), len(rows))
    gone = Frames(b"".join(frame(SECRETS, row, (0,)) for row in rows), len(rows))
    parts = tuple(
        Partial(places, Frames(b"".join(frame(SECRETS, row, (0, *places)) for row in rows), len(rows)))
        for places in ((1, 2, 3, 4), (0, 1, 3), (3,))
    )
    found = bound.delta(Delta(SECRETS, packed, packed, gone, parts))
    delta = found.delta
    sections = [
        delta.inserts,
        delta.upserts,
        delta.deletes,
        found.left_keys,
        *(p.frames for p in delta.partials),
    ]
    delivered = b"".join(section.data for section in sections)
    assert delivered
    for canary in CANARIES:
        assert canary[1:].encode() not in delivered
