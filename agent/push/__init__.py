"""Handing batches to central: one worker per stream, at least once, in order, never ahead of a bounded window.

A connection begins with both ends comparing where their chains end; where they disagree nothing is sent and the
stream halts. After that every batch follows the one before it: from memory while push keeps up with capture, from
the outbox when it is behind. Correctness rests on numbers and digests alone; what is kept in memory here (window,
pace, handed over batches) may be lost at any moment.
"""

from agent.push.session import PushLimits
from agent.push.stream import Push, PushFacts

__all__ = ["Push", "PushFacts", "PushLimits"]
