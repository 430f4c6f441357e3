"""Whether an exported log is whole, by its files alone: no database, no settings, only the authority's certificate.

Found are records that were changed, removed, put in or put elsewhere, and, through what others hold, an end that is
missing. Others are: the checkpoints that nodes keep, and the index of an earlier export.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from central.log.export import CERTIFICATE, CHECKPOINT_LINES, FORMAT, INDEX, SIGNATURE
from proto.errors import ExchangeError, Refused
from proto.log import EXPORT, START, Checkpoint, Record, Signed, canonical, demand_follows, heads_digest
from proto.signing import PLATFORM_URI, Verifier

CHECKPOINTS: Final = "checkpoints"
"""Stands for a chain's name in a finding about a checkpoint."""
OWN: Final = "the export's own checkpoints"
_Points = dict[int, tuple[str, str]]
"""By number of the record: its digest, and who says so."""
_FIELDS: Final = {"at_us", "chain", "digest", "event", "facts", "n"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written; *n* is the first record that cannot be trusted."""

    chain: str
    n: int
    what: str

    def __str__(self) -> str:
        return f"{self.chain} {self.n}: {self.what}"


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    records: int = 0
    chains: int = 0
    checkpoints: int = 0
    witnesses: int = 0
    """Checkpoints and ends of chains that others hold and that this log leads to."""
    index_digest: str = ""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def found(self, chain: str, n: int, what: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(chain, n, what))


@dataclass(slots=True)
class _Known:
    """What must be true of the log, by others' word: the digest of some records, and the checkpoints."""

    points: dict[str, _Points] = field(default_factory=dict)
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)

    def say(self, chain: str, n: int, digest: str, whose: str) -> None:
        """A word from outside replaces that of the export's own checkpoints: those may be rewritten with it."""
        self.points.setdefault(chain, {})[n] = (digest, whose)


def check_export(folder: Path, authorities_pem: bytes, witnesses: Sequence[Path] = ()) -> Report:
    """Look at every file of *folder*. Raises Refused when it is no export at all or not signed by the platform."""
    report, known = Report(), _Known()
    content = _signed_index(folder, authorities_pem)
    report.index_digest = hashlib.sha256(content).hexdigest()
    index = json.loads(content)
    if index.get("format") != FORMAT:
        raise Refused(f"format {index.get('format')} is not known to this release", where=str(folder))
    _read_checkpoints(folder / CHECKPOINT_LINES, authorities_pem, known, report)
    if len(known.checkpoints) < index["checkpoints"] and not report.findings:
        report.found(CHECKPOINTS, len(known.checkpoints) + 1, "is missing: the file ends too early")
    for witness in witnesses:
        _hear(witness, authorities_pem, index, (known, report))
    spans = {span["chain"]: span for span in index["chains"]}
    for chain in sorted(known.points.keys() - spans.keys()):
        report.found(chain, 1, "the chain is missing")
    for span in spans.values():
        _walk(folder / span["file"], span, known.points.get(span["chain"], {}), (index["since_us"], report))
    report.chains = len(spans)
    return report


def _signed_index(folder: Path, authorities_pem: bytes) -> bytes:
    try:
        content = (folder / INDEX).read_bytes()
        signature = base64.b64decode((folder / SIGNATURE).read_bytes(), validate=True)
        verifier = Verifier((folder / CERTIFICATE).read_bytes())
    except (OSError, binascii.Error) as error:
        raise Refused(f"is no export of a log: {error}", where=str(folder)) from error
    verifier.demand_issued_by(authorities_pem, PLATFORM_URI)
    verifier.demand(EXPORT, content, signature)
    return content


def _read_checkpoints(file: Path, authorities_pem: bytes, known: _Known, report: Report) -> None:
    """Each is signed, follows the one before, and its chains are where their moves put them."""
    heads: dict[str, tuple[int, bytes]] = {}
    before: Checkpoint | None = None
    for number, line in enumerate(_lines(file), 1):
        try:
            said = json.loads(line)
            moves = said.pop("moves")
            found = Signed.from_line(canonical(said)).open(authorities_pem)
            if before is not None:
                demand_follows(before, found)
            elif (found.n, found.previous) != (1, START):
                raise Refused("is not the first one")
            if found.n != number:
                raise Refused("stands twice")
            heads |= {chain: (n, bytes.fromhex(digest)) for chain, n, digest in moves}
            if heads_digest(heads) != found.heads or canonical({**said, "moves": moves}) != line:
                raise Refused("does not fit the chains it names")
        except (ExchangeError, ValueError, KeyError, TypeError, AttributeError) as error:
            report.found(CHECKPOINTS, number, f"was changed, removed or put in: {error}")
            return
        for chain, n, digest in moves:
            known.say(chain, n, digest, OWN)
        known.checkpoints[number] = before = found
        report.checkpoints = number


def _hear(witness: Path, authorities_pem: bytes, index: dict[str, Any], into: tuple[_Known, Report]) -> None:
    """Take in what *witness* holds: a node's checkpoints, or an earlier export."""
    known, report = into
    folder = witness if witness.is_dir() else witness.parent
    if witness.is_dir() or witness.name == INDEX:
        earlier = json.loads(_signed_index(folder, authorities_pem))
        if earlier["made_us"] > index["made_us"]:
            report.notes.append(f"{witness} is of a later time than this export")
            return
        for span in earlier["chains"]:
            known.say(span["chain"], span["head"], span["head_digest"], str(witness))
        report.witnesses += len(earlier["chains"])
        return
    for line in _lines(witness):
        _compare(Signed.from_line(line).open(authorities_pem), witness, index, into)


def _compare(held: Checkpoint, witness: Path, index: dict[str, Any], into: tuple[_Known, Report]) -> None:
    known, report = into
    here = known.checkpoints.get(held.n)
    if here == held:
        report.witnesses += 1
    elif here is not None:
        report.found(CHECKPOINTS, held.n, f"{witness} holds another one: records before it were rewritten")
    elif held.at_us <= index["made_us"]:
        last = len(known.checkpoints)
        report.found(
            CHECKPOINTS, last + 1, f"is missing: {witness} holds {held.n}, and this log ends at {last}"
        )
    else:
        report.notes.append(f"{witness} holds checkpoint {held.n}, made after this export")


def _walk(file: Path, span: dict[str, Any], points: _Points, told: tuple[int, Report]) -> None:
    """One chain: every record in its place, up to the end that the index and the witnesses know."""
    since_us, report = told
    chain, first = span["chain"], span["first"]
    if not since_us and not _begins_well(span):
        report.found(chain, 1, f"is missing, up to {first - 1}, and was not retired")
    n, digest = first - 1, bytes.fromhex(span["previous"])
    agreed = {OWN: n, "": n}
    for line in _lines(file):
        found = _read(line, chain)
        if found is None or found[0].n != n + 1 or found[0].digest(digest).hex() != found[1]:
            report.found(chain, n + 1, _why(found, n + 1))
            return
        n, digest = n + 1, bytes.fromhex(found[1])
        if n in points:
            whose = points[n][1]
            if points[n][0] != found[1]:
                bad = agreed[whose if whose == OWN else ""] + 1
                report.found(chain, bad, f"was changed, it or one up to {n}, as {whose} know it")
                return
            agreed[whose if whose == OWN else ""] = n
        report.records += 1
    if n < span["last"]:
        report.found(chain, n + 1, f"is missing: the file ends before {span['last']}")
    elif n > span["last"]:
        report.found(chain, span["last"] + 1, "was put in: the chain ended before it")
    elif digest.hex() != span["digest"]:
        report.found(chain, agreed[OWN] + 1, f"was changed, it or one up to {n}")
    else:
        _ends_well(span, points, report)


def _ends_well(span: dict[str, Any], points: _Points, report: Report) -> None:
    chain, head = span["chain"], span["head"]
    n = max(points, default=0)
    if n > head:
        report.found(chain, head + 1, f"is missing: {points[n][1]} knows {n} records")
    for at, digest in ((head, span["head_digest"]), (span["first"] - 1, span["previous"])):
        if at in points and points[at][0] != digest:
            report.found(chain, at, f"is not the one that {points[at][1]} knows")


def _begins_well(span: dict[str, Any]) -> bool:
    if span["first"] == 1:
        return bool(span["previous"] == START.hex())
    return any(
        (grave["n"], grave["digest"]) == (span["first"] - 1, span["previous"]) for grave in span["retired"]
    )


def _read(line: str, chain: str) -> tuple[Record, str] | None:
    """A record and the digest beside it; None for a line that is not exactly as it was written."""
    try:
        said = json.loads(line)
        if set(said) != _FIELDS or canonical(said) != line or said["chain"] != chain:
            return None
        digest = str(said.pop("digest"))
        bytes.fromhex(digest)
        return Record(**said), digest
    except (ValueError, TypeError, AttributeError):
        return None


def _why(found: tuple[Record, str] | None, wanted: int) -> str:
    if found is None:
        return "cannot be read as it was written"
    n = found[0].n
    if n > wanted:
        return f"is missing: {n} stands in its place"
    if n < wanted:
        return f"is not here: {n} was put in or stands twice"
    return "was changed, or the one before it"


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                yield line.removesuffix("\n")
    except FileNotFoundError:
        return
