"""Every verb there is: each room brings its own."""

from __future__ import annotations

from typing import Final

from central.catalogue import verbs as catalogue
from central.delivery import verbs as delivery
from central.delivery.calls import trust_clock
from central.log import verbs as log
from central.people import Verb
from central.sharing.verbs import sharing_verbs
from central.supervision import verbs as supervision
from central.supervision.comparisons import raise_case
from central.supervision.restrictions import restricted

VERBS: Final[tuple[Verb, ...]] = (
    *catalogue.VERBS,
    *sharing_verbs(restricted, raise_case, trust_clock),
    *delivery.VERBS,
    *supervision.VERBS,
    *log.VERBS,
)
