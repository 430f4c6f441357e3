"""What this room does by the clock, besides judging: dates of reports, cases that wait too long."""

from __future__ import annotations

from sqlalchemy import Engine

from central import audit
from central.people.verb import DECISIONS
from central.policy.supervision import SupervisionPolicy
from central.store import now_us, writing
from central.supervision.cases import escalate
from central.supervision.feedback import make_due, newly_overdue


def keep_dates(engine: Engine, policy: SupervisionPolicy) -> None:
    """Give every active grant its next report's date; put on record which reports are overdue and which cases stand still."""
    with writing(engine) as connection:
        # One central process at a time.
        audit.tip(connection, DECISIONS)
        now = now_us(connection)
        make_due(connection, policy, now)
        for grant, n in newly_overdue(connection, now):
            audit.record(connection, DECISIONS, "feedback_overdue", grant=grant, n=n, who="clock")
    with writing(engine) as connection:
        now = now_us(connection)
        for number in escalate(connection, now):
            audit.record(connection, DECISIONS, "case_escalated", case=number, who="clock")
