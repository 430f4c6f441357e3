"""A comparison in which something differs becomes one case against the resource's authoritative source (SD20.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from central.catalogue.published import published
from central.people import Turn
from central.sharing.compare import Compare, Compared
from central.supervision.cases import Kind, Opening, open_case

MOST_NAMED: Final = 40
"""Rows in the evidence; of further ones only their number."""


def raise_case(turn: Turn, wanted: Compare, differing: Sequence[Compared]) -> int:
    """Open it for the department that compared; keys stand in it as digests, values nowhere. Returns its number."""
    first = differing[0]
    entry = published(turn.connection, first.resource).entry
    lines = [f"{each.key_digest[:16]}: {', '.join(each.items)}" for each in differing[:MOST_NAMED]]
    more = [f"and {len(differing) - MOST_NAMED} more"] if len(differing) > MOST_NAMED else []
    evidence = "\n".join((f"comparison {wanted.comparison}, {len(differing)} rows differ", *lines, *more))
    kind, handler = Kind.COMPARISON, entry.provider
    return open_case(
        turn, Opening(kind, entry.code, handler, wanted.raise_case, first.grant, evidence[:4000])
    )
