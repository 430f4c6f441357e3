"""The kinds of values and their one canonical binary form.

The form of each kind is the one PostgreSQL's send function writes: big-endian integers, base-10,000
numerics, microseconds since 2000-01-01, UTF-8 text, ``jsonb`` with its version byte. ``OTHER`` (arrays,
ranges, composites, enums, geometry …) is the value's UTF-8 text; its source type is named in the schema.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a column holds; decides the canonical binary form of its values."""

    BOOL = "bool"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    JSON = "json"
    JSONB = "jsonb"
    UUID = "uuid"
    OTHER = "other"
