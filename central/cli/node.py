"""``node``: who may connect. Works on the database, so it needs no running central."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from central.cli.options import DEFAULT_CONFIG, Config, NodeName, Reason, Who, settings_of, store_of
from central.cli.output import Json, moment, say, say_json, show, table, whoami
from proto.errors import ExchangeError, Refused

if TYPE_CHECKING:
    from central.registry import NodeRecord
    from central.settings import Settings
    from proto.channel import Identity

app = typer.Typer(help="Nodes: add, list, show, revoke.", no_args_is_help=True, rich_markup_mode=None)


@app.command(short_help="Let a node in: issue and register its certificate.")
def add(
    name: NodeName,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to put the files; ./NAME by default.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Register this one, issued elsewhere; issue nothing.")
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=825, help="How long the certificate is valid.")
    ] = 90,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Let a node in: issue its key and certificate, and register the certificate's fingerprint.

    Example: exchange-central node add population --out population-bundle
    """
    from central.store.names import check_name

    settings = settings_of(config)
    check_name(name)
    if certificate is not None:
        identity = _foreign(certificate, name)
        _register(settings, name, identity)
        say(
            f"registered {name} with fingerprint {identity.fingerprint}, valid until {moment(identity.not_after_us)}"
        )
        return
    folder = (out or Path(name)).absolute()
    identity = _issue(settings, name, folder, days)
    say(f"wrote {folder}/node.key, node.pem and ca.pem, valid until {moment(identity.not_after_us)}")
    say(f"fingerprint {identity.fingerprint}")
    say(
        f"next: take the folder to the department's server and run there: exchange-agent init --node {name}"
        f" --central {settings.address} --certificates FOLDER"
    )


@app.command("list")
def list_nodes(as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """Every node and how long its certificate lasts."""
    from central.registry import Registry

    records = Registry(store_of(settings_of(config))).nodes()
    if as_json:
        say_json([_plain(record) for record in records])
        return
    columns = ("node", "admitted", "certificates", "valid until", "last heard")
    show(table(columns, [_row(record) for record in records]))


@app.command("show")
def show_node(name: NodeName, as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """One node with its certificates."""
    from central.registry import Registry

    record = Registry(store_of(settings_of(config))).node(name)
    if record is None:
        raise Refused("no such node", where=name, fix="see 'exchange-central node list'")
    if as_json:
        say_json(_plain(record))
        return
    say(
        f"{record.node}: {'revoked' if record.revoked else 'admitted'}, last heard {moment(record.last_seen_us)}"
    )
    for each in record.certificates:
        word = "revoked" if each.revoked else f"valid until {moment(each.not_after_us)}"
        say(f"  {each.fingerprint}  {word}")


@app.command()
def revoke(name: NodeName, reason: Reason, who: Who = "", config: Config = DEFAULT_CONFIG) -> None:
    """Shut a node out with all its certificates, within seconds."""
    from central.registry import Registry

    Registry(store_of(settings_of(config))).revoke(name, who or whoami(), reason)
    say(f"{name} is revoked; open connections end within seconds. 'node add {name}' lets it in again")


def _issue(settings: Settings, name: str, folder: Path, days: int) -> Identity:
    from central.ca import Authority, write_new

    if settings.issuer is None:
        raise Refused(
            "the settings name no issuer", fix="use --certificate with one that was issued elsewhere"
        )
    issued = Authority.load(settings.issuer.certificate, settings.issuer.key).issue_node(name, days)
    certificate, key, bundle = folder / "node.pem", folder / "node.key", folder / "ca.pem"
    issued.write(certificate, key)
    try:
        write_new(bundle, settings.tls.ca.read_bytes())
        _register(settings, name, issued.identity)
    except ExchangeError:
        # An unregistered key is of no use and only stands in the way of the next attempt.
        for path in (certificate, key, bundle):
            with suppress(FileNotFoundError):
                path.unlink()
        raise
    return issued.identity


def _foreign(certificate: Path, name: str) -> Identity:
    from central.ca import NODE_URI
    from proto.channel import identity_of_pem

    try:
        identity = identity_of_pem(certificate.read_bytes(), str(certificate))
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where=str(certificate)) from error
    if identity.uri != NODE_URI + name:
        raise Refused(
            f"it names {identity.uri or 'no URI'}, not {NODE_URI}{name}",
            where=str(certificate),
            fix="have it issued with that URI as subject alternative name",
        )
    return identity


def _register(settings: Settings, name: str, identity: Identity) -> None:
    from central.registry import Registry

    Registry(store_of(settings)).add(name, identity.fingerprint, identity.not_after_us, whoami())


def _row(record: NodeRecord) -> tuple[str, ...]:
    usable = sum(not each.revoked for each in record.certificates)
    admitted = "revoked" if record.revoked else "yes"
    return (record.node, admitted, str(usable), moment(record.not_after_us), moment(record.last_seen_us))


def _plain(record: NodeRecord) -> dict[str, Any]:
    return {
        "node": record.node,
        "revoked": record.revoked,
        "added_us": record.added_us,
        "last_seen_us": record.last_seen_us,
        "clock_skew_us": record.clock_skew_us,
        "not_after_us": record.not_after_us,
        "version": record.report.version,
        "certificates": [
            {"fingerprint": each.fingerprint, "not_after_us": each.not_after_us, "revoked": each.revoked}
            for each in record.certificates
        ],
    }
