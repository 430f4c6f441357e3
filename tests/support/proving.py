"""A node that signs what it read, and central's reckoning of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final

from central.ca import Authority, Issued
from central.catalogue.published import published
from central.policy import profile_named
from central.store import now_us, reading, writing
from central.supervision.punctuality import standing
from central.supervision.reads import ATTESTATION, Reads, reads_of
from central.supervision.timeliness import Judgement
from proto.signing import Signer
from proto.v1 import node_pb2
from tests.support.shares import entry_of, put_in_force
from tests.support.stores import Store

HOUR_US: Final = 3_600_000_000
MINUTE_US: Final = 60_000_000
PROFILE: Final = profile_named()
POLICY: Final = PROFILE.supervision
_numbers = itertools.count(1)


class Node:
    """A node that signs what it read, and the resource it promised to read every hour."""

    def __init__(self, store: Store, authority: Authority, folder: Path, **entry: Any) -> None:
        self.store = store
        self.name = entry.pop("node", f"police-{next(_numbers)}")
        self.issued: Issued = authority.issue_node(self.name)
        self.issued.write(folder / f"{self.name}.pem", folder / f"{self.name}.key")
        self.signer = Signer.load(folder / f"{self.name}.pem", folder / f"{self.name}.key")
        self.stream, self.code = f"{self.name}/hr", f"3070101/{self.name}"
        self.entry = entry_of(
            self.code, self.stream, "人口", ["id", "姓名"], **{"update_limit": "PT1H", **entry}
        )
        with writing(store.engine) as connection:
            put_in_force(connection, self.entry)
            self.now = now_us(connection)
        self.reads = Reads(store.engine, POLICY.log_share)

    def says(self, *ago_us: int, skew_us: int = 0, rows: int = 0) -> None:
        """Hand over signed reads that long ago, by a clock that is *skew_us* ahead."""
        said = [self.signed(self.now - ago + skew_us, rows) for ago in ago_us]
        with reading(self.store.engine) as connection:
            clock = now_us(connection) + skew_us
        self.reads.take(self.name, self.issued.certificate, clock, said)

    def signed(
        self, proven_us: int, rows: int = 0, stream: str = "", table: str = "人口"
    ) -> node_pb2.Attestation:
        """One statement and its signature."""
        statement = node_pb2.ReadStatement(
            stream=stream or self.stream, table=table, proven_us=proven_us, rows=rows
        ).SerializeToString()
        return node_pb2.Attestation(statement=statement, signature=self.signer.sign(ATTESTATION, statement))

    def logged(self) -> list[int]:
        """The reads on record, minutes before now."""
        with reading(self.store.engine) as connection:
            return [
                round((self.now - read.proven_us) / MINUTE_US)
                for read in reads_of(connection, self.stream, "人口")
            ]

    def stands(self) -> Judgement:
        """How its resource stands."""
        with reading(self.store.engine) as connection:
            return standing(connection, published(connection, self.code), POLICY).judgement
