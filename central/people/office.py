"""The departments and people of one platform. Each method is one transaction; nobody is ever deleted, only leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from central import audit
from central.people.actor import Actor, Role, refuse_together
from central.people.codes import check_credit_code
from central.store import now_us, reading, writing
from central.store.names import check_name
from central.store.office import DEPARTMENT_NODES, DEPARTMENTS, PERSON_ROLES, PERSONS
from central.store.tables import NODES
from proto.errors import NotAdmitted, Refused

LEVELS = ("province", "city", "county")
SYSTEM: Final = "system:"
"""Stands before the name of a system wherever a person could stand."""
LONGEST_SYSTEM: Final = 100
SYSTEM_FORM: Final = f"1 to {LONGEST_SYSTEM} printable characters, no space at either end"


@dataclass(frozen=True, slots=True)
class Department:
    """A department and the nodes that stand in it."""

    department: str
    """Unified social credit code."""
    name: str
    region: str
    level: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A person and what they may do."""

    person: str
    name: str
    department: str
    roles: tuple[Role, ...]
    left: bool
    office: str = ""
    """科室, as grants name it in their ``users``; "" = nobody said."""


class Office:
    """Who belongs where, and who may decide."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_department(self, department: Department, who: str) -> None:
        """Make a department known, or correct its name, region and level. Raises Refused for a wrong code."""
        check_credit_code(department.department)
        if department.level not in LEVELS:
            raise Refused(
                f"{department.level!r} is no level", where="level", fix=f"one of: {', '.join(LEVELS)}"
            )
        facts = {"name": department.name, "region": department.region, "level": department.level}
        with writing(self._engine) as connection:
            known = connection.execute(
                select(DEPARTMENTS).where(DEPARTMENTS.c.department == department.department)
            ).one_or_none()
            if known is None:
                row = {"department": department.department, "added_us": now_us(connection), **facts}
                connection.execute(insert(DEPARTMENTS), row)
            else:
                here = DEPARTMENTS.c.department == department.department
                connection.execute(update(DEPARTMENTS).where(here).values(facts))
            audit.record(
                connection,
                audit.REGISTRY,
                "department_added",
                department=department.department,
                who=who,
                **facts,
            )

    def place_node(self, node: str, department: str, who: str) -> None:
        """Say in which department *node* stands. Raises Refused when either is unknown."""
        with writing(self._engine) as connection:
            _demand_department(connection, department)
            if connection.execute(select(NODES.c.node).where(NODES.c.node == node)).one_or_none() is None:
                raise Refused("no such node", where=node, fix=f"exchange-central node add {node}")
            connection.execute(delete(DEPARTMENT_NODES).where(DEPARTMENT_NODES.c.node == node))
            row = {"node": node, "department": department, "since_us": now_us(connection)}
            connection.execute(insert(DEPARTMENT_NODES), row)
            facts = {"node": node, "department": department, "who": who}
            audit.record(connection, audit.REGISTRY, "node_placed", **facts)

    def add_person(self, person: Person, who: str) -> None:
        """Make a person known with exactly these roles, or change them. Raises Refused for roles that watch each other."""
        check_name(person.person)
        if pair := refuse_together(person.roles):
            raise Refused(f"{pair[0]} and {pair[1]} may not be one person", where=person.person)
        with writing(self._engine) as connection:
            _demand_department(connection, person.department)
            _write_person(connection, person)
            roles = ",".join(sorted(person.roles))
            facts = {"person": person.person, "department": person.department, "office": person.office}
            facts |= {"roles": roles, "who": who}
            audit.record(connection, audit.REGISTRY, "person_added", **facts)

    def leave(self, person: str, who: str, reason: str) -> None:
        """The person decides nothing more from now on; what they decided stays."""
        with writing(self._engine) as connection:
            here = PERSONS.c.person == person
            gone = update(PERSONS).where(here, PERSONS.c.left_us.is_(None)).values(left_us=now_us(connection))
            if not connection.execute(gone).rowcount:
                raise Refused("no such person, or left already", where=person)
            connection.execute(delete(PERSON_ROLES).where(PERSON_ROLES.c.person == person))
            audit.record(connection, audit.REGISTRY, "person_left", person=person, who=who, reason=reason)

    def departments(self) -> list[Department]:
        """All departments with their nodes, by code."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(DEPARTMENTS).order_by(DEPARTMENTS.c.department)).all()
            nodes = connection.execute(select(DEPARTMENT_NODES).order_by(DEPARTMENT_NODES.c.node)).all()
        return [
            Department(
                row.department,
                row.name,
                row.region,
                row.level,
                tuple(each.node for each in nodes if each.department == row.department),
            )
            for row in rows
        ]

    def people(self) -> list[Person]:
        """Everybody, by name; those who left too."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(PERSONS).order_by(PERSONS.c.person)).all()
            roles = connection.execute(select(PERSON_ROLES).order_by(PERSON_ROLES.c.role)).all()
        return [
            Person(
                row.person,
                row.name,
                row.department,
                tuple(Role(each.role) for each in roles if each.person == row.person),
                row.left_us is not None,
                row.office,
            )
            for row in rows
        ]


def actor(connection: Connection, person: str, via: str) -> Actor:
    """The person as one who acts now. Raises NotAdmitted when unknown or gone."""
    row = connection.execute(select(PERSONS).where(PERSONS.c.person == person)).one_or_none()
    if row is None or row.left_us is not None:
        said = "nobody here is called so" if row is None else "this person has left"
        raise NotAdmitted(said, where=person[:40], fix="exchange-central person add")
    roles = connection.scalars(select(PERSON_ROLES.c.role).where(PERSON_ROLES.c.person == person))
    return Actor(row.person, row.name, row.department, frozenset(map(Role, roles)), via, row.office)


def actor_at_node(connection: Connection, person: str, node: str) -> Actor:
    """The person for whom *node* vouches: only people of the node's own department."""
    found = actor(connection, person, f"node {node}")
    home = department_of(connection, node)
    if home != found.department:
        raise NotAdmitted(
            "a node speaks only for people of its own department", where=f"{node}: {person[:40]}"
        )
    return found


def is_system(name: str) -> bool:
    """Whether a business system may be called so: its name stands in every record."""
    return 0 < len(name) <= LONGEST_SYSTEM and name.isprintable() and name == name.strip()


def system_at_node(connection: Connection, system: str, node: str) -> Actor:
    """The business system for which *node* vouches, without a person. Raises Refused for what is no name of one."""
    if not is_system(system):
        raise Refused(f"is no name of a system: {SYSTEM_FORM}", where="system")
    home = department_of(connection, node)
    if not home:
        fix = f"exchange-central department place {node} CODE"
        raise NotAdmitted("nobody said in which department this node stands", where=node, fix=fix)
    return Actor(f"{SYSTEM}{system}", system, home, frozenset(), f"node {node}", node=node)


def department_of(connection: Connection, node: str) -> str:
    """The department *node* stands in; "" if nobody said."""
    here = select(DEPARTMENT_NODES.c.department).where(DEPARTMENT_NODES.c.node == node)
    return connection.execute(here).scalar_one_or_none() or ""


def holders(connection: Connection, role: Role, department: str) -> Sequence[str]:
    """Who of *department* has *role* now."""
    query = (
        select(PERSONS.c.person)
        .join(PERSON_ROLES, PERSON_ROLES.c.person == PERSONS.c.person)
        .where(PERSON_ROLES.c.role == role, PERSONS.c.department == department, PERSONS.c.left_us.is_(None))
    )
    return connection.scalars(query.order_by(PERSONS.c.person)).all()


def _demand_department(connection: Connection, department: str) -> None:
    known = select(DEPARTMENTS.c.department).where(DEPARTMENTS.c.department == department)
    if connection.execute(known).one_or_none() is None:
        raise Refused("no such department", where=department[:40], fix="exchange-central department add")


def _write_person(connection: Connection, person: Person) -> None:
    now, here = now_us(connection), PERSONS.c.person == person.person
    facts = {"name": person.name, "department": person.department, "office": person.office, "left_us": None}
    if not connection.execute(update(PERSONS).where(here).values(facts)).rowcount:
        connection.execute(insert(PERSONS), {"person": person.person, "added_us": now, **facts})
    connection.execute(delete(PERSON_ROLES).where(PERSON_ROLES.c.person == person.person))
    _grant_roles(connection, person.person, person.roles, now)


def _grant_roles(connection: Connection, person: str, roles: Iterable[Role], now: int) -> None:
    if rows := [{"person": person, "role": str(role), "since_us": now} for role in sorted(set(roles))]:
        connection.execute(insert(PERSON_ROLES), rows)
