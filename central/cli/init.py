"""``init``: everything a first central needs, in one folder, without overwriting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from central.cli.output import say, whoami

OPERATOR = "admin"


def init(
    directory: Annotated[Path, typer.Option("--dir", help="Where to write.")] = Path("/etc/exchange-node"),
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Host name or address nodes connect to; may be repeated."),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="Where to listen.", min=1, max=65535)] = 7443,
    database: Annotated[
        str, typer.Option("--database", help="SQLAlchemy URL; a file in the folder by default.")
    ] = "",
    organisation: Annotated[
        str, typer.Option("--organisation", help="The authority's name.")
    ] = "exchange node CA",
) -> None:
    """Write commented settings and make a trial authority, a server and an operator certificate.

    Example: exchange-central init --dir central --name platform.example
    """
    from central.ca import make_authority, save_authority, write_new
    from central.cli.template import Answers, render
    from central.registry import Registry
    from central.settings import Settings
    from central.store import migrate, open_store
    from proto.errors import Refused
    from proto.process import load_settings

    folder, names = directory.absolute(), name or ["localhost", "127.0.0.1"]
    config = folder / "central.yaml"
    if config.exists():
        raise Refused(
            "is there already and is not overwritten", where=str(config), fix="choose another --dir"
        )
    url = database or f"sqlite:///{folder / 'central.db'}"
    authority = make_authority(organisation)
    server, operator = authority.issue_server(names), authority.issue_operator(OPERATOR)
    platform = authority.issue_platform(names[0])
    tls = folder / "tls"
    save_authority(authority, tls / "ca.pem", tls / "ca.key")
    server.write(tls / "server.pem", tls / "server.key")
    operator.write(tls / "operator.pem", tls / "operator.key")
    platform.write(tls / "platform.pem", tls / "platform.key")
    write_new(config, render(Answers(folder, f"{_bracketed(names[0])}:{port}", port, url)).encode())
    settings = load_settings(config, Settings)
    engine = open_store(settings.database.get_secret_value(), 1)
    migrate(engine)
    identity = operator.identity
    Registry(engine).add_operator(OPERATOR, identity.fingerprint, identity.not_after_us, whoami())
    engine.dispose()
    say(f"wrote {config} and the certificates in {tls}")
    say(f"next: exchange-central check -c {config}")
    say(f"then: exchange-central serve -c {config}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
