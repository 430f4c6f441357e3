"""What a handshake with central may be: TLS 1.3, or 1.2 with forward secrecy and authenticated encryption; 1.3 alone by one variable."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from central.ca import make_authority, save_authority

# A server with the credentials of the product, in a process of its own: the variable is read once per process.
SERVER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
from proto.channel import TlsFiles, server_credentials
folder = Path(sys.argv[1])
server = grpc.server(ThreadPoolExecutor(1))
files = TlsFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
print(server.add_secure_port("127.0.0.1:0", server_credentials(files)), flush=True)
server.start()
sys.stdin.read()
"""
ONLY_1_3 = {"GRPC_SSL_CIPHER_SUITES": "ECDHE-PSK-AES128-CBC-SHA"}
"""As docs/operations.md has it."""
Serve = Callable[[dict[str, str]], int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of an authority, a server and a node."""
    authority = make_authority("市大数据局 CA")
    save_authority(authority, tmp_path / "ca.pem", tmp_path / "ca.key")
    authority.issue_server(["localhost"]).write(tmp_path / "server.pem", tmp_path / "server.key")
    authority.issue_node("hr").write(tmp_path / "node.pem", tmp_path / "node.key")
    return tmp_path


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Starts servers with more in their environment; returns the port. None outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(more: dict[str, str]) -> int:
        command = [sys.executable, "-c", SERVER, str(folder)]
        environment = {**os.environ, **more}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def handshake(port: int, folder: Path, version: ssl.TLSVersion, ciphers: str = "") -> str:
    """What was agreed on with exactly this version; nothing when the server refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.pem")
    context.load_cert_chain(folder / "node.pem", folder / "node.key")
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    if ciphers:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            cipher = secure.cipher()
            return cipher[0] if cipher and secure.recv(1) else ""
    except (ssl.SSLError, ConnectionError):
        return ""


def test_only_strong_handshakes_are_made(serve, folder):
    """Old versions and old ciphers are refused."""
    port = serve({})

    assert handshake(port, folder, ssl.TLSVersion.TLSv1_3).startswith("TLS_")
    assert "GCM" in handshake(port, folder, ssl.TLSVersion.TLSv1_2)
    assert handshake(port, folder, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA") == ""
    assert handshake(port, folder, ssl.TLSVersion.TLSv1_1, "ALL") == ""


def test_one_variable_leaves_1_3_alone(serve, folder):
    """As the operations page promises."""
    port = serve(ONLY_1_3)

    assert handshake(port, folder, ssl.TLSVersion.TLSv1_3).startswith("TLS_")
    assert handshake(port, folder, ssl.TLSVersion.TLSv1_2) == ""
    assert ONLY_1_3["GRPC_SSL_CIPHER_SUITES"] in Path("docs/operations.md").read_text()
