"""Working days: which days count when the law counts working days."""

from proto.process import Section


class CalendarPolicy(Section):
    """Time zone and holidays."""

    timezone: str
