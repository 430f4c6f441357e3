"""How fast push ships an outbox, and what that costs: real TLS, an exchange database on SQLite, a receiver that only acknowledges.

python -m tests.bench.push [MiB]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import grpc

from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.link import Address, Link
from agent.push import Push, PushLimits
from agent.worker import run_worker
from central.ca import make_authority, save_authority
from proto.batch import Batch, Delta, Frames
from proto.channel import SERVER_OPTIONS, TlsFiles, server_credentials
from proto.schema import Column, TableSchema
from proto.v1 import exchange_pb2, exchange_pb2_grpc
from proto.values import Kind

BATCH_BYTES: Final = 280 * 1024
NOISE: Final = TableSchema("noise", (Column("data", Kind.BYTES),), ())


class Receiver(exchange_pb2_grpc.ExchangeServicer):
    """Acknowledges every whole batch."""

    def Push(
        self, request_iterator: Iterator[exchange_pb2.PushRequest], context: grpc.ServicerContext
    ) -> Iterator[exchange_pb2.PushReply]:
        """As central would, without remembering anything."""
        next(request_iterator)
        welcome = exchange_pb2.Welcome(protocol=1, window_batches=64, window_bytes=32 << 20)
        yield exchange_pb2.PushReply(welcome=welcome)
        missing = received = 0
        for request in request_iterator:
            received += len(request.part.payload)
            missing = (request.part.payload_bytes or missing) - len(request.part.payload)
            seq = request.part.seq - bool(missing)
            yield exchange_pb2.PushReply(ack=exchange_pb2.Ack(seq=seq, received_bytes=received))


def receive(tls: TlsFiles, pipe: Connection) -> None:
    """The receiver's process."""
    server = grpc.server(ThreadPoolExecutor(2), options=SERVER_OPTIONS)
    exchange_pb2_grpc.add_ExchangeServicer_to_server(Receiver(), server)
    pipe.send(server.add_secure_port("127.0.0.1:0", server_credentials(tls)))
    server.start()
    pipe.recv()


def fill(exchange: Exchange, size_bytes: int) -> int:
    """Commit batches that cannot be compressed; returns how many."""
    count = max(1, size_bytes // BATCH_BYTES)
    for number in range(count):
        value = os.urandom(BATCH_BYTES)
        frame = b"\x00\x01" + len(value).to_bytes(4, "big") + value
        exchange.commit([Batch(f"{number:08}", (Delta(NOISE, inserts=Frames(frame, 1)),), 1, 2, 1)])
    return count


def ship(exchange: Exchange, address: Address, count: int) -> tuple[float, float]:
    """Push everything; returns seconds and seconds of CPU of this process."""
    push = Push(exchange, Link(address), PushLimits())
    stop = threading.Event()
    began, cpu = time.monotonic(), time.process_time()
    worker = threading.Thread(target=run_worker, args=("push", push.step, stop, push.state))
    worker.start()
    while push.facts().acknowledged_seq < count:
        stop.wait(0.01)
    took = time.monotonic() - began, time.process_time() - cpu
    stop.set()
    worker.join()
    push.close()
    return took


def main() -> None:
    """Fill an outbox and ship it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mib", type=int, nargs="?", default=200)
    size_bytes = parser.parse_args().mib << 20
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        authority = make_authority("bench")
        save_authority(authority, folder / "ca.pem", folder / "ca.key")
        authority.issue_server(["127.0.0.1"]).write(folder / "server.pem", folder / "server.key")
        authority.issue_node("bench").write(folder / "node.pem", folder / "node.key")
        ours, theirs = get_context("spawn").Pipe()
        tls = TlsFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        receiver = get_context("spawn").Process(target=receive, args=(tls, theirs), daemon=True)
        receiver.start()
        engine = open_exchange(f"sqlite:///{folder}/exchange.db", "bench")
        migrate(engine)
        exchange = Exchange(engine, "bench/noise", StoreLimits(min_free_bytes=0))
        exchange.start()
        count = fill(exchange, size_bytes)
        node = TlsFiles(folder / "ca.pem", folder / "node.pem", folder / "node.key")
        seconds, cpu_s = ship(exchange, Address(f"127.0.0.1:{ours.recv()}", node), count)
        mib = count * BATCH_BYTES / (1 << 20)
        print(
            f"{mib:.0f} MiB in {count} batches: {mib / seconds:.0f} MiB/s, {cpu_s / mib * 1000:.1f} ms of CPU per MiB"
        )
        ours.send(None)
        exchange.close()
        engine.dispose()


if __name__ == "__main__":
    main()
