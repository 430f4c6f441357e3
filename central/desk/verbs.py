"""Every verb there is: each room brings its own."""

from __future__ import annotations

from typing import Final

from central.people import Verb

VERBS: Final[tuple[Verb, ...]] = ()
