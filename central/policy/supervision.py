"""What the profile says about being on time, restrictions, feedback and disputes."""

from pydantic import Field

from proto.process import Section


class SupervisionPolicy(Section):
    """Articles 20, 23, 25, 28, 36."""

    due_share: float = Field(gt=0, le=1)
    """Of a resource's update limit; from there on it is due."""
    serious_factor: float = Field(ge=1)
    """Times the limit; from there on it is seriously late."""
    log_share: float = Field(gt=0, le=0.5)
    """Of the limit; how often a proven read goes on record."""
    warn_after_limits: int = Field(ge=1)
    """So many whole limits late: the department is warned."""
    restrict_after_limits: int = Field(ge=1)
    """So many whole limits late: a restriction is proposed to the authority."""
    case_step_days: int = Field(ge=1)
    """Working days for each step of a dispute; then the authority is told."""
    feedback_every_days: int = Field(ge=1)
    """Days of the calendar between two reports of what use was made of a grant (Art. 36)."""
    unused_after_days: int = Field(ge=1)
    """A grant nobody used for so many days is proposed for closing."""
    restricts_automatically: bool
    """Whether a proposed restriction takes effect without the authority's confirmation."""
