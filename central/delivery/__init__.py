"""How granted data leaves the ledger: judged, signed and on record first, in order, and never more than the grant says.

What was delivered is at the consumer exactly once, although it may be sent again: the consumer says where it is, and
central goes on right after it or begins a copy afresh and says why.
"""

from central.delivery.booking import Dispatch
from central.delivery.courier import Post
from central.delivery.depot import Depot
from central.delivery.recalls import recall
from central.delivery.visit import Item, Visit

__all__ = ["Depot", "Dispatch", "Item", "Post", "Visit", "recall"]
