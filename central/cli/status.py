"""``status`` and ``explain``: what the running central knows, asked with the operator's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from central.cli.options import DEFAULT_CONFIG, Config, settings_of
from central.cli.output import Json, moment, say, say_json, show, table

if TYPE_CHECKING:
    from pathlib import Path

    from central.rpc.client import StatusClient
    from proto.v1 import status_pb2

COLUMNS = (
    "node",
    "state",
    "stream",
    "accepted",
    "applied",
    "rows/s",
    "capture",
    "push",
    "apply",
    "last heard",
    "says",
)


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until interrupted.")] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between looks.", min=0.5, max=60)] = 1.0,
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Every node and stream: its state, how far it is and how late."""
    with _client(config) as client:
        if watch:
            _watch(client, every, as_json)
        elif as_json:
            say_json(_plain(client.nodes()))
        else:
            show(_table(client.nodes()))


def explain(
    node: str,
    as_json: Json = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Where a node's data is waiting, why, whose move it is and what to do; one line per leg."""
    with _client(config) as client:
        lines = client.explain(node)
    if as_json:
        say_json({"node": node, "lines": lines})
    else:
        say("\n".join(lines))


def _client(config: Path) -> StatusClient:
    from central.rpc.client import StatusClient
    from proto.channel import TlsFiles
    from proto.errors import Refused

    settings = settings_of(config)
    if settings.operator is None:
        raise Refused(
            "the settings name no operator certificate", where=str(config), fix="fill in 'operator'"
        )
    tls = TlsFiles(settings.tls.ca, settings.operator.certificate, settings.operator.key)
    return StatusClient(settings.address, tls)


def _watch(client: StatusClient, every: float, as_json: bool) -> None:
    try:
        if as_json:
            for reply in client.watch(int(every * 1000)):
                say_json(_plain(reply))
            return
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            for reply in client.watch(int(every * 1000)):
                live.update(_table(reply), refresh=True)
    except KeyboardInterrupt:
        return


def _plain(reply: status_pb2.ListNodesReply) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _table(reply: status_pb2.ListNodesReply) -> Any:
    return table(COLUMNS, [row for node in reply.nodes for row in _rows(node)])


def _rows(node: status_pb2.NodeStatus) -> list[tuple[str, ...]]:
    heard = moment(node.last_seen_us)
    if not node.streams:
        return [(node.node, node.state, *["–"] * 7, heard, node.sentence)]
    return [
        (
            node.node,
            stream.state if node.state in {stream.state, "IDLE", "RUNNING", "SNAPSHOT"} else node.state,
            stream.stream,
            str(stream.accepted_seq),
            str(stream.applied_seq),
            f"{stream.rows_per_s:.0f}",
            *(_late(leg.lag_us) for leg in stream.legs),
            heard,
            stream.sentence,
        )
        for stream in node.streams
    ]


def _late(lag_us: int) -> str:
    return f"{lag_us / 1_000_000:.1f} s" if lag_us else "–"
