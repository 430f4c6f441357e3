"""Who may speak to central: nodes and operators by the fingerprints of their certificates, judged by database time.

A node may have two certificates at once, so that it can change to a new one without a pause. What a node last said
about itself, and what central asks of it, lie here too. Everything that changes who may speak is in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Engine, Row, bindparam, func, insert, select, update

from central import audit
from central.store import NowUs, now_us, reading, writing
from central.store.names import check_name, split_stream
from central.store.tables import CERTIFICATES, COMMANDS, NODES
from proto.errors import NotAdmitted, Refused
from proto.v1 import node_pb2

FINGERPRINTS_PER_NAME: Final = 2
COMMANDS_WAITING: Final = 100
_NODE, _OPERATOR, _PERSON = "node", "operator", "person"

_BY_FINGERPRINT = select(CERTIFICATES, NowUs().label("now")).where(
    CERTIFICATES.c.fingerprint == bindparam("which")
)
_SEEN = (
    update(NODES)
    .where(NODES.c.node == bindparam("which"))
    .values(
        last_seen_us=NowUs(),
        clock_skew_us=bindparam("clock", type_=BigInteger) - NowUs(),
        report=bindparam("said"),
    )
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate as central knows it."""

    fingerprint: str
    not_after_us: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What central knows of one node."""

    node: str
    added_us: int
    revoked: bool
    certificates: tuple[Certificate, ...]
    last_seen_us: int
    """0 = never."""
    clock_skew_us: int
    """The node's clock minus ours, when it last called."""
    report: node_pb2.HeartbeatRequest

    @property
    def not_after_us(self) -> int:
        """When its last usable certificate runs out; 0 = it has none."""
        return max((each.not_after_us for each in self.certificates if not each.revoked), default=0)


class Registry:
    """The nodes and operators of one platform; each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, node: str, fingerprint: str, not_after_us: int, who: str = "") -> None:
        """Let *node* in with this certificate too; a repeat changes nothing. Lifts an earlier revocation of the node.

        Raises Refused when it has two usable certificates already, or this one was revoked.
        """
        check_name(node)
        with writing(self._engine) as connection:
            self._ensure_node(connection, node)
            self._add(connection, (_NODE, node), fingerprint, not_after_us, who)

    def add_operator(self, name: str, fingerprint: str, not_after_us: int, who: str = "") -> None:
        """Let an operator in; as :meth:`add`."""
        check_name(name)
        with writing(self._engine) as connection:
            self._add(connection, (_OPERATOR, name), fingerprint, not_after_us, who)

    def add_person(self, name: str, fingerprint: str, not_after_us: int, who: str = "") -> None:
        """Let a person in who decides; as :meth:`add`."""
        check_name(name)
        with writing(self._engine) as connection:
            self._add(connection, (_PERSON, name), fingerprint, not_after_us, who)

    def revoke(self, node: str, who: str, reason: str) -> None:
        """Shut *node* out with all its certificates, from its next call on; a repeat changes nothing."""
        with writing(self._engine) as connection:
            row = connection.execute(
                select(NODES).where(NODES.c.node == node).with_for_update()
            ).one_or_none()
            if row is None:
                raise Refused("no such node", where=node)
            if row.revoked_us is None:
                now = now_us(connection)
                connection.execute(update(NODES).where(NODES.c.node == node).values(revoked_us=now))
                self._revoke(connection, (_NODE, node), now)
                audit.record(connection, audit.REGISTRY, "node_revoked", node=node, who=who, reason=reason)

    def revoke_operator(self, name: str, who: str, reason: str) -> None:
        """Shut an operator out."""
        self._revoke_all(_OPERATOR, name, who, reason)

    def revoke_person(self, name: str, who: str, reason: str) -> None:
        """Shut a person out with all certificates."""
        self._revoke_all(_PERSON, name, who, reason)

    def retire(self, fingerprint: str, who: str, reason: str) -> None:
        """Refuse one certificate from now on; its node may go on with its other one."""
        with writing(self._engine) as connection:
            gone = update(CERTIFICATES).where(
                CERTIFICATES.c.fingerprint == fingerprint, CERTIFICATES.c.revoked_us.is_(None)
            )
            if connection.execute(gone.values(revoked_us=now_us(connection))).rowcount:
                facts = {"fingerprint": fingerprint, "who": who, "reason": reason}
                audit.record(connection, audit.REGISTRY, "certificate_retired", **facts)

    def admit(self, fingerprint: str, uri: str) -> str:
        """The node this certificate speaks for. Raises NotAdmitted."""
        return self._admit(_NODE, fingerprint, uri)

    def admit_operator(self, fingerprint: str, uri: str) -> str:
        """The operator this certificate speaks for. Raises NotAdmitted."""
        return self._admit(_OPERATOR, fingerprint, uri)

    def admit_person(self, fingerprint: str, uri: str) -> str:
        """The person this certificate speaks for. Raises NotAdmitted."""
        return self._admit(_PERSON, fingerprint, uri)

    def usable(self) -> set[str]:
        """The fingerprints that would be admitted now, of nodes, operators and people."""
        c = CERTIFICATES.c
        query = select(c.fingerprint).where(c.revoked_us.is_(None), c.not_after_us > NowUs())
        with reading(self._engine) as connection:
            return set(connection.execute(query).scalars())

    def nodes(self) -> list[NodeRecord]:
        """All nodes, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(NODES).order_by(NODES.c.node)).all()
            certificates = connection.execute(
                select(CERTIFICATES).where(CERTIFICATES.c.role == _NODE).order_by(CERTIFICATES.c.added_us)
            ).all()
        return [_node_record(row, [each for each in certificates if each.name == row.node]) for row in rows]

    def node(self, name: str) -> NodeRecord | None:
        """One node; None if there is no such."""
        with reading(self._engine) as connection:
            row = connection.execute(select(NODES).where(NODES.c.node == name)).one_or_none()
            certificates = connection.execute(
                select(CERTIFICATES)
                .where(CERTIFICATES.c.role == _NODE, CERTIFICATES.c.name == name)
                .order_by(CERTIFICATES.c.added_us)
            ).all()
        return _node_record(row, certificates) if row else None

    def seen(self, node: str, report: node_pb2.HeartbeatRequest) -> None:
        """Keep what *node* just said about itself, and how far its clock is from ours."""
        said = {"which": node, "clock": report.clock_us, "said": report.SerializeToString()}
        with writing(self._engine, durable=False) as connection:
            connection.execute(_SEEN, said)

    def request_command(self, node: str, command: node_pb2.Command, who: str = "") -> int:
        """Ask *node* to do something at its next call; returns the command's number. Raises Refused."""
        with writing(self._engine) as connection:
            return ask_node(connection, node, command, who)

    def pending_commands(self, node: str) -> list[node_pb2.Command]:
        """What *node* has not answered yet, oldest first."""
        waiting = select(COMMANDS).where(COMMANDS.c.node == node, COMMANDS.c.finished_us.is_(None))
        with reading(self._engine) as connection:
            rows = connection.execute(waiting.order_by(COMMANDS.c.id)).all()
        return [
            node_pb2.Command(
                id=row.id, verb=row.verb, stream=row.stream, table=row.table_name, who=row.asked_by
            )
            for row in rows
        ]

    def finish_commands(self, node: str, done: Iterable[int], refused: Iterable[int]) -> None:
        """Note *node*'s answers; what is not waiting is ignored, so a repeat changes nothing."""
        answers = [*((number, "done") for number in done), *((number, "refused") for number in refused)]
        if not answers:
            return
        with writing(self._engine) as connection:
            for number, outcome in answers:
                if _finish(connection, node, number, outcome):
                    facts: dict[str, audit.Fact] = {"node": node, "number": number, "outcome": outcome}
                    audit.record(connection, audit.REGISTRY, "command_finished", **facts)

    def _admit(self, role: str, fingerprint: str, uri: str) -> str:
        with reading(self._engine) as connection:
            row = connection.execute(_BY_FINGERPRINT, {"which": fingerprint}).one_or_none()
        if row is None or row.role != role:
            raise NotAdmitted(f"this certificate is not a known {role}'s", fix=f"add the {role} at central")
        if row.revoked_us is not None:
            fix = f"add the {role} again at central, with a new certificate"
            raise NotAdmitted("this certificate was revoked", where=row.name, fix=fix)
        if row.not_after_us <= row.now:
            raise NotAdmitted("this certificate has run out", where=row.name, fix="issue a new one")
        if uri != f"urn:exchange:{role}:{row.name}":
            raise NotAdmitted(
                "the certificate's name is not the one it was added for",
                where=row.name,
                fix="issue a new one",
            )
        return str(row.name)

    def _ensure_node(self, connection: Connection, node: str) -> None:
        row = connection.execute(select(NODES).where(NODES.c.node == node).with_for_update()).one_or_none()
        if row is None:
            connection.execute(insert(NODES), {"node": node, "added_us": now_us(connection)})
        elif row.revoked_us is not None:
            connection.execute(update(NODES).where(NODES.c.node == node).values(revoked_us=None))

    def _add(
        self, connection: Connection, owner: tuple[str, str], fingerprint: str, not_after_us: int, who: str
    ) -> None:
        role, name = owner
        known = connection.execute(
            select(CERTIFICATES).where(CERTIFICATES.c.fingerprint == fingerprint)
        ).one_or_none()
        if known is not None:
            if (known.role, known.name, known.revoked_us) != (role, name, None):
                raise Refused(
                    "this certificate was revoked or is another's", where=name, fix="issue a new one"
                )
            return
        now = now_us(connection)
        _room_for_one(connection, owner, now)
        entry: dict[str, audit.Fact] = {
            "fingerprint": fingerprint,
            "role": role,
            "name": name,
            "not_after_us": not_after_us,
        }
        connection.execute(insert(CERTIFICATES), {**entry, "added_us": now})
        audit.record(connection, audit.REGISTRY, f"{role}_added", **entry, who=who)

    def _revoke_all(self, role: str, name: str, who: str, reason: str) -> None:
        with writing(self._engine) as connection:
            if self._revoke(connection, (role, name), now_us(connection)):
                facts = {"name": name, "who": who, "reason": reason}
                audit.record(connection, audit.REGISTRY, f"{role}_revoked", **facts)

    def _revoke(self, connection: Connection, owner: tuple[str, str], now: int) -> int:
        role, name = owner
        usable = (
            CERTIFICATES.c.role == role,
            CERTIFICATES.c.name == name,
            CERTIFICATES.c.revoked_us.is_(None),
        )
        return connection.execute(update(CERTIFICATES).where(*usable).values(revoked_us=now)).rowcount


def _room_for_one(connection: Connection, owner: tuple[str, str], now: int) -> None:
    role, name = owner
    usable = (
        CERTIFICATES.c.role == role,
        CERTIFICATES.c.name == name,
        CERTIFICATES.c.revoked_us.is_(None),
        CERTIFICATES.c.not_after_us > now,
    )
    if connection.execute(select(func.count()).where(*usable)).scalar_one() >= FINGERPRINTS_PER_NAME:
        raise Refused(
            f"it has {FINGERPRINTS_PER_NAME} usable certificates already",
            where=name,
            fix="retire one of them first",
        )


def ask_node(connection: Connection, node: str, command: node_pb2.Command, who: str) -> int:
    """As :meth:`Registry.request_command`, in the caller's transaction."""
    if command.verb not in node_pb2.Command.Verb.values() or not command.verb:
        raise Refused(f"{command.verb} is not a command", where=node)
    if command.stream and split_stream(command.stream)[0] != node:
        raise Refused("the stream belongs to another node", where=command.stream)
    _known_and_not_busy(connection, node)
    number = _insert_command(connection, node, command, who)
    verb = node_pb2.Command.Verb.Name(command.verb)
    facts: dict[str, audit.Fact] = {"node": node, "number": number, "verb": verb, "who": who}
    places = {"stream": command.stream, "table": command.table}
    audit.record(connection, audit.REGISTRY, "command_requested", **facts, **places)
    return number


def _known_and_not_busy(connection: Connection, node: str) -> None:
    if connection.execute(select(NODES.c.node).where(NODES.c.node == node)).one_or_none() is None:
        raise Refused("no such node", where=node)
    waiting = select(func.count()).where(COMMANDS.c.node == node, COMMANDS.c.finished_us.is_(None))
    if connection.execute(waiting).scalar_one() >= COMMANDS_WAITING:
        raise Refused(f"{COMMANDS_WAITING} commands wait for this node already", where=node)


def _insert_command(connection: Connection, node: str, command: node_pb2.Command, who: str) -> int:
    asked = {"node": node, "verb": command.verb, "stream": command.stream, "table_name": command.table}
    result = connection.execute(insert(COMMANDS), {**asked, "asked_us": now_us(connection), "asked_by": who})
    key = result.inserted_primary_key
    return int(key[0]) if key else 0


def _finish(connection: Connection, node: str, number: int, outcome: str) -> int:
    waiting = (COMMANDS.c.id == number, COMMANDS.c.node == node, COMMANDS.c.finished_us.is_(None))
    return connection.execute(
        update(COMMANDS).where(*waiting).values(finished_us=NowUs(), outcome=outcome)
    ).rowcount


def _node_record(row: Row[Any], certificates: Sequence[Row[Any]]) -> NodeRecord:
    return NodeRecord(
        node=row.node,
        added_us=row.added_us,
        revoked=row.revoked_us is not None,
        certificates=tuple(
            Certificate(each.fingerprint, each.not_after_us, each.revoked_us is not None)
            for each in certificates
        ),
        last_seen_us=row.last_seen_us or 0,
        clock_skew_us=row.clock_skew_us or 0,
        report=node_pb2.HeartbeatRequest.FromString(row.report or b""),
    )
