"""The log as files that can be checked years later without this program's database: see :mod:`central.log.checking`.

A folder holds one file of records per chain, every checkpoint with the chains that moved, and an index that says what
is there and where each chain ended, signed by the platform.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from central import audit
from central.log.checkpoints import mark
from central.store import looking_back, now_us
from central.store.log import CHECKPOINTS, MOVES, SIGNERS, TOMBSTONES
from central.store.tables import AUDIT, AUDIT_HEADS
from proto.errors import Refused
from proto.log import EXPORT, canonical
from proto.signing import Signer

FORMAT: Final = 1
INDEX: Final = "index.json"
SIGNATURE: Final = "index.sig"
CERTIFICATE: Final = "signer.pem"
CHECKPOINT_LINES: Final = "checkpoints.jsonl"
PAGE: Final = 5000


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    chains: int
    records: int
    checkpoint: int
    index_digest: str


def export_log(
    engine: Engine, signer: Signer | None, folder: Path, since_us: int = 0, until_us: int = 0
) -> Exported:
    """Write the log into *folder*, which must be empty or new; whole, or the records of a time. Raises Refused.

    Records are written as they are, without a judgement: that is for whoever checks the files.
    """
    if signer is None:
        fix = "name the platform's certificate and key as 'signing' in the settings"
        raise Refused("nothing signs for this platform", where="signing", fix=fix)
    _make_room(folder)
    newest = mark(engine, signer)
    with looking_back(engine) as connection:
        spans = [
            _chain(connection, folder, number, (name, since_us, until_us))
            for number, name in enumerate(audit.chains(connection), 1)
        ]
        checkpoints = _checkpoints(connection, folder / CHECKPOINT_LINES)
        index = {
            "chains": spans,
            "checkpoints": checkpoints,
            "format": FORMAT,
            "made_us": now_us(connection),
            "since_us": since_us,
            "until_us": until_us,
        }
    content = canonical(index).encode()
    signature = base64.b64encode(signer.sign(EXPORT, content))
    (folder / CERTIFICATE).write_bytes(signer.certificate_pem)
    (folder / SIGNATURE).write_bytes(signature)
    (folder / INDEX).write_bytes(content)
    records = sum(span["last"] - span["first"] + 1 for span in spans)
    return Exported(folder, len(spans), records, newest, hashlib.sha256(content).hexdigest())


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(folder)) from error
    if not is_empty:
        raise Refused("there are files already", where=str(folder), fix="name a new folder")


def _chain(connection: Connection, folder: Path, number: int, wanted: tuple[str, int, int]) -> dict[str, Any]:
    name, since_us, until_us = wanted
    head = connection.execute(select(AUDIT_HEADS).where(AUDIT_HEADS.c.chain == name)).one()
    begins, start = audit.begins(connection, name)
    first = _edge(connection, func.min, name, AUDIT.c.at_us >= since_us) or head.n + 1
    last = _edge(connection, func.max, name, AUDIT.c.at_us < until_us) or begins if until_us else head.n
    first = begins + 1 if not since_us else first
    last = max(last, first - 1)
    file = f"chain-{number:05}.jsonl"
    end = previous = start if first == begins + 1 else _digest(connection, name, first - 1)
    with (folder / file).open("w", encoding="utf-8", newline="\n") as lines:
        for row in _records(connection, name, first, last):
            lines.write(f"{_line(row)}\n")
            end = bytes(row.digest)
    return {
        "chain": name,
        "digest": end.hex(),
        "file": file,
        "first": first,
        "head": head.n,
        "head_digest": bytes(head.digest).hex(),
        "last": last,
        "previous": previous.hex(),
        "retired": [_grave(row) for row in connection.execute(_graves(name))],
    }


def _graves(name: str) -> Any:
    return select(TOMBSTONES).where(TOMBSTONES.c.chain == name).order_by(TOMBSTONES.c.n)


def _grave(row: Any) -> dict[str, Any]:
    told = {
        name: getattr(row, name) for name in ("n", "before_us", "at_us", "asked_by", "confirmed_by", "export")
    }
    return {**told, "digest": bytes(row.digest).hex()}


def _edge(connection: Connection, which: Any, name: str, when: Any) -> int | None:
    found: int | None = connection.scalar(select(which(AUDIT.c.n)).where(AUDIT.c.chain == name, when))
    return found


def _digest(connection: Connection, name: str, n: int) -> bytes:
    found = connection.scalar(select(AUDIT.c.digest).where(AUDIT.c.chain == name, AUDIT.c.n == n))
    return bytes(found) if found else audit.START


def _records(connection: Connection, name: str, first: int, last: int) -> Iterator[Any]:
    at = first
    while at <= last:
        page = connection.execute(
            select(AUDIT)
            .where(AUDIT.c.chain == name, AUDIT.c.n.between(at, last))
            .order_by(AUDIT.c.n)
            .limit(PAGE)
        ).all()
        if not page:
            return
        yield from page
        at = page[-1].n + 1


def _line(row: Any) -> str:
    said = {name: getattr(row, name) for name in ("at_us", "chain", "event", "facts", "n")}
    return canonical({**said, "digest": bytes(row.digest).hex()})


def _checkpoints(connection: Connection, file: Path) -> int:
    """Every checkpoint there ever was: together they say where each chain was at each of them."""
    found, at = 0, 0
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        while page := connection.execute(_page_after(at)).all():
            moves = _moves(connection, page[0].n, page[-1].n)
            for row in page:
                said = {
                    "certificate": row.certificate,
                    "content": bytes(row.content).decode(),
                    "moves": moves.get(row.n, []),
                    "signature": base64.b64encode(row.signature).decode(),
                }
                lines.write(f"{canonical(said)}\n")
            found, at = found + len(page), page[-1].n
    return found


def _page_after(n: int) -> Any:
    return (
        select(CHECKPOINTS, SIGNERS.c.certificate)
        .join(SIGNERS, SIGNERS.c.fingerprint == CHECKPOINTS.c.signer)
        .where(CHECKPOINTS.c.n > n)
        .order_by(CHECKPOINTS.c.n)
        .limit(PAGE)
    )


def _moves(connection: Connection, first: int, last: int) -> dict[int, list[list[Any]]]:
    rows = connection.execute(
        select(MOVES)
        .where(MOVES.c.checkpoint.between(first, last))
        .order_by(MOVES.c.checkpoint, MOVES.c.chain)
    )
    moves: dict[int, list[list[Any]]] = {}
    for row in rows:
        moves.setdefault(row.checkpoint, []).append([row.chain, row.n, bytes(row.digest).hex()])
    return moves
