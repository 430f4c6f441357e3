"""``stream``: what stopped a stream, and how a person decides. Every decision goes into the audit log with its reason."""

from __future__ import annotations

from collections.abc import Iterator
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
    show(table(columns, [row for record in records for row in _rows(record)]))


@app.command(short_help="Apply again what is held, once its cause is mended.")
def retry(
    stream: Stream,
    table: Annotated[str, typer.Argument(help="One held table; without it, everything held.")] = "",
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Apply again what is held of a stream, or of one of its tables, once its cause is mended.

    What waits of a table goes in from the ledger, in order, while the other tables go on.
    """
    from central.apply import Held

    held, tables = Held(store_of(settings_of(config))), [table]
    if table:
        held.retry_table(stream, table, who or whoami())
    else:
        tables = held.retry(stream, who or whoami())
    for each in tables:
        say(f"table {each} of {stream}: what waits goes in from the ledger")
    if not tables:
        say(f"{stream} goes on with the batch that was held")
    say("next: exchange-central stream list")


@app.command(short_help="Give the held batch up: a declared gap.")
def skip(
    stream: Stream,
    seq: Annotated[int, typer.Argument(help="The number of the held batch.")],
    digest: Annotated[str, typer.Argument(help="How its digest begins, as 'stream list --json' shows it.")],
    reason: Reason,
    table: Annotated[str, typer.Option("--table", help="The table, where the batch holds that alone.")] = "",
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Give the held batch up: a declared gap, its tables must be copied afresh; with --table, for that table alone.

    Example: exchange-central stream skip population/hr 4711 9f3a --reason "the disk was replaced"
    """
    from central.apply import Held

    held, who = Held(store_of(settings_of(config))), who or whoami()
    if table:
        held.skip_table(stream, table, (seq, digest), (who, reason))
    else:
        held.skip(stream, seq, digest, who, reason)
    skipped = f"batch {seq} of {stream} is skipped{f' for table {table}' if table else ''}"
    say(f"{skipped}; next, at the node: exchange-agent snapshot {table or 'TABLE'}")


@app.command(short_help="The two ends disagree and the node is right: go on from there.")
def release(stream: Stream, reason: Reason, who: Who = "", config: Config = DEFAULT_CONFIG) -> None:
    """The two ends disagree and the node is right: go on from its next word; what lies between is a declared gap.

    Afterwards, at the node: exchange-agent snapshot --all
    """
    from central.intake import Intake

    Intake(store_of(settings_of(config))).release(stream, who or whoami(), reason)
    say(f"{stream} is released: it goes on where the node's next hello says")
    say(f"next, at the node: exchange-agent snapshot --all --source {stream.rpartition('/')[2]}")


def _rows(record: StreamRecord) -> Iterator[tuple[str, ...]]:
    """The stream's, and one for each table that is held."""
    held = str(record.held_seq) if record.held_seq else "–"
    place = (record.stream, record.state, str(record.accepted_seq), str(record.applied_seq), held)
    yield (*place, "–", record.sentence, record.fix)
    for each in record.tables:
        place = (record.stream, each.state, str(record.accepted_seq), str(each.after.seq), str(each.held_seq))
        doing = "being applied again; " if each.is_asked else ""
        yield (*place, each.table, doing + each.sentence, each.fix)


def _plain(record: StreamRecord) -> dict[str, Any]:
    return {name: _value(value) for name, value in asdict(record).items()}


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _value(each) for name, each in value.items()}
    return [_value(each) for each in value] if isinstance(value, list | tuple) else value
