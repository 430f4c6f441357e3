"""Rules that compare the entry with the tables as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from central.catalogue.entry import Item
from central.catalogue.reported import deletes_sentence
from central.catalogue.rules.facts import Facts, LiveColumn, period
from central.catalogue.rules.rule import Problem, Severity
from central.catalogue.states import EntryState
from proto.v1 import node_pb2

_NUMBERS: Final = frozenset({"int16", "int32", "int64", "decimal", "float32", "float64"})
_WORDS: Final = frozenset({"text", "uuid", "json", "jsonb", "other"})
FITTING: Final[Mapping[str, frozenset[str]]] = {
    "C": _WORDS,
    "N": _NUMBERS,
    "Y": _NUMBERS,
    "D": frozenset({"date", "timestamp", "timestamptz"}),
    "T": frozenset({"timestamp", "timestamptz"}),
    "L": frozenset({"bool", "int16"}),
    "M": _WORDS,
    "G": frozenset({"bytes", "other", "text"}),
    "B": frozenset({"float32", "float64", "decimal"}),
    "I": frozenset({"int16", "int32", "int64"}),
    "F": frozenset({"float32", "float64", "decimal"}),
}
"""Data types of the guide to the kinds that hold them."""
LETTERS: Final[Mapping[str, str]] = {
    "bool": "L",
    "int16": "I",
    "int32": "I",
    "int64": "I",
    "float32": "F",
    "float64": "B",
    "decimal": "N",
    "text": "C",
    "bytes": "G",
    "date": "D",
    "time": "C",
    "timestamp": "T",
    "timestamptz": "T",
    "interval": "C",
    "json": "M",
    "jsonb": "M",
    "uuid": "C",
    "other": "C",
}
_LENGTH: Final = re.compile(r"char[a-z0-9 ]*\((\d+)\)", re.IGNORECASE)


def items_exist(facts: Facts) -> Iterator[Problem]:
    """V11."""
    live = facts.live
    if live is None or facts.entry.binding is None:
        return
    if live.trouble:
        yield Problem("binding", f"the node could not look at the table: {live.trouble}")
    if not live.columns:
        if facts.state is EntryState.RELEASED and not live.trouble:
            yield Problem("binding", "no node has described the table yet", Severity.WARNING)
        return
    for item in facts.entry.items:
        column = live.columns.get(item.column)
        if column is None:
            yield Problem(f"items[{item.column}]", "the table has no such column")
        else:
            yield from _fits(item, column)


def _fits(item: Item, column: LiveColumn) -> Iterator[Problem]:
    if column.kind not in FITTING[item.type]:
        what = f"the column is {column.source_type or column.kind}, the item says {item.type}"
        yield Problem(f"items[{item.column}].type", what)
    found = _LENGTH.search(column.source_type)
    if item.length and found and int(found[1]) > item.length:
        what = f"values may have {found[1]} characters, the item says {item.length}"
        yield Problem(f"items[{item.column}].length", what, Severity.WARNING)


def columns_outside(facts: Facts) -> Iterator[Problem]:
    """V12."""
    if facts.live is None:
        return
    named = facts.entry.columns
    for column in facts.live.columns:
        if column in named:
            continue
        if column in facts.live.captured:
            what = "is captured but not in the catalogue: the node must not capture it"
            yield Problem(f"columns[{column}]", what, Severity.WARNING)
        else:
            yield Problem(f"columns[{column}]", "is in the table, not in the catalogue, and not captured")


def key_unique(facts: Facts) -> Iterator[Problem]:
    """V13."""
    live = facts.live
    if live is None:
        return
    declared = tuple(item.column for item in facts.entry.items if item.is_key)
    if declared and live.key and set(declared) != set(live.key):
        what = f"the table's key is {', '.join(live.key)}, the entry says {', '.join(declared)}"
        yield Problem("items", what, Severity.WARNING)
    if live.repeats:
        yield Problem("items", f"of {live.sampled} rows looked at, {live.repeats} have another's key")


def updated(facts: Facts) -> Iterator[Problem]:
    """V15."""
    live = facts.live
    if live is None or facts.state is not EntryState.RELEASED or facts.entry.binding is None:
        return
    limit = facts.policy.late_after_cycles * period(facts.entry.update_limit)
    if not live.updated_us:
        yield Problem("update_limit", "nothing has arrived yet")
        return
    age = timedelta(microseconds=max(0, facts.now_us - live.updated_us))
    if age > limit:
        hours = age.total_seconds() / 3600
        what = f"the newest update is {hours:.0f} h old, the limit is {facts.entry.update_limit}"
        yield Problem("update_limit", what)


def deletes_seen(facts: Facts) -> Iterator[Problem]:
    """V25: whoever relies on an entry that shows deletes keeps rows that are gone when its source shows none."""
    live = facts.live
    if live is None or not facts.entry.deletes_rows:
        return
    said = live.reported
    within_s = period(facts.entry.update_limit).total_seconds()
    if said.deletes == node_pb2.TableReport.UNSEEN:
        yield Problem(
            "deletes_rows", f"the entry says that deletes are visible, but {deletes_sentence(said)}"
        )
    elif said.deletes == node_pb2.TableReport.COMPARED and said.compared_every_s > within_s:
        yield Problem("deletes_rows", f"{deletes_sentence(said)}, the limit is {facts.entry.update_limit}")


def interface_answers(facts: Facts) -> Iterator[Problem]:
    """V16."""
    needed = facts.entry.share_type in facts.policy.probe_needed_for
    if facts.live is None or not (needed or facts.entry.binding):
        return
    if facts.entry.binding is None:
        yield Problem("binding", "listed information needs an interface: name stream and table (Art. 19)")
    elif not facts.live.answers:
        what = f"the platform has no table {facts.entry.binding.table} of {facts.entry.binding.stream}"
        yield Problem("binding", what)


def document_current(facts: Facts) -> Iterator[Problem]:
    """V16: document version = contract version; 0 = made from the contract whenever it is asked for."""
    told = facts.entry.interface.document_version
    if told and told != facts.version:
        what = f"the interface document is of version {told}, the contract of version {facts.version}"
        yield Problem("interface.document_version", what)
