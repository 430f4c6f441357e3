"""How nodes, sources and streams may be called: short enough for a schema's name, and safe in every place one is shown."""

from __future__ import annotations

import re
from typing import Final

from proto.errors import Refused

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")


def check_name(name: str) -> str:
    """Return *name* if a node, a source or an operator may be called so; raises Refused."""
    if not NAME.fullmatch(name):
        raise Refused(f"{name[:40]!r} is not a name", fix="a small letter, then up to 30 of a-z, 0-9 and -")
    return name


def split_stream(stream: str) -> tuple[str, str]:
    """Node and source of *stream*; raises Refused."""
    node, _, source = stream.partition("/")
    return check_name(node), check_name(source)


def room_of(stream: str) -> str:
    """The room of *stream*'s tables; different for different streams, because names have no underscore."""
    node, source = split_stream(stream)
    return f"{node}_{source}"
