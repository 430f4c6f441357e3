"""Roles, and the person who is acting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proto.errors import NotAdmitted


class Role(StrEnum):
    """What a person may do; a person may have several, but not two that watch each other."""

    REGISTRAR = "registrar"
    """登记员: drafts and submits catalogue entries."""
    AUDITOR = "auditor"
    """审核员: approves or returns what a registrar submitted, publishes the department's catalogue."""
    RESOURCE_ADMIN = "resource_admin"
    """信息资源管理员: reviews requests, outgoing and incoming."""
    SYSTEM_ADMIN = "system_admin"
    """Installs and watches; changes no catalogue and no grant."""
    AUTHORITY = "authority"
    """信息共享主管部门: verifies, publishes releases, routes, rules, confirms restrictions."""
    SECURITY_ADMIN = "security_admin"
    """Identities and keys; reads no data."""
    AUDIT_ADMIN = "audit_admin"
    """Reads and verifies the log; changes nothing."""
    TESTER = "tester"
    """A commissioned third party: checks, reads only."""


APART: Final = (
    frozenset({Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN}),
    frozenset({Role.SYSTEM_ADMIN, Role.AUDIT_ADMIN}),
    frozenset({Role.SECURITY_ADMIN, Role.AUDIT_ADMIN}),
)
"""Pairs that one person may never have together."""


READS_NO_ROWS: Final = frozenset(
    {Role.AUTHORITY, Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN, Role.AUDIT_ADMIN, Role.TESTER}
)
"""Whoever watches or runs the platform does not read what passes through it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person at work, as a verified certificate says; or a business system that asks, as its node's certificate says."""

    person: str
    """Of a system ``system:NAME``: no person is called so."""
    name: str
    department: str
    """The department's unified social credit code."""
    roles: frozenset[Role]
    via: str = ""
    """How we know: ``certificate``, the node that vouches, or the console of central's own machine."""
    office: str = ""
    """The person's office (科室) within the department; "" = nobody said."""
    node: str = ""
    """Of a system: the node that vouches for it. "" = it is a person."""

    def demand(self, *roles: Role, what: str) -> None:
        """Raise NotAdmitted unless the person has one of *roles*."""
        if not self.roles & set(roles):
            needed = " or ".join(roles)
            raise NotAdmitted(
                f"{what} needs the role {needed}", where=self.person, fix="ask someone who has it"
            )

    def demand_department(self, department: str, what: str) -> None:
        """Raise NotAdmitted unless it is the person's own department."""
        if self.department != department:
            raise NotAdmitted(f"{what} is for people of department {department}", where=self.person)


def refuse_together(roles: Iterable[Role]) -> tuple[Role, Role] | None:
    """The first pair of *roles* that one person may not have together."""
    held = set(roles)
    for pair in APART:
        if pair <= held:
            first, second = sorted(pair)
            return first, second
    return None
