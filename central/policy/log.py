"""What the profile says about the log."""

from pydantic import Field

from proto.process import Section


class LogPolicy(Section):
    """Article 26."""

    keep_years: int = Field(ge=1)
    """So long no interface lets a record go."""
