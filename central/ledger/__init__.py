"""The accepted batches of every stream, in order, and how far each stream has come.

What lies here was checked when it came and is checked again when it is read: a damaged batch is never applied.
"""

from central.ledger.entries import Damaged, Ledger, Size, Span, whole_within
from central.ledger.progress import StreamRecord, streams
from central.ledger.shapes import note_shape, shape_of
from central.ledger.tableholds import HeldTable, held_table

__all__ = [
    "Damaged",
    "HeldTable",
    "Ledger",
    "Size",
    "Span",
    "StreamRecord",
    "held_table",
    "note_shape",
    "shape_of",
    "streams",
    "whole_within",
]
