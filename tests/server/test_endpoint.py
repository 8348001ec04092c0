"""The hello, the place of the socket, and how a client finds, starts or refuses a server."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp import endpoint, starting
from hermes_acp.endpoint import MAGIC, Hello, NotStarted, Refused, Untrusted
from hermes_acp.folders import Folders
from hermes_acp.private_folder import PrivateFolder
from hermes_acp.server.listener import Listener
from tests.windows import home

NOBODY = 65_534
as_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can give files to another user"
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
names = st.text(st.characters(exclude_characters="\0=", exclude_categories=("Cs",)), min_size=1)


@pytest.fixture
def where(tmp_path: Path) -> Folders:
    return Folders(*(str(tmp_path / name) for name in ("config", "data", "state", "runtime")))


@pytest.fixture
def listener(where: Folders) -> Iterator[Listener]:
    found = Listener(where)
    yield found
    found.close()


# --- the hello -----------------------------------------------------------------------------------


@given(text, text, text, st.lists(text), st.dictionaries(names, text))
def test_a_hello_arrives_as_it_was_said(
    protocol: str, version: str, cwd: str, words: list[str], env: dict[str, str]
) -> None:
    said = Hello(protocol, version, cwd, "/data", words, env)
    heard = endpoint.decode(endpoint.encode(said)[len(MAGIC) + 4 :])
    assert fields(heard) == fields(said)


def test_bytes_that_are_no_text_arrive_too() -> None:
    said = Hello("acp", "1", os.fsdecode(b"/caf\xe9"), "/data", [], {"ODD": os.fsdecode(b"\xff\n=\t")})
    assert fields(endpoint.decode(endpoint.encode(said)[len(MAGIC) + 4 :])) == fields(said)


@given(st.binary())
def test_anything_else_is_refused_or_a_hello(body: bytes) -> None:
    try:
        endpoint.decode(body)
    except Refused as error:
        assert str(error) == "The hello is not complete."


def fields(hello: Hello) -> dict[str, object]:
    return {name: getattr(hello, name) for name in Hello.__slots__}


# --- the place -----------------------------------------------------------------------------------


def test_the_folder_is_made_for_us_alone_and_made_private_again(where: Folders) -> None:
    assert endpoint.connect(where) is None
    runtime = Path(where.runtime)
    assert runtime.stat().st_mode & 0o777 == 0o700
    runtime.chmod(0o755)
    assert endpoint.connect(where) is None
    assert runtime.stat().st_mode & 0o777 == 0o700


def test_the_socket_is_ours_alone(listener: Listener) -> None:
    assert Path(listener.address).stat().st_mode & 0o777 == 0o600


def folder_is_a_file(where: Folders) -> str:
    Path(where.runtime).write_text("")
    return f"{where.runtime} is a link or a file, not a folder: remove it."


def folder_is_a_link(where: Folders) -> str:
    elsewhere = Path(where.runtime).with_name("elsewhere")
    elsewhere.mkdir()
    Path(where.runtime).symlink_to(elsewhere)
    return f"{where.runtime} is a link or a file, not a folder: remove it."


def folder_is_a_link_to_nothing(where: Folders) -> str:
    Path(where.runtime).symlink_to("nothing")
    return f"{where.runtime} is a link or a file, not a folder: remove it."


def folder_of_another_user(where: Folders) -> str:
    Path(where.runtime).mkdir()
    os.chown(where.runtime, NOBODY, NOBODY)
    return (
        f"{where.runtime} belongs to user {NOBODY}, not to you: "
        "point XDG_RUNTIME_DIR at a folder of your own."
    )


def socket_is_a_file(where: Folders) -> str:
    path = in_place_of_the_socket(where)
    path.write_text("")
    return f"{path} is not a socket: remove it."


def socket_is_a_link_to_a_live_one(where: Folders) -> str:
    path = in_place_of_the_socket(where)
    other = socket.socket(socket.AF_UNIX)
    back = Path.cwd()
    os.chdir(path.parent)
    other.bind("other")
    os.chdir(back)
    other.listen()
    path.symlink_to(path.with_name("other"))
    return f"{path} is not a socket: remove it."


def socket_of_another_user(where: Folders) -> str:
    path = in_place_of_the_socket(where)
    os.mknod(path, 0o140600)
    os.chown(path, NOBODY, NOBODY)
    return f"{path} belongs to user {NOBODY}, not to you: remove it."


def in_place_of_the_socket(where: Folders) -> Path:
    Path(where.runtime).mkdir(mode=0o700)
    return Path(where.runtime, f"{endpoint.name(where.data)}.sock")


@pytest.mark.parametrize(
    "squat",
    [
        folder_is_a_file,
        folder_is_a_link,
        folder_is_a_link_to_nothing,
        pytest.param(folder_of_another_user, marks=as_root),
        socket_is_a_file,
        socket_is_a_link_to_a_live_one,
        pytest.param(socket_of_another_user, marks=as_root),
    ],
)
def test_a_place_that_somebody_else_may_have_made_is_refused_by_clients_and_servers(
    where: Folders, squat: Callable[[Folders], str]
) -> None:
    reason = squat(where)
    with pytest.raises(Untrusted) as met:
        endpoint.connect(where)
    assert str(met.value) == reason
    with pytest.raises(Untrusted) as met:
        Listener(where)
    assert str(met.value) == reason


@as_root
def test_a_listener_of_another_user_is_refused_whatever_its_socket_looks_like(where: Folders) -> None:
    path = in_place_of_the_socket(where)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        serve_as_nobody(path, told)
    os.close(told)
    assert os.read(ready, 1) == b"1"
    os.close(ready)
    os.chown(path, 0, 0)
    Path(where.runtime).chmod(0o700)
    with pytest.raises(Untrusted, match="belongs to another user"):
        endpoint.connect(where)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "it was told something"


def serve_as_nobody(path: Path, told: int) -> None:
    """Listen at this place; the exit code is the number of bytes that a client says."""
    os.chdir(path.parent)
    path.parent.chmod(0o777)
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path.name)
    listening.listen()
    os.write(told, b"1")
    connection, _ = listening.accept()
    os._exit(min(len(connection.recv(100)), 1))


def test_two_data_folders_have_two_servers(where: Folders, listener: Listener, tmp_path: Path) -> None:
    other = Folders(where.config, str(tmp_path / "other"), where.state, where.runtime)
    assert endpoint.connect(other) is None


@pytest.mark.parametrize("length", [20, 90, 110, 250])
def test_a_path_of_any_length_will_do(tmp_path: Path, length: int) -> None:
    runtime = tmp_path / ("r" * length)
    where = Folders("", str(tmp_path / "data"), "", str(runtime))
    listener = Listener(where)
    connection = endpoint.connect(where)
    assert connection is not None
    connection.close()
    listener.close()


# --- the client ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "result"),
    [(b"ok 12\n", 12), (b"outdated\n", None), (b"", None), (b"ok", None), (b"\xff\xff", None)],
)
def test_the_reply_to_a_hello_is_a_process_or_nothing(reply: bytes, result: int | None) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(reply)
        theirs.shutdown(socket.SHUT_WR)
        assert endpoint.greet(ours, Hello("", "1", "/", "/", [], {})) == result
    ours.close()


def test_what_follows_the_reply_belongs_to_the_editor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"ok 12\n{}\n")
        assert endpoint.greet(ours, Hello("", "1", "/", "/", [], {})) == 12
        assert ours.recv(100) == b"{}\n"


def test_a_refusal_is_heard_though_the_hello_was_not_read_to_its_end() -> None:
    ours, theirs = socket.socketpair()

    def refuse() -> None:
        theirs.recv(10)
        theirs.sendall(b"refused Too long.\n")
        theirs.close()

    refusing = threading.Thread(target=refuse)
    refusing.start()
    with pytest.raises(Refused, match=r"^Too long\.$"):
        endpoint.greet(ours, Hello("", "1", "/", "/", [], {"LONG": "x" * 4_000_000}))
    refusing.join()


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(where: Folders, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nos.write(2, b'first\\nThere is no disk.\\n')\nos._exit(1)"
    )
    with pytest.raises(NotStarted) as met:
        endpoint.start(where, {"PYTHONPATH": str(tmp_path)})
    assert str(met.value) == (f"The server could not be started; see {where.log}. It said: There is no disk.")


def test_a_client_finds_the_server_that_came_before_its_own(where: Folders, tmp_path: Path) -> None:
    """As after a starter that was killed: ours meets the other's lock and goes."""
    listener = Listener(where)
    hold = threading.Event()

    def greet() -> None:
        listener.socket.setblocking(True)
        while not hold.is_set():
            connection, _ = listener.socket.accept()
            with connection:
                if connection.recv(1 << 16):
                    connection.sendall(b"ok 5\n")
                    return

    greeting = threading.Thread(target=greet)
    greeting.start()
    connection, pid = endpoint.reach(Hello("acp", "1", "/", where.data, [], {}), where)
    greeting.join()
    connection.close()
    listener.close()
    assert pid == 5


def test_locks_end_with_their_holder(where: Folders) -> None:
    with PrivateFolder(where.runtime) as folder:
        first = folder.lock("a.lock")
        assert first is not None
        assert folder.lock("a.lock") is None
        os.close(first)
        second = folder.lock("a.lock")
        assert second is not None
        os.close(second)


# --- the start -----------------------------------------------------------------------------------


def test_a_server_is_given_what_it_needs_and_no_more() -> None:
    given = {
        "PATH": "/bin",
        "HOME": "/home/you",
        "LC_ALL": "C",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "HERMES_EDITOR_HOME": "/x",
        "OPENAI_API_KEY": "secret",
        "MARK": "first window",
        "VIRTUAL_ENV": "/venv",
    }
    assert starting.server_environment(given) == dict(list(given.items())[:5])


@pytest.mark.programs
def test_a_module_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hermes_acp").mkdir()
    (tmp_path / "hermes_acp" / "__main__.py").write_text("import os\nos._exit(1)\n")
    monkeypatch.chdir(tmp_path)
    with home(tmp_path / "home") as place:
        endpoint.start(place.folders, place.env)
        assert len(place.servers()) == 1


def test_a_long_log_is_put_aside_when_a_server_starts(where: Folders, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(2, b'new')\nos._exit(1)")
    log = Path(where.log)
    log.parent.mkdir()
    log.write_bytes(b"old" + bytes(starting.LOG_BYTES))
    with pytest.raises(NotStarted, match="It said: new"):
        endpoint.start(where, {"PYTHONPATH": str(tmp_path)})
    assert (log.read_bytes(), Path(f"{log}.1").read_bytes()[:3]) == (b"new", b"old")
