"""The states of an entry's version, and the moves between them; there are no others (Art. 14)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from proto.errors import Refused


class EntryState(StrEnum):
    """Where one version of an entry is on its way."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    AUDITED = "audited"
    AWAITING_VERIFICATION = "awaiting_verification"
    VERIFIED = "verified"
    PUBLISHED = "published"
    """In the department's 资源目录; not yet binding for others."""
    RELEASED = "released"
    """In a release of the 共享目录."""
    CHANGED = "changed"
    """A newer version is published; this one stays in force until a release takes that one up."""
    SUSPENDED = "suspended"
    WITHDRAWN = "withdrawn"


_S = EntryState
NEXT: Final[dict[EntryState, frozenset[EntryState]]] = {
    _S.DRAFT: frozenset({_S.SUBMITTED}),
    _S.SUBMITTED: frozenset({_S.RETURNED, _S.AUDITED}),
    _S.RETURNED: frozenset({_S.SUBMITTED}),
    _S.AUDITED: frozenset({_S.AWAITING_VERIFICATION, _S.PUBLISHED}),
    _S.AWAITING_VERIFICATION: frozenset({_S.VERIFIED, _S.RETURNED}),
    _S.VERIFIED: frozenset({_S.PUBLISHED}),
    _S.PUBLISHED: frozenset({_S.RELEASED, _S.CHANGED, _S.SUSPENDED, _S.WITHDRAWN}),
    _S.RELEASED: frozenset({_S.CHANGED, _S.SUSPENDED, _S.WITHDRAWN}),
    _S.CHANGED: frozenset({_S.SUSPENDED, _S.WITHDRAWN}),
    _S.SUSPENDED: frozenset({_S.PUBLISHED, _S.CHANGED, _S.WITHDRAWN}),
    _S.WITHDRAWN: frozenset(),
}

EDITABLE: Final = frozenset({_S.DRAFT, _S.RETURNED})
"""A version in any other state is never written again."""
ON_ITS_WAY: Final = frozenset(
    {_S.DRAFT, _S.SUBMITTED, _S.RETURNED, _S.AUDITED, _S.AWAITING_VERIFICATION, _S.VERIFIED}
)
"""Not yet published: for the department and the authority alone."""
PUBLIC: Final = frozenset({_S.PUBLISHED, _S.RELEASED, _S.CHANGED, _S.SUSPENDED, _S.WITHDRAWN})

WHOSE_MOVE: Final[dict[EntryState, str]] = {
    _S.DRAFT: "a registrar of the department: catalogue submit CODE",
    _S.SUBMITTED: "an auditor of the department: catalogue audit CODE, or catalogue return CODE",
    _S.RETURNED: "a registrar of the department: catalogue edit FILE, then catalogue submit CODE",
    _S.AUDITED: "an auditor of the department: catalogue publish CODE",
    _S.AWAITING_VERIFICATION: "the authority: catalogue verify CODE",
    _S.VERIFIED: "an auditor of the department: catalogue publish CODE",
    _S.PUBLISHED: "the authority: catalogue release",
    _S.RELEASED: "nobody: it is in force",
    _S.CHANGED: "the authority: catalogue release takes up the newer version",
    _S.SUSPENDED: "the authority: catalogue resume CODE",
    _S.WITHDRAWN: "nobody: it has ended",
}


def demand_move(now: EntryState, to: EntryState, where: str) -> None:
    """Raise Refused unless a version in *now* may come into *to*."""
    if to not in NEXT[now]:
        fix = f"the next move is for {WHOSE_MOVE[now]}"
        raise Refused(f"a version that is {now} cannot become {to}", where=where, fix=fix)
