"""Of a filtered grant: which keys its consumer has, as digests, at every delivery that it may still come back to.

A key is kept with the delivery that brought it and the one that removed it, so that going back to an earlier delivery
finds what the consumer had then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    LargeBinary,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from central.store.deliveries import DELIVERED_KEYS

DIGEST_BYTES: Final = 16
_KEYS = DELIVERED_KEYS.c
_GRANT = _KEYS.grant_id == bindparam("which")
_HAS = _KEYS.gone_seq == 0

# One parameter however many digests there are: they lie one after another in it.
_SOME = bindparam("some", type_=LargeBinary)
_FIRST = select(literal(1, Integer).label("at")).where(func.length(_SOME) > 0).cte("place", recursive=True)
_PLACES = _FIRST.union_all(
    select(_FIRST.c.at + DIGEST_BYTES).where(_FIRST.c.at + DIGEST_BYTES <= func.length(_SOME))
)
_ASKED = select(func.substr(_SOME, _PLACES.c.at, DIGEST_BYTES, type_=LargeBinary).label("digest")).cte(
    "asked"
)
# One look-up by the key for each, whatever the planner thinks of the numbers: as a join it is quadratic on a bad day.
_KNOWN: Final = select(_ASKED.c.digest).where(
    select(func.count())
    .select_from(DELIVERED_KEYS)
    .where(_GRANT, _HAS, _KEYS.digest == _ASKED.c.digest)
    .scalar_subquery()
    > 0
)
_REMOVE: Final = (
    update(DELIVERED_KEYS)
    .where(_GRANT, _HAS, _KEYS.digest == bindparam("this"))
    .values(gone_seq=bindparam("seq"))
)
_ADD: Final = insert(DELIVERED_KEYS).from_select(
    ["grant_id", "digest", "since_seq", "gone_seq"],
    select(bindparam("which", type_=Text), _ASKED.c.digest, bindparam("seq", type_=BigInteger), literal(0)),
)


class KeyBook:
    """The keys at one consumer while a delivery is made: what is on record, and what the delivery changes."""

    def __init__(self, connection: Connection, grant: str) -> None:
        self._connection = connection
        self._grant = grant
        self._known: dict[bytes, bool] = {}
        """Of what was asked: whether the consumer had it before this delivery."""
        self._has: dict[bytes, bool] = {}
        self._emptied = False

    def known(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of *digests* that the consumer has."""
        self._ask(digests)
        return {digest for digest in digests if self._has.get(digest, self._known.get(digest, False))}

    def came(self, digests: Iterable[bytes]) -> None:
        """The delivery brings these rows."""
        self._has.update(dict.fromkeys(digests, True))

    def went(self, digests: Iterable[bytes]) -> None:
        """The delivery removes these rows."""
        self._has.update(dict.fromkeys(digests, False))

    def emptied(self) -> None:
        """The delivery empties the table."""
        self._known.clear()
        self._has.clear()
        self._emptied = True

    def write(self, connection: Connection, seq: int) -> None:
        """Put on record what delivery *seq* changed, in its transaction.

        A key that came and was not asked about is written down again although it may be there: both say the same.
        """
        which = {"which": self._grant}
        if self._emptied:
            connection.execute(update(DELIVERED_KEYS).where(_GRANT, _HAS).values(gone_seq=seq), which)
        gone = [
            {**which, "this": digest, "seq": seq}
            for digest, has in self._has.items()
            if not has and self._known.get(digest, not self._emptied)
        ]
        if gone:
            connection.execute(_REMOVE, gone)
        came = _in_line(digest for digest, has in self._has.items() if has and not self._known.get(digest))
        if came:
            connection.execute(_ADD, {**which, "some": came, "seq": seq})

    def _ask(self, digests: Sequence[bytes]) -> None:
        new = [digest for digest in digests if digest not in self._known]
        if not new or self._emptied:
            return
        rows = self._connection.execute(_KNOWN, {"which": self._grant, "some": _in_line(new)})
        self._known.update(dict.fromkeys(new, False))
        self._known.update((bytes(row.digest), True) for row in rows)


def _in_line(digests: Iterable[bytes]) -> bytes:
    """Each once, in the order of the index: neighbours lie on the same page, which makes a third of the difference."""
    return b"".join(sorted(set(digests)))


def back_to(connection: Connection, grant: str, seq: int) -> None:
    """The consumer has what delivery *seq* left it with."""
    which = {"which": grant}
    connection.execute(delete(DELIVERED_KEYS).where(_GRANT, _KEYS.since_seq > seq), which)
    connection.execute(update(DELIVERED_KEYS).where(_GRANT, _KEYS.gone_seq > seq).values(gone_seq=0), which)


def forget(connection: Connection, grant: str) -> None:
    """The consumer has none of them."""
    connection.execute(delete(DELIVERED_KEYS).where(_GRANT), {"which": grant})


def forget_gone(connection: Connection, grant: str, before_seq: int) -> None:
    """Nobody comes back to a delivery before *before_seq*: keys that were gone by then are of no more use."""
    gone = (_KEYS.gone_seq > 0, _KEYS.gone_seq <= before_seq)
    connection.execute(delete(DELIVERED_KEYS).where(_GRANT, *gone), {"which": grant})
