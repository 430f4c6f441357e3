"""Who may decide what: departments, the people in them, their roles, and the verbs they may use.

A decision is made by a person, never by a machine's account: with a certificate of the person's own, or through the
node of the person's department, which names the person. A business system of a department, named by its node, may ask
for rows and decides nothing. Every decision and every refused attempt is in the audit log.
"""

from central.people.actor import READS_NO_ROWS, Actor, Role
from central.people.office import Office
from central.people.verb import Turn, Verb

__all__ = ["READS_NO_ROWS", "Actor", "Office", "Role", "Turn", "Verb"]
