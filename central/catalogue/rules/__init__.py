"""What an entry is checked against (Art. 16): twenty-four rules, each a small function with its number.

Some need the entry alone, some the rest of the catalogue, some the tables as they are. Whatever a rule needs is gathered
for a whole page at once; a rule asks no database.
"""

from central.catalogue.rules.facts import Facts, Live, Offices
from central.catalogue.rules.rule import Finding, Needs, Rule, Severity, look
from central.catalogue.rules.table import RULES, rules_needing

__all__ = [
    "RULES",
    "Facts",
    "Finding",
    "Live",
    "Needs",
    "Offices",
    "Rule",
    "Severity",
    "look",
    "rules_needing",
]
