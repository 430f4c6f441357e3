"""What the profile says about requests and grants."""

from proto.process import Section


class SharingPolicy(Section):
    """Articles 22, 25, 28, 29."""

    provider_answer_days: int
    """Working days a provider has to answer a request."""
