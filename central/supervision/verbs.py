"""The verbs of this room."""

from typing import Final

from central.people import Verb
from central.supervision import case_verbs, figures_verbs, punctuality_verbs

VERBS: Final[tuple[Verb, ...]] = (*punctuality_verbs.VERBS, *case_verbs.VERBS, *figures_verbs.VERBS)
