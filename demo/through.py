"""A provider's rows as a grant shows them, reckoned from the business's own records and not from what was delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from agent.sources.kinds import SourceSettings, new_source
from agent.sources.source import NoMirror
from demo.bureaus.bureau import Bureau
from demo.system import System
from proto.process.secrets import expand
from proto.schema import TableSchema
from proto.view import BoundView, View
from replica.dialect import digest_of
from replica.replica import TableDigest


class ThroughGrant:
    """One table through the terms of a grant; none of its masks needs the grant's secret."""

    def __init__(self, system: System, bureau: Bureau, table: str, terms: Mapping[str, Any]) -> None:
        source = {
            name: expand(told) if isinstance(told, str) else told for name, told in system.source.items()
        }
        self._settings = TypeAdapter[SourceSettings](SourceSettings).validate_python(source)
        self._bureau, self._table = bureau, table
        form = {"columns": terms["items"], "masks": terms["masks"], "rows": terms["rows"]}
        self._view: BoundView = View.from_json(form).bind(self._stored(), bytes(32))

    @property
    def schema(self) -> TableSchema:
        """The table as it is delivered."""
        return self._view.schema

    def digest(self) -> TableDigest:
        """Its rows now."""
        known = self._bureau.known()
        if known is not None:
            return digest_of([self._view.divide(known[self._table])[0]])
        source = new_source(self._settings, NoMirror())
        try:
            return digest_of(self._view.divide(page)[0] for page in source.scan(self._table))
        finally:
            source.close()

    def _stored(self) -> TableSchema:
        source = new_source(self._settings, NoMirror())
        try:
            return next(schema for schema in source.schemas() if schema.name == self._table)
        finally:
            source.close()
