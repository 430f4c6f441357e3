"""``check``: every prerequisite looked at, each failure with what mends it; changes nothing."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from central.cli.options import DEFAULT_CONFIG, Config, settings_of
from central.cli.output import Json, say, say_json
from proto.errors import ExchangeError, Refused

if TYPE_CHECKING:
    from central.policy import Profile
    from central.settings import Settings


SettingsOnly = Annotated[
    bool,
    typer.Option("--settings-only", help="Read the file and ask nobody: what a start needs to be right."),
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite."""

    name: str
    passed: bool
    sentence: str
    fix: str = ""


def check(
    as_json: Json = False, config: Config = DEFAULT_CONFIG, settings_only: SettingsOnly = False
) -> None:
    """Look at every prerequisite and say how to mend what is missing; change nothing.

    Exit code 0: all is well, 1: something is missing, 2: the settings are wrong.
    """
    settings = settings_of(config)
    _profile(settings)
    findings = [] if settings_only else list(_findings(settings))
    if as_json:
        say_json(
            [{"name": f.name, "passed": f.passed, "sentence": f.sentence, "fix": f.fix} for f in findings]
        )
    else:
        for each in findings:
            fix = f" — {each.fix}" if each.fix else ""
            say(f"{'ok  ' if each.passed else 'FAIL'} {each.name}: {each.sentence}{fix}")
    if not all(each.passed for each in findings):
        raise typer.Exit(1)


def _findings(settings: Settings) -> Iterator[Finding]:
    looks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("python", _python),
        ("policy", _policy),
        ("certificate", _certificate),
        ("name", _name),
        ("issuer", _issuer),
        ("operator", _operator),
        ("database", _database),
        ("disk", _disk),
        ("listen", _listen),
        ("reflection", _reflection),
    )
    for name, look in looks:
        try:
            yield Finding(name, True, look(settings))
        except ExchangeError as error:
            place = f"{error.where}: " if error.where else ""
            yield Finding(name, False, f"{error.code}: {place}{error.what}", error.fix)


def _profile(settings: Settings) -> Profile:
    """What a start needs to be right beside the settings: a policy that loads, and a platform that it allows."""
    from central.daemon.office import profile_of

    return profile_of(settings)


def _policy(settings: Settings) -> str:
    profile = _profile(settings)
    left = f", {len(profile.open_points)} points left open by its text" if profile.open_points else ""
    return f"{profile.name}: {profile.title}, {profile.source}{left}; {_holidays(profile)}"


def _holidays(profile: Profile) -> str:
    """Time limits that reach into a year without holidays are too short; better told before that year."""
    last = max((each.year for each in profile.calendar.years), default=0)
    known = f"holidays known until {last}" if last else "no holidays known"
    return known if last > datetime.now(UTC).year else f"{known}: add the next year, see docs/sharing.md"


def _python(_settings: Settings) -> str:
    return f"{sys.version.split()[0]}"


def _certificate(settings: Settings) -> str:
    from proto.channel import preflight

    end = preflight(settings.tls.files).not_after
    left = (end - datetime.now(UTC)).days
    return f"valid until {end:%Y-%m-%d}, {left} days"


def _name(settings: Settings) -> str:
    """Nodes compare the name they connect to with the names in the certificate."""
    from central.ca import hosts_in

    host = settings.address.rpartition(":")[0].strip("[]")
    names = hosts_in(settings.tls.certificate)
    if host not in names:
        raise Refused(
            f"nodes connect to {host}, but the certificate names {', '.join(names) or 'nothing'}",
            where="advertise",
            fix="change 'advertise', or issue a certificate with that name",
        )
    return f"{host} is a name in the certificate"


def _issuer(settings: Settings) -> str:
    from central.ca import Authority

    if settings.issuer is None:
        return "none; certificates come from elsewhere"
    end = Authority.load(settings.issuer.certificate, settings.issuer.key).certificate.not_valid_after_utc
    return f"valid until {end:%Y-%m-%d}"


def _operator(settings: Settings) -> str:
    from proto.channel import TlsFiles, preflight

    if settings.operator is None:
        return "none; 'status' and 'explain' do not work from here"
    files = TlsFiles(settings.tls.ca, settings.operator.certificate, settings.operator.key)
    return f"{preflight(files).uri}"


def _database(settings: Settings) -> str:
    from central.store import open_store, reading
    from central.store.migration import version

    engine = open_store(settings.database.get_secret_value(), 1)
    try:
        with reading(engine) as connection:
            known = version(connection)
    finally:
        engine.dispose()
    return f"{engine.url.render_as_string()}: {f'version {known}' if known else 'empty, will be set up at start'}"


def _disk(settings: Settings) -> str:
    from central.daemon.disk import Room

    room = Room.of(settings)
    room.look()
    return room.sentence


def _listen(settings: Settings) -> str:
    import socket

    host, _, port = settings.listen.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with closing(socket.socket(family)) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((host.strip("[]"), int(port)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _answers(settings):
            return f"{settings.listen} is central's own: it is running"
        fix = "choose another address, or stop what listens there"
        raise Refused(f"{error.strerror}", where=settings.listen, fix=fix) from error
    return f"{settings.listen} is free"


def _answers(settings: Settings) -> bool:
    """Whether a central with our authority's certificate is reached there."""
    from proto.channel import TlsFiles, probe

    if settings.operator is None:
        return False
    try:
        probe(
            settings.address, TlsFiles(settings.tls.ca, settings.operator.certificate, settings.operator.key)
        )
    except ExchangeError:
        return False
    return True


def _reflection(settings: Settings) -> str:
    from importlib.util import find_spec

    if settings.reflection and find_spec("grpc_reflection") is None:
        raise Refused(
            "the package grpcio-reflection is missing", fix="install it, or set reflection to false"
        )
    return "on" if settings.reflection else "off"
