"""Who may ask under a grant: what its ``users`` may say (Art. 29), and whether somebody is one of them.

Four forms, compared to the letter: ``救助科`` is an office (科室) of the consuming department, ``person:zhao-min`` one
person, ``role:registrar`` whoever has the role there, ``system:低保核对`` a business system. Systems ask under grants of
the mode ``interface`` and nobody else does; people ask under the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, select

from central.catalogue.entry import Mode
from central.people import READS_NO_ROWS, Actor, Role
from central.people.office import SYSTEM, SYSTEM_FORM, is_system
from central.sharing.permits import NotGranted, Permit
from central.store.office import PERSONS

PERSON: Final = "person:"
ROLE: Final = "role:"
_COLONS: Final = (":", "：")
_FORMS: Final = "OFFICE, person:NAME, role:ROLE or system:NAME"


def faults_of(users: Sequence[str], mode: Mode) -> Iterator[str]:
    """What is wrong with *users* for a grant of *mode*, a sentence each."""
    for user in users:
        if user.startswith(SYSTEM):
            if mode is Mode.QUERY:
                yield f"users: {user[:60]} is a system; systems ask under a grant of the mode {Mode.INTERFACE}"
            elif not is_system(user.removeprefix(SYSTEM)):
                yield f"users: a system's name has {SYSTEM_FORM}"
        elif mode is Mode.INTERFACE:
            yield f"users: {user[:60]} is no system; name those that ask: {SYSTEM}NAME"
        elif user.startswith(ROLE):
            yield from _role_faults(user)
        elif not user.startswith(PERSON) and any(colon in user for colon in _COLONS):
            yield f"users: {user[:60]} is none of {_FORMS}"


def nobody_of(connection: Connection, users: Sequence[str], department: str) -> Iterator[str]:
    """Which *users* are nobody at *department* now, and how that is mended."""
    people = connection.execute(
        select(PERSONS.c.person, PERSONS.c.office).where(
            PERSONS.c.department == department, PERSONS.c.left_us.is_(None)
        )
    ).all()
    known = {f"{PERSON}{each.person}" for each in people} | {each.office for each in people if each.office}
    for user in users:
        if user not in known and not user.startswith((ROLE, SYSTEM)):
            mend = "exchange-central person add NAME … --office OFFICE says who belongs to an office"
            yield f"users: {user[:60]} is nobody of the department; {mend}"


def demand_user(found: Permit, actor: Actor) -> None:
    """Raise NotGranted, saying who may ask, unless *actor* is one of the grant's users."""
    if actor.node and found.consumer != actor.node:
        raise NotGranted(f"the grant is for the node {found.consumer}", where=found.grant)
    users = found.terms.users
    if is_among(actor, users):
        return
    who = actor.person if actor.node or not actor.office else f"{actor.person} of {actor.office}"
    raise NotGranted(
        f"{who} is none of the grant's users", where=found.grant, fix=f"these may ask: {', '.join(users)}"
    )


def is_among(actor: Actor, users: Sequence[str]) -> bool:
    """Whether one of *users* is the actor."""
    if actor.node:
        return actor.person in users
    own = {f"{PERSON}{actor.person}", *(f"{ROLE}{role}" for role in actor.roles)}
    return any(user in own or (user == actor.office and user != "") for user in users)


def _role_faults(user: str) -> Iterator[str]:
    try:
        role = Role(user.removeprefix(ROLE))
    except ValueError:
        yield f"users: {user[:60]} is no role; there are: {', '.join(Role)}"
        return
    if role in READS_NO_ROWS:
        yield f"users: {user[:60]} reads no rows"
