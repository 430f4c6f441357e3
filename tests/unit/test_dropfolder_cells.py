"""What a cell of a dropped file becomes, and what is refused; which names are whose; when a file is whole."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.sources.dropfolder.folder import Look
from agent.sources.dropfolder.patterns import is_unfinished, matches, overlap
from agent.sources.dropfolder.places import Placing
from agent.sources.dropfolder.reasons import Unfit
from agent.sources.dropfolder.reports import harmless
from agent.sources.dropfolder.rules import Faulty, Numeric, convert, shortest
from agent.sources.dropfolder.settings import ColumnRule, DropfolderSettings, FolderTable, OperationRule
from agent.sources.dropfolder.watch import Settling
from proto import frames
from proto.schema import Column, TableSchema
from proto.values import Kind, from_plain, to_text

NOON = datetime(2024, 1, 5, 12)  # noqa: DTZ001
DAY = datetime(2024, 1, 5)  # noqa: DTZ001


def text_of(kind, cell, **rule):
    """The canonical value of a cell as text; None for NULL."""
    found = convert(ColumnRule(name="c", kind=kind, **rule), is_key=False)(cell)
    return None if found is None else to_text(kind, found)


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        (Kind.TEXT, "00123", "00123"),
        (Kind.TEXT, "\u3000王\u3000", "\u3000王\u3000"),
        (Kind.TEXT, "11010119900307002X", "11010119900307002X"),
        (Kind.TEXT, Numeric("13800138000"), "13800138000"),
        (Kind.TEXT, "", None),
        (Kind.DATE, "2024-01-05", "2024-01-05"),
        (Kind.DATE, "2024/1/5", "2024-01-05"),
        (Kind.DATE, "2024.1.5", "2024-01-05"),
        (Kind.DATE, "2024年1月5日", "2024-01-05"),
        (Kind.DATE, "20240105", "2024-01-05"),
        (Kind.DATE, Numeric("45296", DAY, True), "2024-01-05"),
        (Kind.TIMESTAMP, "2024/1/5 8:30", "2024-01-05 08:30:00"),
        (Kind.TIMESTAMP, Numeric("45296.5", NOON, True), "2024-01-05 12:00:00"),
        (Kind.TIMESTAMPTZ, "2024-01-05 08:30:00+08:00", "2024-01-05 00:30:00+00"),
        (Kind.TIME, "8:05", "08:05:00"),
        (Kind.INT32, " 42 ", "42"),
        (Kind.DECIMAL, "12.50", "12.50"),
        (Kind.DECIMAL, Numeric("0.10000000000000001"), "0.1"),
        (Kind.DECIMAL, Numeric("1E-3"), "0.001"),
        (Kind.BOOL, "是", "t"),
        (Kind.BOOL, "否", "f"),
    ],
)
def test_a_cell_becomes_a_value(kind, cell, expected):
    """Text stays as it is; everything else is read strictly."""
    assert text_of(kind, cell) == expected


@pytest.mark.parametrize(
    ("kind", "cell", "word"),
    [
        (Kind.TEXT, "1.10101E+17", "科学计数法"),
        (Kind.TEXT, Numeric("110101199003070010"), "15位"),
        (Kind.TEXT, Numeric("1.10101199003070001E+17"), "15位"),
        (Kind.TEXT, Numeric("45296", DAY, True), "日期"),
        (Kind.TEXT, "a\0b", "规定类型"),
        (Kind.TEXT, "\ud800", "规定类型"),
        (Kind.TEXT, Faulty("单元格为错误值"), "错误值"),
        (Kind.DATE, "45296", "日期"),
        (Kind.DATE, "5/1/2024", "日期"),
        (Kind.DATE, "2024-02-30", "规定类型"),
        (Kind.DATE, "2024-1/5", "日期"),
        (Kind.DATE, Numeric("45296.5", NOON, True), "日期"),
        (Kind.TIMESTAMPTZ, "2024-01-05 08:30", "日期"),
        (Kind.DECIMAL, "1,234.50", "数字"),
        (Kind.DECIMAL, "１２", "数字"),
        (Kind.INT32, "1.0", "数字"),
        (Kind.INT32, "3000000000", "规定类型"),
        (Kind.BOOL, "2", "是/否"),
    ],
)
def test_what_could_be_two_things_is_refused(kind, cell, word):
    """With the reason in the clerk's language, and without the value."""
    with pytest.raises(Unfit, match=word) as caught:
        text_of(kind, cell)

    assert " / " in caught.value.reason or word == "错误值"


def test_rules_of_a_column():
    """Length, form, allowed values, formats, thousands, words for nothing."""
    assert text_of(Kind.DECIMAL, "1,234.50", thousands=True) == "1234.50"
    assert text_of(Kind.DATE, "05/01/2024", formats=("%d/%m/%Y",)) == "2024-01-05"
    assert text_of(Kind.TEXT, "无", null=("无",)) is None
    assert text_of(Kind.TEXT, "", null=("无",)) == ""
    assert text_of(Kind.TEXT, "1.1E+17", scientific=True) == "1.1E+17"
    for rule, cell in (
        ({"max_length": 2}, "王小明"),
        ({"pattern": "[0-9]{4}"}, "12345"),
        ({"values": ("男", "女")}, "未知"),
        ({"required": True}, ""),
    ):
        with pytest.raises(Unfit):
            text_of(Kind.TEXT, cell, **rule)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_a_workbooks_number_is_what_people_see(number):
    """It is stored as a binary number; fifteen digits of it are meant."""
    stored = f"{float(number):.17g}"

    assert float(shortest(stored)) == float(number)
    assert len(shortest(stored).lstrip("-0.").replace(".", "")) <= 15


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.text(max_size=4)), min_size=2, max_size=20))
def test_places_sort_as_their_keys_and_are_never_shared(keys):
    """Numbers by value, texts by their characters, whatever stands beside them."""
    schema = TableSchema("t", (Column("n", Kind.INT32), Column("s", Kind.TEXT)), ("n", "s"))
    placing = Placing(schema)
    fields = {key: [from_plain(Kind.INT32, key[0]), from_plain(Kind.TEXT, key[1])] for key in keys}
    places = {key: placing.of_frame(frames.pack(found)) for key, found in fields.items()}

    assert sorted(fields, key=places.__getitem__) == sorted(fields, key=lambda key: (key[0], key[1].encode()))
    assert len(set(places.values())) == len(fields)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("person*.csv", "person-2024*.csv", True),
        ("person*.csv", "visit*.csv", False),
        ("*.csv", "人员*.*", True),
        ("a?c", "ab*", True),
        ("a?c", "ab", False),
        ("PERSON.csv", "person.csv", True),
        ("*a", "*b", False),
        ("", "*", True),
    ],
)
def test_patterns_that_some_name_fits_both(one, other, meet):
    """Both ways round."""
    assert (overlap(one, other), overlap(other, one)) == (meet, meet)


def test_names():
    """Letters' case and composition do not matter; what is not whole yet is nobody's."""
    assert matches("Person-É.CSV", "person-e\u0301.csv")
    assert not matches("person.csv.bak", "person*.csv")
    for name in ("人员.xlsx.part", "~$人员.xlsx", ".人员.csv", "人员.csv.crdownload"):
        assert is_unfinished(name)


def test_a_file_counts_once_it_has_not_changed_for_long_enough():
    """Those that settled first come first; a change starts it again."""
    settling = Settling(10)
    a, b, grown = (Look(size, 1, size, True) for size in (1, 2, 3))
    assert settling.ripe({"b": b, "a": a}, 0) == []
    assert settling.ripe({"b": grown, "a": a, "0": a}, 9) == []
    assert settling.wait_s(9) == 1
    assert settling.ripe({"b": grown, "a": a, "0": a}, 10) == ["a"]
    assert settling.ripe({"b": grown, "0": a}, 19) == ["0", "b"]


def test_nothing_in_a_report_runs():
    """For the person who opens it in a spreadsheet."""
    assert [harmless(text)[0] for text in ("=1+1", "+1", "-1", "@x", "\tx", "＝1")] == ["'"] * 6
    assert harmless("王") == "王"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"mode": "snapshot", "reject": "rows"}, "would be a delete"),
        ({"key": ("nobody",)}, "no rule"),
        ({"files": "../person*"}, "without /"),
        ({"rules": ({"name": "id"}, {"name": "操", "header": "id"})}, "twice"),
        ({"rules": ({"name": "id", "kind": "bytes"},)}, "cannot hold"),
        ({"rules": ({"name": "id", "pattern": "("},)}, "regular expression"),
        ({"columns": ("id",)}, "no 'columns'"),
    ],
)
def test_settings_that_cannot_be_meant(change, word):
    """They are refused by name before anything starts."""
    table = {"table": "t", "files": "*.csv", "mode": "delta", "rules": ({"name": "id"},), "key": ("id",)}
    FolderTable.model_validate(table)
    with pytest.raises(ValidationError, match=word):
        FolderTable.model_validate({**table, **change})


def test_a_file_belongs_to_one_table_and_a_word_to_one_meaning(tmp_path):
    """Otherwise it would be chance which one takes it."""
    table = {"mode": "delta", "rules": ({"name": "id"},), "key": ("id",)}
    tables = [{**table, "table": "a", "files": "a*.csv"}, {**table, "table": "b", "files": "*b.csv"}]
    with pytest.raises(ValidationError, match="may match both"):
        DropfolderSettings(kind="dropfolder", name="x", folder=tmp_path, tables=tables)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="means two things"):
        OperationRule(insert=("x",), update=("X",))
