"""The verbs of this room."""

from typing import Final

from central.log import received, retiring
from central.people import Verb

VERBS: Final[tuple[Verb, ...]] = (*retiring.VERBS, *received.VERBS)
