"""``audit export`` and ``audit verify-export``: the log as files, and whether such files are whole; and others."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from central.cli.options import DEFAULT_CONFIG, Config, settings_of, store_of
from central.cli.output import Json, say, say_json
from central.cli.who_received import who_received
from proto.errors import Diverged, Refused

_Heads = Annotated[
    list[Path] | None,
    typer.Option(
        "--heads", help="What others hold: a node's checkpoints, or the folder of an earlier export."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Give the group these commands."""
    app.command("export", short_help="Write the log as signed files.")(export)
    app.command("verify-export", short_help="Whether such files are whole; needs no database.")(verify_export)
    app.command("who-received", short_help="Who got one item of one person.")(who_received)


def export(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    since: Annotated[str, typer.Option("--since", help="Only records from then on; ISO 8601.")] = "",
    until: Annotated[str, typer.Option("--until", help="Only records before then; ISO 8601.")] = "",
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write every chain of records, every checkpoint and a signed index into a folder.

    Example: exchange-central audit export --out log-2026 --since 2026-01-01T00:00:00+08:00
    """
    from central.daemon.office import signer_of
    from central.log.export import export_log

    settings = settings_of(config)
    since_us, until_us = moment_of(since, "--since"), moment_of(until, "--until")
    made = export_log(store_of(settings), signer_of(settings), out, since_us, until_us)
    if as_json:
        say_json(
            {
                "folder": str(made.folder),
                "chains": made.chains,
                "records": made.records,
                "checkpoint": made.checkpoint,
                "digest": made.index_digest,
            }
        )
        return
    say(
        f"{made.records} records of {made.chains} chains, up to checkpoint {made.checkpoint}, in {made.folder}"
    )
    say(f"digest {made.index_digest}")
    say(f"next: exchange-central audit verify-export {made.folder} --ca {settings.tls.ca}")


def verify_export(
    folder: Annotated[Path, typer.Argument(help="As 'audit export' wrote it.")],
    ca: Annotated[Path, typer.Option("--ca", help="The authority that issued the platform's certificate.")],
    heads: _Heads = None,
    as_json: Json = False,
) -> None:
    """Find records that were changed, removed, put in or put elsewhere; with --heads also an end that is missing.

    Works anywhere: no database, no settings. Example: exchange-central audit verify-export log-2026 --ca ca.pem
    --heads checkpoints-of-police.jsonl --heads log-2025
    """
    from central.log.checking import check_export

    try:
        authorities = ca.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where=str(ca)) from error
    report = check_export(folder, authorities, heads or [])
    findings = [{"chain": each.chain, "n": each.n, "what": each.what} for each in report.findings]
    if as_json:
        counts = {name: getattr(report, name) for name in ("records", "chains", "checkpoints", "witnesses")}
        say_json({**counts, "digest": report.index_digest, "findings": findings, "notes": report.notes})
    else:
        for each in report.findings:
            say(str(each))
        for note in report.notes:
            say(f"note: {note}")
    if report.findings:
        first = report.findings[0]
        fix = "keep these files as they are; compare them with another export and with what nodes hold"
        raise Diverged(f"record {first.n} {first.what}", where=f"audit chain {first.chain}", fix=fix)
    if not as_json:
        said = f"{report.records} records of {report.chains} chains are as they were written"
        say(f"{said}; {report.checkpoints} checkpoints lead to them")
        if report.witnesses:
            say(f"{report.witnesses} witnessed ends are in it: nothing is missing before them")
        else:
            say("next: whether the end is missing only others can tell: --heads with what nodes hold")


def moment_of(text: str, where: str) -> int:
    """Microseconds since 1970; 0 for nothing. Raises Refused."""
    if not text:
        return 0
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("is not a time", where=where, fix="like 2026-01-31T00:00:00+08:00") from error
    # Without an offset it is the time of the machine.
    return int(found.timestamp() * 1_000_000)
