"""What people may do with the catalogue."""

from __future__ import annotations

from typing import Final

from central.catalogue import (
    arguments,
    checking,
    deciding,
    describing,
    documents,
    drafting,
    drifting,
    importing,
    proposing,
    reading,
    releasing,
    repeats,
)
from central.people import Role, Verb

_REGISTRAR: Final = frozenset({Role.REGISTRAR})
_AUDITOR: Final = frozenset({Role.AUDITOR})
_AUTHORITY: Final = frozenset({Role.AUTHORITY})
_EITHER: Final = frozenset({Role.AUDITOR, Role.AUTHORITY})
_CHECKS: Final = frozenset({Role.TESTER, Role.AUTHORITY, Role.AUDITOR, Role.REGISTRAR})
_a = arguments

VERBS: Final = (
    # The department's registrar
    Verb(
        "catalogue.draft", _a.Write, drafting.draft, _REGISTRAR, help="a new entry, or a new version of one"
    ),
    Verb("catalogue.edit", _a.Write, drafting.edit, _REGISTRAR, help="another text for a draft"),
    Verb("catalogue.submit", _a.Submit, drafting.submit, _REGISTRAR, help="hand it to the auditor"),
    Verb("catalogue.import", _a.Import, importing.take_rows, _REGISTRAR, help="many drafts at once"),
    Verb(
        "catalogue.propose", _a.Stream, proposing.propose, _REGISTRAR, False, "drafts from a stream's tables"
    ),
    Verb(
        "catalogue.handled",
        _a.DecideWhy,
        drifting.handle,
        _REGISTRAR,
        help="a change of a table is dealt with",
    ),
    # The department's auditor
    Verb(
        "catalogue.return", _a.DecideWhy, deciding.hand_back, _AUDITOR, help="back to the registrar, and why"
    ),
    Verb("catalogue.audit", _a.Decide, deciding.audit, _AUDITOR, help="approve it"),
    Verb("catalogue.publish", _a.Publish, deciding.publish, _AUDITOR, help="into the department's catalogue"),
    Verb("catalogue.withdraw", _a.DecideWhy, deciding.withdraw, _EITHER, help="end it, at once"),
    # The authority
    Verb("catalogue.verify", _a.Verify, deciding.verify, _AUTHORITY, help="the word on what is not shared"),
    Verb("catalogue.adjust", _a.Adjust, deciding.adjust, _AUTHORITY, help="the authority's own text"),
    Verb("catalogue.suspend", _a.DecideWhy, deciding.suspend, _EITHER, help="out of force, at once"),
    Verb("catalogue.resume", _a.Decide, deciding.resume, _AUTHORITY, help="let the next release take it up"),
    Verb("catalogue.release", _a.Release, releasing.release, _AUTHORITY, help="make the next signed release"),
    Verb("catalogue.filed", _a.Filed, deciding.filed, _AUTHORITY, help="note the province's number"),
    Verb("catalogue.describe", _a.Stream, describing.ask, _EITHER, help="ask a node how its tables are"),
    # Everybody
    Verb("catalogue.list", _a.Page, reading.list_entries, writes=False, help="what is in force"),
    Verb(
        "catalogue.drafts", _a.Drafts, reading.drafts, writes=False, help="newest versions, published or not"
    ),
    Verb("catalogue.show", _a.One, reading.show, writes=False, help="one entry"),
    Verb(
        "catalogue.history", _a.One, reading.show_history, writes=False, help="every transition of one entry"
    ),
    Verb("catalogue.departments", _a.Nothing, reading.departments, writes=False, help="who is missing where"),
    Verb(
        "catalogue.notices", _a.Nothing, reading.notices, writes=False, help="what the department is to know"
    ),
    Verb(
        "catalogue.changes",
        _a.Nothing,
        drifting.changes,
        writes=False,
        help="tables that moved away from their entries",
    ),
    Verb("catalogue.read_notices", _a.Nothing, reading.read_notices, help="they were read"),
    Verb("catalogue.releases", _a.Nothing, releasing.releases, writes=False, help="every release"),
    Verb(
        "catalogue.release_head", _a.OneRelease, releasing.release_head, writes=False, help="what was signed"
    ),
    Verb(
        "catalogue.release_lines", _a.ReleasePage, releasing.release_lines, writes=False, help="its entries"
    ),
    Verb("catalogue.diff", _a.Diff, releasing.diff, writes=False, help="from one release to another"),
    Verb("catalogue.repeats", _a.Repeats, repeats.repeats, writes=False, help="who has these items already"),
    Verb("catalogue.document", _a.One, documents.document, writes=False, help="the interface document"),
    Verb("catalogue.dcat", _a.Page, documents.dcat, writes=False, help="DCAT, as JSON-LD"),
    Verb(
        "catalogue.check", _a.Check, checking.check, _CHECKS, False, "the rules, on a page of entries; signed"
    ),
    Verb(
        "catalogue.report", _a.Nothing, checking.newest_report, _CHECKS, False, "the last check by the clock"
    ),
)
