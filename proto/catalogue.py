"""Releases of the catalogue as both ends read them: what is signed, how a file of it is laid out, a node's own part.

A release is a head, one canonical JSON document with the platform's signature, and one canonical JSON line for every
entry, in order of codes. The head holds the number of lines and the digest of all of them, so the signature covers each
byte, and a file of any size is verified line by line, without a database and without central.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from proto.errors import Refused
from proto.signing import PLATFORM_URI, SignatureWrong, Signer, Verifier

FORMAT: Final = 1
RELEASE: Final = "release"
NODE_CATALOGUE: Final = "node-catalogue"
"""The purposes of the signatures."""
LINE_BYTES: Final = 4 * 1024 * 1024


def canonical(value: Any) -> bytes:
    """The one way to write *value* down: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Head:
    """What is signed of a release."""

    release: int
    at_us: int
    who: str
    note: str
    platform: dict[str, str]
    policy: str
    """Name of the profile it was made under."""
    entries: int
    digest: str
    """SHA-256 over every line with its line feed."""
    previous: str
    """SHA-256 of the head before it; empty for the first."""
    format: int = FORMAT

    @property
    def document(self) -> bytes:
        """As it is signed."""
        return canonical(asdict(self))

    @classmethod
    def read(cls, document: bytes) -> Head:
        """Back from :attr:`document`; raises Refused."""
        try:
            found = cls(**json.loads(document))
        except (ValueError, TypeError) as error:
            raise Refused("is no head of a release") from error
        if found.format != FORMAT:
            raise Refused(f"is of format {found.format}, this program reads {FORMAT}")
        return found


class Digest:
    """Counts lines and digests them, one after the other."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self.count = 0

    def add(self, line: bytes) -> None:
        """The next line, without its line feed."""
        self._sum.update(line + b"\n")
        self.count += 1

    @property
    def text(self) -> str:
        """Of all so far."""
        return self._sum.hexdigest()


def head_line(document: bytes, signature: bytes, certificate: bytes) -> bytes:
    """The first line of a release's file."""
    return canonical(
        {
            "certificate": certificate.decode(),
            "head": base64.b64encode(document).decode(),
            "signature": base64.b64encode(signature).decode(),
        }
    )


def verify_release(lines: Iterable[bytes], authorities: bytes) -> Head:
    """The head of a release's file in which everything is as it was signed; raises SignatureWrong or Refused."""
    head, digest, last = None, Digest(), ""
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(b"\n")
        if head is None:
            head = _signed_head(line, authorities)
            continue
        code = _code_of(line, number)
        if code <= last:
            raise SignatureWrong(f"line {number}: entry {code[:60]} is out of order")
        last = code
        digest.add(line)
    if head is None:
        raise Refused("the file is empty")
    if (digest.count, digest.text) != (head.entries, head.digest):
        raise SignatureWrong(
            f"the {digest.count} entries are not the {head.entries} that were signed",
            where=f"release {head.release}",
        )
    return head


def entries_of(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The entries of a release's file, without verifying them."""
    rows = iter(lines)
    next(rows, None)
    for line in rows:
        yield json.loads(line)


@dataclass(frozen=True, slots=True)
class NodeColumn:
    """What a node needs to know of an item."""

    column: str
    name: str
    type: str
    is_key: bool
    share_type: str
    is_personal: bool = False
    sensitivity: int = 1
    directed: bool = False
    """A statutory grant in force is directed at somebody for this item, so it leaves although it is not shared (Art. 5)."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """An entry about one of the node's own tables."""

    code: str
    version: int
    name: str
    source: str
    """The stream's part after the node."""
    table: str
    share_type: str
    update_cycle: str
    update_limit: str
    deletes_rows: bool
    columns: tuple[NodeColumn, ...]

    @property
    def captured(self) -> frozenset[str]:
        """The columns that the catalogue lets leave the department."""
        return frozenset(each.column for each in self.columns)


@dataclass(frozen=True, slots=True)
class NodeCatalogue:
    """The part of a release that is about one node."""

    node: str
    release: int
    at_us: int
    entries: tuple[NodeEntry, ...] = field(default=())
    binds: bool = True
    """Whether what the catalogue does not know stays in the department; if not, only what is not shared does."""
    format: int = FORMAT

    @property
    def document(self) -> bytes:
        """As it is signed."""
        return canonical(asdict(self))

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the moment: another one means that something else is in force."""
        return hashlib.sha256(canonical(asdict(replace(self, at_us=0)))).hexdigest()

    @classmethod
    def read(cls, document: bytes) -> NodeCatalogue:
        """Back from :attr:`document`; raises Refused."""
        try:
            said = json.loads(document)
            entries = tuple(_entry(each) for each in said.pop("entries"))
            found = cls(**said, entries=entries)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused("is no node's part of a release") from error
        if found.format != FORMAT:
            raise Refused(f"is of format {found.format}, this program reads {FORMAT}")
        return found


def signed_by(signer: Signer, part: NodeCatalogue) -> bytes:
    """The platform's signature of a node's part."""
    return signer.sign(NODE_CATALOGUE, part.document)


def verify_node(document: bytes, signature: bytes, certificate: bytes, authorities: bytes) -> NodeCatalogue:
    """A node's part as the platform signed it; raises SignatureWrong or Refused."""
    verifier = Verifier(certificate)
    verifier.demand_issued_by(authorities, PLATFORM_URI)
    verifier.demand(NODE_CATALOGUE, document, signature)
    return NodeCatalogue.read(document)


def _entry(said: dict[str, Any]) -> NodeEntry:
    columns = tuple(NodeColumn(**each) for each in said.pop("columns"))
    return NodeEntry(**said, columns=columns)


def _signed_head(line: bytes, authorities: bytes) -> Head:
    try:
        said = json.loads(line)
        document = base64.b64decode(said["head"], validate=True)
        signature = base64.b64decode(said["signature"], validate=True)
        certificate = said["certificate"].encode()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused("the first line is no signed head of a release") from error
    if head_line(document, signature, certificate) != line:
        # Base64 and JSON have several spellings of the same bytes; only the one that was written is good.
        raise SignatureWrong("the first line is not spelled as it was written")
    verifier = Verifier(certificate)
    verifier.demand_issued_by(authorities, PLATFORM_URI)
    verifier.demand(RELEASE, document, signature)
    return Head.read(document)


def _code_of(line: bytes, number: int) -> str:
    try:
        return str(json.loads(line)["code"])
    except (ValueError, TypeError, KeyError) as error:
        raise SignatureWrong(f"line {number} is no entry") from error
