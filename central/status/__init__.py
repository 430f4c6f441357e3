"""What people see: every node and stream in exactly one named state, with a sentence and whose move it is."""

from central.status.board import Board
from central.status.explain import explain, worst

__all__ = ["Board", "explain", "worst"]
