"""The transport for systems without Unix sockets: nobody learns anything who does not know the secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hermes_acp import loopback
from hermes_acp.loopback import GREETING, SIZE, Bound, Note
from hermes_acp.private_folder import PrivateFolder, Untrusted

SECONDS = 60.0
Talk = Callable[[socket.socket], bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[PrivateFolder]:
    with PrivateFolder(str(tmp_path / "runtime")) as found:
        yield found


def file_of(folder: PrivateFolder) -> Path:
    return Path(folder.path, "server.tcp")


def accepted(bound: socket.socket, talk: Talk) -> bytes:
    """What this side learns from the next client."""
    bound.settimeout(SECONDS)
    connection, _ = bound.accept()
    with connection:
        connection.settimeout(SECONDS)
        return talk(connection)


def as_the_server(secret: bytes) -> Talk:
    def talk(connection: socket.socket) -> bytes:
        head = connection.recv(len(GREETING) + SIZE, socket.MSG_WAITALL)
        theirs, ours = head[len(GREETING) :], loopback.challenge()
        connection.sendall(ours + loopback.proof(secret, "server", theirs, ours))
        given = connection.recv(SIZE, socket.MSG_WAITALL)
        assert loopback.is_proof(given, secret, "client", theirs, ours)
        return connection.recv(100)

    return talk


def test_both_sides_prove_themselves_and_then_the_client_speaks(folder: PrivateFolder) -> None:
    bound = Bound(folder, "server")
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(accepted, bound.socket, as_the_server(bound.secret))
        connection = loopback.connect(folder, "server", SECONDS)
        assert connection is not None
        connection.sendall(b"hello")
        assert heard.result() == b"hello"
    connection.close()
    bound.close()


def test_the_file_is_for_us_alone_and_goes_with_the_server(folder: PrivateFolder) -> None:
    bound = Bound(folder, "server")
    assert file_of(folder).stat().st_mode & 0o777 == 0o600
    assert bound.reachable
    assert bound.socket.getsockname()[0] == "127.0.0.1"
    bound.close()
    assert not file_of(folder).exists()


def test_a_server_leaves_the_file_of_its_successor_alone(folder: PrivateFolder) -> None:
    first, second = Bound(folder, "server"), Bound(folder, "server")
    assert (first.reachable, second.reachable) == (False, True)
    first.close()
    assert second.reachable
    second.close()


def echoes(connection: socket.socket) -> bytes:
    """Sends back what it gets, which was never a proof of its own."""
    heard = connection.recv(1000)
    connection.sendall(heard[len(GREETING) :] * 2)
    return heard + connection.recv(1000)


def guesses(connection: socket.socket) -> bytes:
    heard = connection.recv(1000)
    connection.sendall(os.urandom(2 * SIZE))
    return heard + connection.recv(1000)


def hangs_up(connection: socket.socket) -> bytes:
    return connection.recv(1000)


def says_too_little(connection: socket.socket) -> bytes:
    heard = connection.recv(1000)
    connection.sendall(b"short")
    return heard


@pytest.mark.parametrize("squatter", [echoes, guesses, hangs_up, says_too_little])
def test_a_process_that_only_has_the_port_learns_nothing(folder: PrivateFolder, squatter: Talk) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    write(folder, Note(listening.getsockname()[1], bytes(SIZE)).encode())
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(accepted, listening, squatter)
        assert loopback.connect(folder, "server", SECONDS) is None
        learned = heard.result()
    listening.close()
    assert learned.startswith(GREETING)
    assert len(learned) == len(GREETING) + SIZE


def test_a_process_that_keeps_silent_is_not_waited_for_long(folder: PrivateFolder) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    write(folder, Note(listening.getsockname()[1], bytes(SIZE)).encode())
    assert loopback.connect(folder, "server", 0.1) is None
    listening.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"port secret\n",
        b"0 " + b"00" * SIZE,
        b"99999 " + b"00" * SIZE,
        b"1 00\n",
        b"\xff\xfe",
        bytes(100_000),
        b"1 " + b"00" * SIZE,
    ],
)
def test_a_file_that_leads_nowhere_means_that_no_server_runs(folder: PrivateFolder, content: bytes) -> None:
    write(folder, content)
    assert loopback.connect(folder, "server", SECONDS) is None


def test_no_file_means_that_no_server_runs(folder: PrivateFolder) -> None:
    assert loopback.connect(folder, "server", SECONDS) is None


def readable(path: Path) -> str:
    path.write_bytes(b"1 " + b"00" * SIZE)
    path.chmod(0o644)
    return "can be read by others"


def pipe(path: Path) -> str:
    os.mkfifo(path, 0o600)
    return "is not a plain file"


@pytest.mark.parametrize("make", [readable, pipe])
def test_a_file_that_is_not_private_is_refused(folder: PrivateFolder, make: Callable[[Path], str]) -> None:
    reason = make(file_of(folder))
    with pytest.raises(Untrusted) as met:
        loopback.connect(folder, "server", SECONDS)
    assert str(met.value) == f"{file_of(folder)} {reason}: remove it."


def test_a_link_in_place_of_the_file_is_not_followed(folder: PrivateFolder, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"1 " + b"00" * SIZE)
    file_of(folder).symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        loopback.connect(folder, "server", SECONDS)
    bound = Bound(folder, "server")
    assert (tmp_path / "other").read_bytes() == b"1 " + b"00" * SIZE
    bound.close()


def test_a_proof_is_good_for_one_side_and_one_conversation() -> None:
    secret, one, other = os.urandom(SIZE), os.urandom(SIZE), os.urandom(SIZE)
    given = loopback.proof(secret, "client", one, other)
    assert loopback.is_proof(given, secret, "client", one, other)
    assert not loopback.is_proof(given, secret, "server", one, other)
    assert not loopback.is_proof(given, secret, "client", other, one)
    assert not loopback.is_proof(given, os.urandom(SIZE), "client", one, other)


def test_many_clients_may_come_at_once(folder: PrivateFolder) -> None:
    bound = Bound(folder, "server")
    with ThreadPoolExecutor(16) as pool:
        heard = [pool.submit(accepted, bound.socket, as_the_server(bound.secret)) for _ in range(8)]
        connections = [pool.submit(loopback.connect, folder, "server", SECONDS) for _ in range(8)]
        for connection in connections:
            found = connection.result()
            assert found is not None
            found.sendall(b"here")
            found.close()
        assert [item.result() for item in heard] == [b"here"] * 8
    bound.close()


def write(folder: PrivateFolder, content: bytes) -> None:
    file = file_of(folder)
    file.write_bytes(content)
    file.chmod(0o600)
