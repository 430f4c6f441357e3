"""The bad network is as bad as it says, and perfect when healed."""

from __future__ import annotations

import socket
import threading
import time

import pytest


@pytest.fixture
def echo():
    """The address of a server that answers with what it gets, and what it got."""
    got: list[bytes] = []
    door = socket.create_server(("127.0.0.1", 0))

    def serve(client):
        with client:
            try:
                while data := client.recv(65536):
                    got.append(data)
                    client.sendall(data)
            except OSError:
                return

    def greet():
        while True:
            try:
                client, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=greet, daemon=True).start()
    yield door.getsockname(), got
    door.shutdown(socket.SHUT_RDWR)
    door.close()


@pytest.fixture
def net(badnet, echo):
    """A bad network in front of the echo server."""
    return badnet(echo[0])


@pytest.fixture
def client(net):
    """A client behind the bad network, impatient after half a second."""
    with socket.create_connection((net.host, net.port), timeout=0.5) as connection:
        yield connection


def ask(client, text, size=None):
    """Send and collect as many bytes back."""
    client.sendall(text)
    answer = b""
    while len(answer) < (size or len(text)):
        answer += client.recv(65536)
    return answer


def test_a_perfect_network_carries_megabytes(client):
    """Nothing is lost or reordered."""
    text = bytes(range(256)) * 4096
    sender = threading.Thread(target=client.sendall, args=(text,))
    sender.start()
    answer = b""
    while len(answer) < len(text):
        answer += client.recv(65536)
    sender.join()

    assert answer == text


def test_a_half_closed_connection_is_carried_to_its_end(client):
    """The last answer still arrives after our farewell."""
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)

    assert client.recv(10) == b"last"
    assert client.recv(10) == b""


def test_cut_resets_and_new_connections_work(net, client):
    """RST, not a farewell."""
    ask(client, b"hello")
    net.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with socket.create_connection((net.host, net.port), timeout=5) as again:
        assert ask(again, b"hello") == b"hello"


def test_cut_can_refuse_until_healed(net, client):
    """A dead link for as long as the test wants."""
    net.cut(refuse=True)
    with (
        pytest.raises((ConnectionResetError, BrokenPipeError)),
        socket.create_connection((net.host, net.port), timeout=5) as refused,
    ):
        ask(refused, b"hello")
    net.heal()

    with socket.create_connection((net.host, net.port), timeout=5) as again:
        assert ask(again, b"hello") == b"hello"


def test_the_request_arrives_and_its_answer_does_not(net, client, echo):
    """The outcome is unknown to the client, though the server did it."""
    assert ask(client, b"first") == b"first"
    net.black_hole_after_request()

    with pytest.raises(TimeoutError):
        ask(client, b"second")
    assert echo[1] == [b"first", b"second"]


def test_the_hole_may_open_after_several_requests(net, client):
    """Two get through and are answered up to the last."""
    net.black_hole_after_request(2)
    assert ask(client, b"first") == b"first"

    with pytest.raises(TimeoutError):
        ask(client, b"second")


def test_a_black_hole_lets_nothing_through(net, client, echo):
    """The connection stays up and silent."""
    net.black_hole()

    with pytest.raises(TimeoutError):
        ask(client, b"hello")
    assert echo[1] == [] and net.links == 1


def test_pause_loses_nothing(net, client):
    """What was held back arrives after resume."""
    net.pause()
    with pytest.raises(TimeoutError):
        ask(client, b"hello")
    net.resume()

    assert client.recv(10) == b"hello"


def test_delay_and_drip_take_their_time(net, client):
    """Slow each way; healed, fast again."""
    net.delay(0.1)
    started = time.monotonic()
    assert ask(client, b"hello") == b"hello"
    assert time.monotonic() - started >= 0.2

    net.heal()
    net.drip(1000)
    started = time.monotonic()
    assert len(ask(client, b"x" * 300)) == 300
    assert time.monotonic() - started >= 0.3
