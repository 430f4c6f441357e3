"""How accepted batches become rows of the platform's tables: once each, in order, together with the cursor.

One applier at a time works for a stream: it holds a lease, and every transaction checks the lease's token, so that
a process that was asleep too long changes nothing. A batch that cannot be applied stops its stream and no other.
"""

from central.apply.applier import Applier, Limits, SchemaHeld
from central.apply.held import Held

__all__ = ["Applier", "Held", "Limits", "SchemaHeld"]
