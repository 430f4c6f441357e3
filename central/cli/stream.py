"""``stream``: what stopped a stream, and how a person decides. Every decision goes into the audit log with its reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from central.cli.options import DEFAULT_CONFIG, Config, Reason, Who, settings_of, store_of
from central.cli.output import Json, say, say_json, show, table, whoami

if TYPE_CHECKING:
    from central.ledger.progress import StreamRecord

app = typer.Typer(help="Streams: list, retry, skip, release.", no_args_is_help=True, rich_markup_mode=None)
Stream = Annotated[str, typer.Argument(help="NODE/SOURCE, as 'stream list' shows it.")]


@app.command("list")
def list_streams(as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """Every stream, how far it is, and what stopped it."""
    from central.ledger.progress import streams

    records = streams(store_of(settings_of(config)))
    if as_json:
        say_json([_plain(record) for record in records])
        return
    columns = ("stream", "state", "accepted", "applied", "held batch", "table", "says", "what to do")
    show(table(columns, [_row(record) for record in records]))


@app.command()
def retry(stream: Stream, who: Who = "", config: Config = DEFAULT_CONFIG) -> None:
    """Apply the held batch again, once its cause is mended."""
    from central.apply import Held

    Held(store_of(settings_of(config))).retry(stream, who or whoami())
    say(f"{stream} goes on with the batch that was held")


@app.command(short_help="Give the held batch up: a declared gap.")
def skip(
    stream: Stream,
    seq: Annotated[int, typer.Argument(help="The number of the held batch.")],
    digest: Annotated[str, typer.Argument(help="How its digest begins, as 'stream list --json' shows it.")],
    reason: Reason,
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give the held batch up: a declared gap, its tables must be copied afresh.

    Example: exchange-central stream skip population/hr 4711 9f3a --reason "the disk was replaced"
    """
    from central.apply import Held

    Held(store_of(settings_of(config))).skip(stream, seq, digest, who or whoami(), reason)
    say(f"batch {seq} of {stream} is skipped; next, at the node: exchange-agent snapshot TABLE")


@app.command(short_help="The two ends disagree and the node is right: go on from there.")
def release(stream: Stream, reason: Reason, who: Who = "", config: Config = DEFAULT_CONFIG) -> None:
    """The two ends disagree and the node is right: go on from its next word; what lies between is a declared gap.

    Afterwards, at the node: exchange-agent snapshot --all
    """
    from central.intake import Intake

    Intake(store_of(settings_of(config))).release(stream, who or whoami(), reason)
    say(f"{stream} is released: it goes on where the node's next hello says")
    say(f"next, at the node: exchange-agent snapshot --all --source {stream.rpartition('/')[2]}")


def _row(record: StreamRecord) -> tuple[str, ...]:
    held = str(record.held_seq) if record.held_seq else "–"
    place = (record.stream, record.state, str(record.accepted_seq), str(record.applied_seq), held)
    return (*place, record.held_table or "–", record.sentence, record.fix)


def _plain(record: StreamRecord) -> dict[str, Any]:
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(record).items()
    }
