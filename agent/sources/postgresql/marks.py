"""What the log does not tell of a table, kept with its state and compared when a stream opens again.

While no stream is open nobody looks: a column that came with a default, a table that left its publication and came
back, a partition that came or went with its rows bring no message, or none that says what was missed. So the source
hands out a mark of each table it streams, which holds what was true when its rows were last right, and gets it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

from agent.sources.postgresql.connection import Connection, translated
from agent.sources.postgresql.shapes import AFRESH, Shape, same_values
from proto.errors import SchemaHold

_COLUMNS: Final = """
SELECT a.attname, a.attnum FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
# Made as a partition, it was empty when it came: then one transaction wrote its row type and its link to the parent.
_PARTITIONS: Final = """
SELECT c.oid, i.xmin::text, c.relname, i.xmin = t.xmin FROM pg_partition_tree(%s) p JOIN pg_class c ON c.oid = p.relid
JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_type t ON t.oid = c.reltype
"""
Partitions = dict[str, tuple[str, bool]]
"""By number and the transaction that linked it to its parent: its name, and whether it was made as a partition."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One table, as far as its captured rows depend on it."""

    relid: int
    entry: int
    """The number of its entry in the publication: another one when it was taken out and put back."""
    key: tuple[str, ...]
    columns: dict[str, tuple[int, int, int]]
    """The captured columns: number within the table, type, modifier."""
    highest: int
    """The highest number a column had: captured columns with a lower one were there, and not captured."""
    partitions: Partitions

    def __str__(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote."""
        told = json.loads(text)
        columns = {
            name: (number, base, modifier) for name, (number, base, modifier) in told["columns"].items()
        }
        partitions = {link: (name, was_born) for link, (name, was_born) in told["partitions"].items()}
        return cls(told["relid"], told["entry"], tuple(told["key"]), columns, told["highest"], partitions)


def marks_of(connection: Connection, shapes: Iterable[Shape], entries: Mapping[str, int]) -> dict[str, Mark]:
    """The marks of tables as the catalogue has them now, published under these entries."""
    return {
        shape.schema.name: _mark(connection, shape, entries.get(shape.schema.name, 0)) for shape in shapes
    }


def missed(before: Mark, now: Mark, shape: Shape) -> SchemaHold | None:
    """Why the rows we have may be wrong, when *before* was true once and *now* is."""
    what = _other_table(before, now) or _other_columns(before, now, shape)
    what = what or moved(before.partitions, now.partitions)
    if not what:
        return None
    return SchemaHold(shape.schema.name, f"{what}, while nobody was listening", fix=AFRESH)


def moved(before: Partitions, now: Partitions) -> str:
    """Which partition came or went with rows that the log does not tell; empty if none did."""
    lost = [name for link, (name, _) in before.items() if link not in now]
    came = [name for link, (name, was_born) in now.items() if link not in before and not was_born]
    if not lost and not came:
        return ""
    what = f"partition {lost[0]} was dropped or detached" if lost else f"partition {came[0]} was attached"
    return f"{what} with its rows, which the log does not tell"


def partitions_of(connection: Connection, shape: Shape) -> Partitions:
    """The partitions at every level; none for a plain table."""
    if shape.facts.relkind != "p":
        return {}
    with translated(shape.schema.name):
        rows = connection.execute(_PARTITIONS, (shape.facts.relid,)).fetchall()
    return {f"{oid}/{xmin}": (name, was_born) for oid, xmin, name, was_born in rows}


def _mark(connection: Connection, shape: Shape, entry: int) -> Mark:
    with translated(shape.schema.name):
        numbers: dict[str, int] = dict(connection.execute(_COLUMNS, (shape.facts.relid,)).fetchall())
    columns = {part.name: (numbers.get(part.name, 0), part.type.base, part.modifier) for part in shape.parts}
    highest = max(numbers.values(), default=0)
    partitions = partitions_of(connection, shape)
    return Mark(shape.facts.relid, entry, shape.schema.key, columns, highest, partitions)


def _other_table(before: Mark, now: Mark) -> str:
    if before.relid != now.relid:
        return "another table took its name"
    if before.entry != now.entry:
        return "it was taken out of its publication and put back"
    return "" if before.key == now.key else f"its key became ({', '.join(now.key)})"


def _other_columns(before: Mark, now: Mark, shape: Shape) -> str:
    facts = {column.name: column for column in shape.facts.columns}
    for part in shape.parts:
        number, column = now.columns[part.name][0], facts[part.name]
        if part.name in before.columns:
            was, base, modifier = before.columns[part.name]
            earlier = replace(part, modifier=modifier, type=replace(part.type, base=base))
            if was != number:
                return f"column {part.name} was dropped and another one took its name"
            if not same_values(earlier, part):
                return f"column {part.name} changed its type"
        elif number <= before.highest:
            return f"column {part.name} was not captured before"
        elif column.fills_old_rows or column.not_null:
            return f"column {part.name} was added with a value for rows that were there before"
    gone = [name for name in before.columns if name not in now.columns]
    return f"column {gone[0]} was dropped or renamed, or is no longer captured" if gone else ""
