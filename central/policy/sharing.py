"""What the profile says about requests and grants."""

from typing import Literal

from pydantic import Field

from proto.process import Section


class SharingPolicy(Section):
    """Articles 22, 25, 28, 29, 31. Days are working days unless their name says otherwise."""

    department_approval_days: int = Field(ge=1)
    """The asking department's own approval of a draft."""
    provider_answer_days: int = Field(ge=1)
    """A provider's answer to a request."""
    provider_answer_shared_days: int = Field(ge=1)
    """The same where the resource is shared with somebody already."""
    authority_route_days: int = Field(ge=1)
    """The authority's decision about a need that its provider does not hold."""
    consent_days: int = Field(ge=1)
    """A provider's consent to a composite or to what is stored on the platform (Art. 28)."""
    authority_consent_days: int = Field(ge=1)
    """The authority's consent to the same."""
    escalated_days: int = Field(ge=1)
    """The authority's decision about what went overdue elsewhere."""
    longest_grant_calendar_days: int = Field(ge=1)
    """No grant is made for longer; it can be renewed."""
    warn_calendar_days: tuple[int, ...] = Field(min_length=1)
    """How long before its end a grant warns; with the first of them it is called expiring."""
    case_number_modes: tuple[Literal["exchange", "query", "interface", "custom"], ...] = ()
    """For which ways of use every single use must name a case."""
