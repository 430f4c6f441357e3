"""One delta on its way into one table of MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Sequence

from proto.batch import Frames, Partial
from proto.schema import TableSchema
from proto.values import Kind
from replica.mysql_session import Session, Target
from replica.mysql_sql import Statements


class Work:
    """One delta on its way into one table."""

    def __init__(self, session: Session, statements: Statements, schema: TableSchema, prefix: str) -> None:
        self.session = session
        self.statements = statements
        self.schema = schema
        self.prefix = prefix
        self.key_kinds = [schema.kinds[place] for place in schema.key_indexes]

    def truncate(self) -> None:
        """Empty the table."""
        self.session.run(self.statements.empty)

    def delete(self, keys: Frames) -> int:
        """Remove the rows with these keys."""
        return self._send(self.statements.delete, keys, self.schema.key_indexes, b")") if keys else 0

    def put(self, frames: Frames) -> int:
        """Replace or add full rows; of a table without a key, add them."""
        if frames:
            self._send(self.statements.put, frames, range(len(self.schema.columns)))
        return frames.count

    def update_partly(self, part: Partial) -> int:
        """Set the present columns of the rows with these old keys."""
        if not part.frames:
            return 0
        places = [*self.schema.key_indexes, *part.columns]
        target, kinds = self._target(places)
        stage = self.session.stage(self.statements, kinds, part.frames, target)
        if clear_way := self.statements.clear_way(stage, part.columns):
            self.session.run(clear_way, target.complain)
        return self.session.run(self.statements.update_partly(stage, part.columns), target.complain)

    def _send(self, start: bytes, frames: Frames, places: Sequence[int], end: bytes = b"") -> int:
        target, kinds = self._target(places)
        return self.session.send(start, frames, kinds, target, end)

    def _target(self, places: Sequence[int]) -> tuple[Target, list[Kind]]:
        names = [self.schema.columns[place].name for place in places]
        table = self.schema.name
        return Target(table, self.prefix + table, names), [self.schema.kinds[place] for place in places]
