"""What the profile says about delivery."""

from typing import Literal

from proto.process import Section


class DeliveryPolicy(Section):
    """Articles 29–31: what happens at the end of a grant, and what every delivery must carry."""

    at_end: Literal["keep", "withdraw"]
    """Whether delivered rows stay with the consumer when a grant ends."""
    purpose_required: bool
