"""Everything ``check`` looks at beyond the settings themselves: each answer with the exact remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from agent.binding import bind
from agent.daemon.catalogue import verified
from agent.daemon.node import version_of_us
from agent.exchange import Signed, open_exchange
from agent.exchange.store import server_of
from agent.imports import Target
from agent.jobs import WARN_DAYS
from agent.link import Address, Link
from agent.local import LocalClient
from agent.settings import ImportSettings, Settings
from agent.sources.kinds import SourceSettings, new_source
from agent.sources.source import Finding, Forgetting, NoMirror
from proto.errors import ExchangeError
from proto.signing import SignatureWrong
from proto.v1 import node_pb2


def findings(settings: Settings) -> Iterator[Finding]:
    """Each prerequisite in turn; nothing is changed anywhere."""
    central = settings.central
    link = Link(Address(central.address, central.files, central.server_name))
    certificate = _found("certificate", lambda: _certificate(link, settings.node))
    yield certificate
    if certificate.passed:
        reached = _found("central", lambda: _central(link, settings))
        yield reached
        if reached.passed:
            yield from _catalogue(link, settings)
        link.close()
    yield _found("exchange database", lambda: _exchange(settings))
    yield _found("socket", lambda: _socket(settings.socket))
    for source in settings.sources:
        yield from _source(source)
        yield from _log_left(settings, source)
    for each in settings.imports:
        yield _found(f"import {each.name}", partial(_import, each, settings.node))


def _found(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except ExchangeError as error:
        return Finding(name, False, f"{f'{error.where}: ' if error.where else ''}{error.what}", error.fix)


def _certificate(link: Link, node: str) -> Finding:
    identity = link.identity()
    wanted = f"urn:exchange:node:{node}"
    if identity.uri != wanted:
        return Finding(
            "certificate",
            False,
            f"it names {identity.uri or 'nobody'}, the settings say {wanted}",
            "use this node's certificate, or correct 'node'",
        )
    days = (identity.not_after - datetime.now(UTC)).days
    soon = ", which is soon: have it renewed" if days <= max(WARN_DAYS) else ""
    return Finding("certificate", True, f"{identity.uri}, valid for {days} more days{soon}")


def _central(link: Link, settings: Settings) -> Finding:
    link.probe()
    link.heartbeat(node_pb2.HeartbeatRequest(version=version_of_us(), clock_us=0))
    return Finding("central", True, f"{settings.central.address} answers and admits {settings.node}")


def _catalogue(link: Link, settings: Settings) -> Iterator[Finding]:
    """What the platform's catalogue lets leave of what the settings ask for."""
    try:
        said = link.catalogue()
        signed = Signed(said.document, said.signature, said.certificate)
        part = verified(signed, settings.central.ca, settings.node)
    except ExchangeError as error:
        unsigned = not isinstance(error, SignatureWrong)
        yield Finding("catalogue", unsigned, error.what, error.fix)
        return
    if not part.release:
        yield Finding("catalogue", True, "the platform has released none yet: what the settings name leaves")
    for source in settings.sources if part.release else ():
        name, bound = f"catalogue: source {source.name}", bind(source.name, source.tables, part)
        for table in bound.reasons:
            hold = bound.hold(table)
            yield Finding(f"{name}: {table}", False, bound.reasons[table], hold.fix if hold else "")
        kept = f"; not shared, and kept here: {bound.sentence}" if bound.kept else ""
        yield Finding(name, True, f"release {part.release} lets {len(bound.tables)} tables leave{kept}")


def _exchange(settings: Settings) -> Finding:
    url = make_url(settings.exchange.url.get_secret_value())
    if url.get_backend_name() == "sqlite":
        return _sqlite_file(Path(url.database or ""))
    engine = open_exchange(settings.exchange.url.get_secret_value(), settings.node)
    try:
        with engine.connect() as connection:
            server_of(engine).probe(connection)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return Finding(
            "exchange database",
            False,
            f"{url.render_as_string(hide_password=True)}: {said}",
            server_of(engine).grant(url),
        )
    finally:
        engine.dispose()
    return Finding("exchange database", True, f"{url.render_as_string(hide_password=True)} can be written")


def _sqlite_file(path: Path) -> Finding:
    """Not opened: a file made here would belong to whoever checks, and the agent could not write it."""
    place = path if path.exists() else path.parent
    if not place.exists():
        return Finding("exchange database", False, f"{place} does not exist", f"mkdir -p -m 0700 {place}")
    if not os.access(place, os.W_OK):
        return Finding(
            "exchange database",
            False,
            f"{place} cannot be written by this account",
            f"chown exchange-agent {place}",
        )
    return Finding("exchange database", True, f"sqlite {path} can be written")


def _socket(path: Path) -> Finding:
    parent = next(folder for folder in path.parents if folder.exists())
    if not os.access(parent, os.W_OK):
        return Finding("socket", False, f"{path} cannot be made by this account", f"mkdir -p {path.parent}")
    return Finding("socket", True, f"{path} can be made")


def _log_left(settings: Settings, source: SourceSettings) -> Iterator[Finding]:
    """A warning if the source's log will soon be gone; only a running agent knows how far it has read."""
    reader = new_source(source, NoMirror())
    if not isinstance(reader, Forgetting):
        return
    try:
        with LocalClient(settings.socket) as agent:
            streams = agent.status().streams
        position = next(
            (each.position for each in streams if each.stream == f"{settings.node}/{source.name}"), ""
        )
        found = reader.fading(position) if position else None
    except ExchangeError:
        # Not running, or the source cannot be reached, which its own findings say.
        return
    if found is not None:
        yield Finding(f"source {source.name}: log left", found.share < 1, found.sentence, found.fix)


def _import(settings: ImportSettings, node: str) -> Finding:
    """Proven by doing what it will do, and undoing it."""
    target = Target(settings.url.get_secret_value(), node, settings.room, settings.table)
    name = f"import {settings.name}"
    try:
        target.probe()
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        fix = "let the account make tables there and write them"
        return Finding(name, False, f"{target.place}: {said}", fix)
    finally:
        target.close()
    return Finding(name, True, f"{target.place}: tables can be made and written there")


def _source(settings: SourceSettings) -> Iterator[Finding]:
    try:
        found = new_source(settings, NoMirror()).check()
    except ExchangeError as error:
        yield Finding(f"source {settings.name}", False, error.what, error.fix)
        return
    for finding in found:
        yield Finding(
            f"source {settings.name}: {finding.name}", finding.passed, finding.sentence, finding.fix
        )
