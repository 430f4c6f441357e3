"""How batches come in: who may speak for a stream, whether both ends agree about the past, and the commit that counts.

Both ends compare number and digest at every hello. That finds a second agent, a restored copy on either side, damage
and silent skips. A stream whose ends disagree is frozen with both heads kept, until a person releases it: then the
node's next hello is adopted as it is, and what lies between is a declared gap. Every refusal is in the audit log.
"""

from central.intake.intake import Intake
from central.intake.rules import OutOfOrder

__all__ = ["Intake", "OutOfOrder"]
