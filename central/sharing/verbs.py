"""What people do about sharing, for the desk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from central.people import Role, Turn, Verb
from central.sharing import changes, compare, consents, explain, lists, query, requests, watermark
from central.sharing.restrictions import Restricted, nobody

_ADMIN: Final = frozenset({Role.RESOURCE_ADMIN})
_DECIDES: Final = frozenset({Role.RESOURCE_ADMIN, Role.AUTHORITY})
_AUTHORITY: Final = frozenset({Role.AUTHORITY})
_HOLDS: Final = frozenset({Role.RESOURCE_ADMIN, Role.AUTHORITY, Role.SECURITY_ADMIN})
_WATCHES: Final = frozenset({Role.AUTHORITY, Role.AUDIT_ADMIN})


def sharing_verbs(
    restricted: Restricted = nobody,
    mismatched: compare.Mismatched = compare.no_case,
    trusting: watermark.Others = watermark.nobody_else,
) -> tuple[Verb, ...]:
    """The verbs; *restricted* tells which departments are restricted now, *mismatched* opens a case, *trusting* is told
    when a person trusts the clock again."""
    using = _using(mismatched)
    return (
        *_asking(restricted),
        *_answering(),
        *_of_grants(restricted, trusting),
        *using,
        *_looking(restricted),
    )


def _asking(restricted: Restricted) -> tuple[Verb, ...]:
    return (
        Verb("share.draft", requests.Draft, _with(requests.draft, restricted), help="Ask for a resource."),
        Verb(
            "share.submit",
            requests.Named,
            _with(requests.submit, restricted),
            _ADMIN,
            help="Approve a draft of one's own department and send it off.",
        ),
        Verb("share.withdraw", requests.Withdraw, requests.withdraw, help="Do not want it any more."),
        Verb(
            "share.route",
            requests.Route,
            _with(requests.route, restricted),
            _AUTHORITY,
            help="Send a need to the resource that really has it.",
        ),
        Verb(
            "share.direct",
            requests.Direct,
            requests.direct,
            _AUTHORITY,
            help="Grant what law demands be given to one recipient (Art. 5).",
        ),
    )


def _answering() -> tuple[Verb, ...]:
    return (
        Verb("share.agree", consents.Agree, consents.agree, _DECIDES, help="Consent, with conditions."),
        Verb("share.refuse", consents.Refusal, consents.refuse, _DECIDES, help="Refuse, by law."),
        Verb(
            "share.not-held",
            consents.NotHeld,
            consents.not_held,
            _DECIDES,
            help="Not held here: the authority routes it.",
        ),
    )


def _of_grants(restricted: Restricted, trusting: watermark.Others) -> tuple[Verb, ...]:
    return (
        Verb(
            "share.renew",
            changes.Renew,
            _with(changes.renew, restricted),
            _ADMIN,
            help="Let a grant go on to a later day.",
        ),
        Verb("grant.change", changes.Change, changes.change, _DECIDES, help="Other conditions."),
        Verb("grant.suspend", changes.Reasoned, changes.suspend, _HOLDS, help="Let nothing through for now."),
        Verb("grant.resume", changes.Reasoned, changes.resume, _HOLDS, help="Let it go on."),
        Verb(
            "grant.trust-clock",
            watermark.Trust,
            partial(watermark.trust, others=trusting),
            frozenset({Role.AUTHORITY, Role.SECURITY_ADMIN}),
            help="The database's clock went back and is right: let grants pass again.",
        ),
        Verb("grant.revoke", changes.Reasoned, changes.revoke, _HOLDS, help="End it for good."),
    )


def _using(mismatched: compare.Mismatched) -> tuple[Verb, ...]:
    return (
        Verb(
            "share.query",
            query.Ask,
            query.query,
            help="A few rows of a granted resource.",
            for_systems=True,
        ),
        Verb("share.compare-begin", compare.Begin, compare.begin, help="Open a comparison."),
        Verb(
            "share.compare",
            compare.Compare,
            partial(compare.compare, mismatched=mismatched),
            help="Match, mismatch or not found; what differs may become a case.",
        ),
    )


def _looking(restricted: Restricted) -> tuple[Verb, ...]:
    def looks(name: str, arguments: type[Any], act: Callable[[Turn, Any], Any], said: str) -> Verb:
        return Verb(name, arguments, act, writes=False, help=said)

    return (
        looks("share.requests", lists.Requests, lists.requests, "Requests, page by page."),
        looks("share.show", requests.Named, lists.request, "One request whole."),
        looks("share.inbox", lists.Inbox, lists.inbox, "What waits for me, with the days left."),
        looks(
            "share.explain",
            explain.Explain,
            _with(explain.explain, restricted),
            "Why a node can or cannot have a resource, and whose move it is.",
        ),
        Verb(
            "share.vacancies",
            lists.Nothing,
            lists.vacancies,
            _WATCHES,
            writes=False,
            help="Departments without a resource administrator.",
        ),
        looks("grant.list", lists.Grants, lists.grants, "Grants, page by page."),
        looks("grant.show", lists.OneGrant, lists.grant, "One grant whole."),
        looks("grant.history", lists.OneGrant, lists.history, "Every version of a grant."),
    )


def _with(act: Callable[..., Any], restricted: Restricted) -> Callable[[Turn, Any], Any]:
    return partial(act, restricted=restricted)
