"""The check of the catalogue (Art. 16): the rules, on a page of entries, with the platform's signature under what was found.

Reads only. A report of many pages is one because each page names the digest of the page before it; a commissioned third
party runs it with its own certificate and gives the signed report to whoever commissioned it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Engine, Select, func, insert, select

from central.catalogue.arguments import Check, Nothing
from central.catalogue.gathering import facts_of
from central.catalogue.keeping import IS_NEWEST, Kept, of_row
from central.catalogue.rules import RULES, Finding, Severity, look
from central.people import Actor, Role, Turn
from central.policy import Profile
from central.settings import Platform
from central.store import now_us, reading, writing
from central.store.catalogue import ENTRIES, REPORTS
from proto.catalogue import canonical
from proto.errors import NotAdmitted, Refused
from proto.signing import Signer

CHECK: Final = "catalogue-check"
"""The purpose of the signature."""
PAGE_OF_JOB: Final = 200
KEPT_REPORTS: Final = 100
_SEES_ALL: Final = frozenset({Role.TESTER, Role.AUTHORITY})
BY_THE_CLOCK: Final = Actor("clock", "", "", frozenset({Role.TESTER}), "the platform's clock")


def check(turn: Turn, told: Check) -> dict[str, Any]:
    """What the rules find on one entry or one page of entries, and the signature of it."""
    found = _entries(turn, told)
    if told.code and not found:
        raise Refused("no such entry, or another department's", where=told.code)
    findings = [each for facts in facts_of(turn, found) for each in look(facts, RULES)]
    after = found[-1].code if len(found) == told.limit and not told.code else ""
    report = {
        "after": told.after,
        "at_us": turn.now_us,
        "checked": [[each.code, each.version] for each in found],
        "findings": [each.plain for each in findings],
        "next": after,
        "policy": turn.profile.name,
        "dictionary": turn.profile.catalogue.dictionary_version,
        "previous": told.previous,
        "who": turn.actor.person,
    }
    document = canonical(report)
    return {
        "report": document.decode(),
        "digest": hashlib.sha256(document).hexdigest(),
        "signature": turn.signer.sign(CHECK, document).hex() if turn.signer else "",
        "certificate": turn.signer.certificate_pem.decode() if turn.signer else "",
        "counts": _counts(findings),
        "after": after,
    }


def newest_report(turn: Turn, _told: Nothing) -> dict[str, Any]:
    """The last check that ran by the clock: its summary, signed."""
    row = turn.connection.execute(select(REPORTS).order_by(REPORTS.c.n.desc()).limit(1)).one_or_none()
    if row is None:
        raise Refused(
            "no check has run by the clock yet", where="catalogue", fix="catalogue check runs one now"
        )
    if not turn.actor.roles & _SEES_ALL:
        raise NotAdmitted("the report is about every department", where=turn.actor.person)
    return {
        "n": row.n,
        "at_us": row.at_us,
        "entries": row.entries,
        "errors": row.errors,
        "warnings": row.warnings,
        "report": json.loads(bytes(row.document)),
        "signature": bytes(row.signature).hex(),
    }


class CheckJob:
    """Checks the whole catalogue and keeps a signed summary; a transaction for each page."""

    def __init__(self, engine: Engine, profile: Profile, signer: Signer | None, platform: Platform) -> None:
        self._engine = engine
        self._around = (profile, signer, platform)

    def run(self) -> None:
        """One whole check."""
        counts: Counter[str] = Counter()
        worst: dict[str, list[str]] = {}
        after, previous, entries = "", "", 0
        while True:
            told = Check(after=after, limit=PAGE_OF_JOB, previous=previous)
            page = self._page(told)
            said = json.loads(page["report"])
            entries += len(said["checked"])
            for finding in said["findings"]:
                counts[finding["severity"]] += 1
                if finding["severity"] == Severity.ERROR:
                    worst.setdefault(finding["rule"], []).append(finding["code"])
            after, previous = page["after"], page["digest"]
            if not after:
                break
        self._keep(entries, counts, {rule: codes[:50] for rule, codes in worst.items()}, previous)

    def _page(self, told: Check) -> dict[str, Any]:
        profile, signer, platform = self._around
        with reading(self._engine) as connection:
            moment = now_us(connection)
            turn = Turn(connection, self._engine, BY_THE_CLOCK, profile, moment, signer, platform)
            return check(turn, told)

    def _keep(self, entries: int, counts: Counter[str], worst: dict[str, list[str]], last: str) -> None:
        signer: Signer | None = self._around[1]
        with writing(self._engine) as connection:
            n = connection.execute(select(func.coalesce(func.max(REPORTS.c.n), 0))).scalar_one() + 1
            moment = now_us(connection)
            report = {
                "at_us": moment,
                "counts": dict(counts),
                "entries": entries,
                "errors": worst,
                "last_page": last,
            }
            document = canonical(report)
            row = {
                "n": n,
                "at_us": moment,
                "entries": entries,
                "errors": counts[Severity.ERROR],
                "warnings": counts[Severity.WARNING],
                "document": document,
                "signature": signer.sign(CHECK, document) if signer else b"",
            }
            connection.execute(insert(REPORTS), row)
            connection.execute(REPORTS.delete().where(REPORTS.c.n <= n - KEPT_REPORTS))


def _entries(turn: Turn, told: Check) -> Sequence[Kept]:
    c = ENTRIES.c
    query: Select[Any] = select(ENTRIES).where(c.newest == IS_NEWEST, c.state != "withdrawn")
    query = query.where(c.code == told.code) if told.code else query.where(c.code > told.after)
    if not turn.actor.roles & _SEES_ALL:
        query = query.where(c.provider == turn.actor.department)
    return [of_row(row) for row in turn.connection.execute(query.order_by(c.code).limit(told.limit)).all()]


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    found = Counter(str(each.severity) for each in findings)
    return {str(severity): found.get(str(severity), 0) for severity in Severity}
