"""Every verb there is: each room brings its own."""

from __future__ import annotations

from typing import Final

from central.catalogue import verbs as catalogue
from central.people import Verb
from central.supervision import verbs as supervision

VERBS: Final[tuple[Verb, ...]] = (*catalogue.VERBS, *supervision.VERBS)
