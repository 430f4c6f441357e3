"""How two sides compare values without showing them: a keyed digest of each, made with a key of this one comparison.

The digest of an item is HMAC-SHA256 under the comparison's key over a fixed label, the item's column, its kind, whether
there is a value, and the value's canonical text (proto/values.py). Why so, and not a plain SHA-256:

* A sex, a birthday or an ID number is one of few: whoever has plain digests tries them all in a second. Without the
  key, which is 32 random-looking bytes and lies in no log, there is nothing to try against.
* The key is another for each comparison, so the same value has another digest each time, and two sets of digests
  cannot be laid side by side.
* Column and kind are covered, so the digest of a "1" in one column says nothing about a "1" in another.

What it does not do: central, which has the rows, could try values against digests while it has the key. It hides a
department's values from whoever sees or keeps the message, not from the platform that compares.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final

from proto.values import Kind, from_text, to_text

KEY_BYTES: Final = 32
_LABEL: Final = b"exchange.v1/comparison\x00"


def item_digest(key: bytes, column: str, kind: Kind, data: bytes | None) -> str:
    """The digest of one value in canonical binary form, hexadecimal; None is a value as well: "there is none"."""
    words = [column.encode(), kind.encode()]
    said = _LABEL + b"".join(struct.pack(">I", len(word)) + word for word in words)
    body = b"\x00" if data is None else b"\x01" + to_text(kind, data).encode()
    return hmac.digest(key, said + body, hashlib.sha256).hex()


def text_digest(key: bytes, column: str, kind: Kind, text: str | None) -> str:
    """The same of a value's text, brought into its canonical form first. Raises Refused for a text of another kind."""
    return item_digest(key, column, kind, None if text is None else from_text(kind, text))


def comparison_key(secret: bytes, comparison: str) -> bytes:
    """The key of one comparison; whoever lacks the grant's secret makes no key for another one."""
    return hmac.digest(secret, _LABEL + b"key\x00" + comparison.encode(), hashlib.sha256)
