"""What travels on a Pull, in the words of the exchange database and back."""

from __future__ import annotations

from agent.exchange import Announced, Reception
from agent.exchange.receptions import plain
from proto.channel import PROTOCOL
from proto.states import State
from proto.v1 import exchange_pb2


def announced_of(granted: exchange_pb2.Granted) -> Announced:
    """What central says a grant is; words of people as every database can hold them."""
    return Announced(
        grant=granted.grant,
        version=min(granted.version, 2**63 - 1),
        said=plain(granted.state, 40),
        sentence=plain(granted.sentence),
        resource=plain(granted.resource, 200),
        resource_name=plain(granted.resource_name, 400),
        stream=granted.stream,
        table=granted.table,
        valid_to_us=granted.valid_to_us,
        purpose=plain(granted.purpose),
        withdraw=granted.withdraw,
        contract=min(granted.contract, 2**63 - 1),
        coming=plain(granted.change),
        coming_us=granted.change_us,
    )


def hello(grants: list[Reception], incarnation: str, window: tuple[int, int]) -> exchange_pb2.PullRequest:
    """How far each grant has come; ended ones are not asked for."""
    deliveries, size = window
    return exchange_pb2.PullRequest(
        hello=exchange_pb2.PullHello(
            protocol=PROTOCOL,
            incarnation=incarnation,
            received=[_received(row) for row in grants if not row.over],
            window_deliveries=deliveries,
            window_bytes=size,
        )
    )


def receipt(row: Reception) -> exchange_pb2.PullRequest:
    """Committed up to here."""
    return exchange_pb2.PullRequest(receipt=_received(row))


def held(row: Reception) -> exchange_pb2.PullRequest:
    """This grant cannot go on, and why."""
    hold = exchange_pb2.PullHold(
        grant=row.grant_id, state=row.state, code=row.code, sentence=row.why, fix=row.fix
    )
    return exchange_pb2.PullRequest(hold=hold)


def lifted(row: Reception) -> exchange_pb2.PullRequest:
    """This grant goes on."""
    return exchange_pb2.PullRequest(hold=exchange_pb2.PullHold(grant=row.grant_id))


def unknown(grant: str, why: str, code: str) -> exchange_pb2.PullRequest:
    """Nothing is known here of a grant that something came for."""
    hold = exchange_pb2.PullHold(grant=grant, state=State.DIVERGED, code=code, sentence=why)
    return exchange_pb2.PullRequest(hold=hold)


def recalled(recall: exchange_pb2.Recall, rows: int) -> exchange_pb2.PullRequest:
    """What was recalled is gone."""
    done = exchange_pb2.Recalled(grant=recall.grant, recall=recall.recall, rows=rows)
    return exchange_pb2.PullRequest(recalled=done)


def _received(row: Reception) -> exchange_pb2.Received:
    return exchange_pb2.Received(
        grant=row.grant_id, generation=row.generation, seq=row.seq, digest=row.digest if row.seq else b""
    )
