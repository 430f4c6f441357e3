"""The department's own step: from the exchange database into a database of its business. Off unless the settings say so.

Rows and cursor move in one transaction there. What is delivered meanwhile is kept in the exchange database's inbox and
forgotten after that commit; wherever the inbox does not continue what the target has, the table is copied anew.
"""

from agent.imports.importing import Importing, Order
from agent.imports.target import Target

__all__ = ["Importing", "Order", "Target"]
