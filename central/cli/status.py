"""``status`` and ``explain``: what the running central knows, asked with the operator's certificate."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from central.cli.options import DEFAULT_CONFIG, Config, NodeName, settings_of
from central.cli.output import Json, clean, say, say_json, show, table

if TYPE_CHECKING:
    from pathlib import Path

    from central.rpc.client import StatusClient
    from proto.v1 import status_pb2

# Narrow enough for a terminal of 80 columns; why something is not well stands below, where there is room.
COLUMNS = ("stream", "state", "applied", "rows/s", "capture", "push", "apply", "heard")
GRANT_COLUMNS = ("grant", "to", "state", "delivered", "behind", "late", "rows")
WELL = frozenset({"RUNNING", "IDLE", "SNAPSHOT"})


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew, until Ctrl-C.")] = False,
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
    node: NodeName,
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
    # Not by KeyboardInterrupt: where it strikes inside the channel's own clean-up, Python drops it.
    before = signal.signal(signal.SIGINT, lambda *_: client.stop_watching())
    try:
        if as_json:
            for reply in client.watch(int(every * 1000)):
                say_json(_plain(reply))
            return
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            for reply in client.watch(int(every * 1000)):
                live.update(_table(reply), refresh=True)
    finally:
        signal.signal(signal.SIGINT, before)


def _plain(reply: status_pb2.ListNodesReply) -> Any:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(reply, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _table(reply: status_pb2.ListNodesReply) -> Any:
    from rich.console import Group
    from rich.text import Text

    rows = [row for node in reply.nodes for row in _rows(node)]
    why = [line for node in reply.nodes for line in _why(node)]
    granted = [row for node in reply.nodes for row in _granted(node)]
    grants = [table(GRANT_COLUMNS, granted)] if granted else []
    return Group(table(COLUMNS, rows), *grants, *(Text(clean(line)) for line in why))


def _granted(node: status_pb2.NodeStatus) -> list[tuple[str, ...]]:
    return [
        (
            each.grant,
            node.node,
            each.state,
            _heard(each.last_us),
            str(each.behind),
            _late(each.lag_us),
            str(each.rows),
        )
        for each in node.deliveries
    ]


def _rows(node: status_pb2.NodeStatus) -> list[tuple[str, ...]]:
    if not node.streams:
        return [(node.node, node.state, *["–"] * 5, _heard(node.last_seen_us))]
    return [
        (
            stream.stream,
            _worse(node.state, stream.state),
            f"{stream.applied_seq} of {stream.accepted_seq}",
            f"{stream.rows_per_s:.0f}",
            *(_late(leg.lag_us) for leg in stream.legs),
            _heard(node.last_seen_us),
        )
        for stream in node.streams
    ]


def _why(node: status_pb2.NodeStatus) -> list[str]:
    """One line for everything that is not well, or waits for a person."""
    from central.status.explain import held_line

    lines = [
        f"{each.stream} {each.state}: {each.sentence}" for each in node.streams if each.state not in WELL
    ]
    lines += [held_line(each.stream, table) for each in node.streams for table in each.held]
    if not lines and node.state not in WELL:
        lines = [f"{node.node} {node.state}: {node.sentence}"]
    # It flows, and yet somebody has to move.
    lines += [
        f"{each.stream}: {leg.sentence}"
        for each in node.streams
        if each.state in WELL
        for leg in each.legs
        if leg.fix
    ]
    lines += [
        f"{each.grant} {each.state}: {each.sentence}" for each in node.deliveries if each.state not in WELL
    ]
    lines += [f"{node.node}: {each}" for each in node.notices]
    lines += [
        f"{each.grant} at {node.node} {each.received.state}: {each.received.sentence}"
        for each in node.deliveries
        if each.received.whose_move == "consumer"
    ]
    return [*lines, f"  → exchange-central explain {node.node}"] if lines else []


def _worse(node: str, stream: str) -> str:
    return stream if node in WELL | {stream} else node


def _heard(at_us: int) -> str:
    from central.status.explain import duration

    return f"{duration(max(0, time.time_ns() // 1000 - at_us))} ago" if at_us else "never"


def _late(lag_us: int) -> str:
    return f"{lag_us / 1_000_000:.1f} s" if lag_us else "–"
