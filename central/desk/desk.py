"""Does verbs, each in one transaction; a refused attempt, to change something or to see it, is on record as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from central import audit
from central.people import Actor, Turn, Verb
from central.people.verb import DECISIONS
from central.policy import Profile
from central.settings import Platform
from central.store import now_us, reading, writing
from proto.errors import ExchangeError, NotAdmitted, Refused, Transient
from proto.process import Section
from proto.signing import Signer

Who = Callable[[Connection], Actor]
"""Finds the person who acts, in the transaction of the act."""
MOST_FAULTS = 20


class Desk:
    """Every method is one transaction; a refusal is one more."""

    def __init__(
        self,
        engine: Engine,
        profile: Profile,
        signer: Signer | None,
        verbs: Sequence[Verb],
        platform: Platform | None = None,
    ) -> None:
        self._engine = engine
        self._profile = profile
        self._signer = signer
        self._platform = platform or Platform()
        self._verbs: Mapping[str, Verb] = {verb.name: verb for verb in verbs}

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What can be done here, by name."""
        return tuple(self._verbs[name] for name in sorted(self._verbs))

    def do(self, name: str, arguments: Mapping[str, Any], who: Who) -> Any:
        """Do one verb; returns what JSON can say. Raises Refused, NotAdmitted, and what the database raises."""
        verb = self._verbs.get(name)
        try:
            if verb is None:
                raise Refused(
                    f"there is no verb {name[:60]!r}", where="desk", fix="ask for the list of verbs"
                )
            checked = _checked(verb, arguments)
            entering = writing if verb.writes else reading
            with entering(self._engine) as connection:
                return self._act(connection, verb, checked, who(connection))
        except Transient:
            raise
        except ExchangeError as error:
            self._note(verb, who, error)
            error.is_on_record = True
            raise

    def _act(self, connection: Connection, verb: Verb, arguments: Section, actor: Actor) -> Any:
        if actor.node and not verb.for_systems:
            raise NotAdmitted(f"{verb.name} is for people: a system decides nothing", where=actor.person)
        if verb.roles:
            actor.demand(*verb.roles, what=verb.name)
        moment = now_us(connection)
        turn = Turn(
            connection, self._engine, actor, self._profile, moment, self._signer, self._platform, verb.name
        )
        return verb.act(turn, arguments)

    def _note(self, verb: Verb | None, who: Who, error: ExchangeError) -> None:
        with writing(self._engine) as connection:
            try:
                actor = who(connection)
            except Refused:
                person, via = "", "unknown"
            else:
                person, via = actor.person, actor.via
            facts: dict[str, audit.Fact] = {"verb": verb.name if verb else "", "who": person, "via": via}
            facts |= {"code": error.code, "what": _told(verb, error), "where": error.where}
            audit.record(connection, DECISIONS, "refused", **facts)


def _told(verb: Verb | None, error: ExchangeError) -> str:
    """What may be written down: of arguments that are none, only which of them, since the words may hold anything."""
    if verb is None:
        return "there is no such verb"
    if not isinstance(error.__cause__, ValidationError):
        return error.what
    named = {str(fault["loc"][0]) for fault in error.__cause__.errors() if fault["loc"]}
    known = sorted(named & set(verb.arguments.model_fields))
    return f"the arguments are not what the verb takes: {', '.join(known) or 'others'}"


def _checked(verb: Verb, arguments: Mapping[str, Any]) -> Section:
    try:
        return verb.arguments.model_validate(arguments)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        said = [f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults]
        more = f"; and {len(said) - MOST_FAULTS} more" if len(said) > MOST_FAULTS else ""
        raise Refused("; ".join(said[:MOST_FAULTS]) + more, where=verb.name) from error
