"""The log as everybody can check it: records in chains, and checkpoints of all chains that others keep as witnesses.

A record's digest covers the record before it. A checkpoint is signed by the platform, covers the end of every chain
and the checkpoint before it. Whoever holds one can tell later that the log does not lead to it any more: the only way
to notice that the end of a log is missing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proto.errors import Diverged, Refused
from proto.signing import PLATFORM_URI, Verifier

START: Final = bytes(32)
CHECKPOINT: Final = "checkpoint"
EXPORT: Final = "log"
"""The purposes of the signatures."""
_DIGEST_BYTES: Final = 32

Fact = str | int | bool


def canonical(facts: Mapping[str, Any]) -> str:
    """The one way to write *facts* down: sorted keys, no spaces."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened."""

    chain: str
    n: int
    at_us: int
    event: str
    facts: str
    """Canonical JSON: sorted keys, no spaces."""

    def digest(self, previous: bytes) -> bytes:
        """SHA-256 over the digest before it and its own canonical JSON."""
        fields: dict[str, Fact] = {
            "at_us": self.at_us,
            "chain": self.chain,
            "event": self.event,
            "facts": self.facts,
            "n": self.n,
        }
        return hashlib.sha256(previous + canonical(fields).encode()).digest()


def heads_digest(heads: Mapping[str, tuple[int, bytes]]) -> bytes:
    """SHA-256 over the end of every chain, in the order of their names."""
    lines = hashlib.sha256()
    for chain, (n, digest) in sorted(heads.items()):
        lines.update(f"{canonical({'chain': chain, 'n': n, 'digest': digest.hex()})}\n".encode())
    return lines.digest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The whole log at one moment."""

    n: int
    at_us: int
    previous: bytes
    """Digest of the checkpoint before it."""
    heads: bytes
    """:func:`heads_digest` of all chains."""
    chains: int

    @property
    def content(self) -> bytes:
        """What is signed."""
        said = {
            "at_us": self.at_us,
            "chains": self.chains,
            "heads": self.heads.hex(),
            "n": self.n,
            "previous": self.previous.hex(),
        }
        return canonical(said).encode()

    @property
    def digest(self) -> bytes:
        """What the next one covers."""
        return hashlib.sha256(self.content).digest()

    @classmethod
    def read(cls, content: bytes) -> Checkpoint:
        """The checkpoint in *content*; raises Refused."""
        try:
            said = json.loads(content)
            previous, heads = bytes.fromhex(said["previous"]), bytes.fromhex(said["heads"])
            made = cls(int(said["n"]), int(said["at_us"]), previous, heads, int(said["chains"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("is not a checkpoint of a log") from error
        if made.content != content or len(previous) != _DIGEST_BYTES or len(heads) != _DIGEST_BYTES:
            raise Refused("is not a checkpoint of a log as it is written")
        return made


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it travels and is kept."""

    content: bytes
    signature: bytes
    certificate: str
    """PEM; whose signature."""

    def open(self, authorities_pem: bytes) -> Checkpoint:
        """The checkpoint, if the platform signed it. Raises SignatureWrong, Refused."""
        verifier = Verifier(self.certificate.encode())
        verifier.demand_issued_by(authorities_pem, PLATFORM_URI)
        verifier.demand(CHECKPOINT, self.content, self.signature)
        return Checkpoint.read(self.content)

    def to_line(self) -> str:
        """One line of a file."""
        signature = base64.b64encode(self.signature).decode()
        said = {"certificate": self.certificate, "content": self.content.decode(), "signature": signature}
        return canonical(said)

    @classmethod
    def from_line(cls, line: str) -> Signed:
        """Back from the file; raises Refused."""
        try:
            said = json.loads(line)
            signature = base64.b64decode(said["signature"], validate=True)
            return cls(said["content"].encode(), signature, str(said["certificate"]))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise Refused("is not a kept checkpoint") from error


def demand_follows(held: Checkpoint, found: Checkpoint) -> None:
    """Raise Diverged unless *found* is *held* itself or the one that comes next."""
    when = f"checkpoint {held.n} is held"
    if found.n < held.n:
        raise Diverged(f"the platform's log went back to checkpoint {found.n}; {when}", where="log")
    if found.n == held.n:
        if found != held:
            raise Diverged(f"the platform shows another checkpoint {found.n} than before", where="log")
        return
    if found.n != held.n + 1 or found.previous != held.digest:
        raise Diverged(f"checkpoint {found.n} does not follow; {when}", where="log")
    if found.at_us < held.at_us:
        raise Diverged(f"checkpoint {found.n} is older than {held.n}", where="log")
