"""What one department may see of another's table: chosen columns, masks on them, and which rows.

A :class:`View` is what a grant says; bound to a table it turns what changed there into what the receiver gets.
"""

from proto.view.bound import BoundView, Sifted
from proto.view.grant import View

__all__ = ["BoundView", "Sifted", "View"]
