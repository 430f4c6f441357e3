"""Departments, and the people who decide for them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Index, Table

from central.store.columns import METADATA, key, maybe, number, words

DEPARTMENTS: Final = Table(
    "central_departments",
    METADATA,
    key("department"),
    words("name"),
    words("region"),
    words("level"),
    number("added_us"),
)

DEPARTMENT_NODES: Final = Table(
    "central_department_nodes",
    METADATA,
    key("node"),
    words("department"),
    number("since_us"),
    Index("central_department_nodes_department", "department"),
)

PERSONS: Final = Table(
    "central_persons",
    METADATA,
    key("person"),
    words("name"),
    words("department"),
    words("office", ""),
    number("added_us"),
    maybe("left_us"),
    Index("central_persons_department", "department"),
)

PERSON_ROLES: Final = Table(
    "central_person_roles",
    METADATA,
    key("person"),
    key("role"),
    number("since_us"),
)
