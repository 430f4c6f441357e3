"""Taking what others share: one call to central, deliveries in, receipts out, each after its commit.

Correctness rests on the exchange database alone: a call begins with what was received there, every delivery must
follow the one before it in its grant's chain and carry the platform's signature, and what is kept in memory here may
be lost at any moment. A grant that cannot go on is held by itself, and central is told; the others go on.
"""

from agent.pull.pull import Pull, PullLimits

__all__ = ["Pull", "PullLimits"]
