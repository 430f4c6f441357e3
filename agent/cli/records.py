"""Batches and held changes, printed row by row: made for people, and nothing else prints values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.cli.console import load, say
from agent.exchange import Exchange, open_exchange
from agent.settings import Settings
from agent.sources.kinds import SourceSettings
from proto import codec, frames, values
from proto.batch import Delta, Frames, Partial
from proto.errors import Refused
from proto.process.logs import escape
from proto.schema import TableSchema

ROWS: Final = 20
VALUE_CHARACTERS: Final = 200


@contextmanager
def exchange_of(config: Path, source: str) -> Iterator[Exchange]:
    """The exchange database of one source, to look at; the running agent is not disturbed."""
    settings = load(config)
    name = chosen(settings, source).name
    engine = open_exchange(settings.exchange.url.get_secret_value(), settings.node)
    exchange = Exchange(engine, settings.stream(name))
    try:
        yield exchange
    finally:
        exchange.close()
        engine.dispose()


def chosen(settings: Settings, source: str) -> SourceSettings:
    """The source called *source*, or the only one."""
    named = [
        one for one in settings.sources if one.name == source or (not source and len(settings.sources) == 1)
    ]
    if not named:
        names = ", ".join(one.name for one in settings.sources)
        raise Refused(
            f"there is no source {source}" if source else "there are several sources",
            fix=f"name one with --source: {names}",
        )
    return named[0]


def print_batch(exchange: Exchange, seq: int, rows: int = ROWS) -> None:
    """The batch *seq*: where it stands in its chain, and its rows."""
    found = exchange.read_outbox(seq - 1, 1)
    if not found or found[0].seq != seq:
        raise Refused(
            f"batch {seq} is not in the outbox: never written, or forgotten after central had it",
            where=exchange.stream,
            fix="exchange.keep_days says how long batches are kept",
        )
    sealed = found[0]
    batch = codec.decode(sealed.header, sealed.payload)
    say(f"stream    {sealed.stream}")
    say(f"number    {sealed.seq}   epoch {sealed.epoch}   digest {sealed.digest.hex()[:16]}…")
    say(f"position  {batch.position}{'   (continues in the next batch)' if batch.continues else ''}")
    say(f"rows      {batch.rows}   transactions {batch.transactions}   bytes {len(sealed.payload)}")
    print_deltas(batch.deltas, rows)


def print_deltas(deltas: Iterable[Delta], rows: int = ROWS) -> None:
    """The rows of some deltas, at most *rows* of each kind."""
    for delta in deltas:
        schema = delta.schema
        say(f"\ntable     {escape(schema.name)}{'   emptied first' if delta.truncated else ''}")
        every = range(len(schema.columns))
        _print_rows("delete", delta.deletes, schema, schema.key_indexes, rows)
        for partial in delta.partials:
            _print_rows("change", partial.frames, schema, _columns_of(partial, schema), rows)
        _print_rows("upsert", delta.upserts, schema, every, rows)
        _print_rows("insert", delta.inserts, schema, every, rows)


def _columns_of(partial: Partial, schema: TableSchema) -> tuple[int, ...]:
    return (*schema.key_indexes, *partial.columns)


def _print_rows(word: str, section: Frames, schema: TableSchema, columns: Iterable[int], limit: int) -> None:
    places = list(columns)
    for frame in frames.split(section.data)[:limit]:
        fields = zip(places, frames.fields(frame), strict=True)
        say(f"  {word}  " + ", ".join(_value(schema, place, data) for place, data in fields))
    if section.count > limit:
        say(f"  … {section.count - limit} more to {word}")


def _value(schema: TableSchema, place: int, data: bytes | None) -> str:
    column = schema.columns[place]
    if data is None:
        return f"{escape(column.name)}=NULL"
    text = escape(values.to_text(column.kind, data))
    return f"{escape(column.name)}={text[:VALUE_CHARACTERS]}{'…' if len(text) > VALUE_CHARACTERS else ''}"
