"""How accepted batches become rows of the platform's tables: once each, in order, together with the cursor.

One applier at a time works for a stream: it holds a lease, and every transaction checks the lease's token, so that
a process that was asleep too long changes nothing. What of a batch cannot be applied holds its table, and no other; a
batch of which nobody can say more than that it is damaged stops its stream, and no other.
"""

from central.apply.applier import Applier, Limits
from central.apply.held import Held

__all__ = ["Applier", "Held", "Limits"]
