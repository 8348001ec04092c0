"""A window of the shared server: what it passes on, how it ends, and what it does when it gets no server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hermes_acp import __version__, shim
from tests.windows import PATIENCE, PROGRAM, Counterpart, Home, Window, home, line, until

INITIALIZE = line(1, "initialize", {"protocolVersion": 1, "clientCapabilities": {}})
LSP_EXIT = b'Content-Length: 33\r\n\r\n{"jsonrpc":"2.0","method":"exit"}'
MUCH = 64 * 1024 * 1024
OWN_SERVER = "This window gets a server of its own.\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home") as found:
        yield found


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose server runs."""
    with home(tmp_path_factory.mktemp("warm")) as found:
        found.start_server()
        yield found


# --- with the real server ------------------------------------------------------------------------


def test_the_first_window_starts_a_server_and_the_second_finds_it(place: Home) -> None:
    assert place.window().initialize()["protocolVersion"] == 1
    (server,) = place.servers()
    assert place.window("lsp").process.poll() is None
    assert place.window().initialize()["protocolVersion"] == 1
    assert place.servers() == [server]


@pytest.mark.slow
def test_fifty_windows_at_once_get_one_server(place: Home) -> None:
    windows = [place.window() for _ in range(50)]
    for window in windows:
        window.send(INITIALIZE)
    assert [json.loads(window.read_line())["result"]["protocolVersion"] for window in windows] == [1] * 50
    assert len(place.servers()) == 1
    assert {window.leave() for window in windows} == {(0, "")}


def test_what_was_said_before_the_server_answered_is_kept_and_the_last_answers_come_after_the_end_of_input(
    warm: Home, tmp_path: Path
) -> None:
    words = INITIALIZE + line(2, "session/new", {"cwd": str(tmp_path), "mcpServers": []})
    done = subprocess.run(
        (*PROGRAM, "acp"), env=warm.env, input=words, capture_output=True, timeout=PATIENCE, check=False
    )
    answers = [json.loads(row) for row in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers if "id" in answer] == [1, 2]
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_first_byte_decides_when_no_protocol_is_named(warm: Home) -> None:
    window = warm.window()
    window.process.kill()
    lsp, acp = Window(PROGRAM, warm.root, warm.env), Window(PROGRAM, warm.root, warm.env)
    lsp.send(LSP_EXIT)
    acp.initialize()
    assert (lsp.ended(), acp.leave()) == ((0, ""), (0, ""))
    lsp.kill()
    acp.kill()


def test_the_exit_of_the_language_server_protocol_ends_the_window_though_its_input_stays_open(
    warm: Home,
) -> None:
    window = warm.window("lsp")
    window.send(LSP_EXIT)
    assert window.ended() == (0, "")


def test_a_window_may_stand_in_the_root_folder_or_in_one_that_was_deleted(warm: Home, tmp_path: Path) -> None:
    assert warm.window(cwd="/").initialize()["protocolVersion"] == 1
    gone = tmp_path / "gone"
    gone.mkdir()
    delayed = ("/bin/sh", "-c", f'rmdir "{gone}" && exec "$@"', "sh", *PROGRAM, "acp")
    window = Window(delayed, gone, warm.env)
    assert window.initialize()["protocolVersion"] == 1
    window.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_window_without_a_word(warm: Home, number: signal.Signals) -> None:
    window = warm.window()
    window.initialize()
    window.process.send_signal(number)
    assert window.ended() == (-number, "")


def test_an_editor_that_does_not_read_any_more_ends_the_window_quietly(warm: Home) -> None:
    window = warm.window()
    window.initialize()
    window.stdout.close()
    window.send(INITIALIZE)
    assert window.ended() == (0, "")


def test_an_editor_that_asks_without_reading_holds_up_nobody_else(warm: Home) -> None:
    stuck, other = warm.window(), warm.window()
    asking = threading.Thread(target=_ask_for_ever, args=(stuck,))
    asking.start()
    stuck.read_line()
    for _ in range(5):
        other.initialize()
    stuck.process.kill()
    asking.join()
    assert other.leave() == (0, "")


def _ask_for_ever(window: Window) -> None:
    window.send(INITIALIZE)
    try:
        while True:
            window.send(line(2, "unknown/method", {"text": "x" * 10_000}))
    except BrokenPipeError:
        return


def test_the_server_is_nobodys_child_and_holds_nothing_of_the_editor(place: Home) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    editor = subprocess.Popen(
        (*PROGRAM, "acp"),
        env=place.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        close_fds=False,
    )
    os.close(theirs)
    assert editor.stdin and editor.stdout
    editor.stdin.write(INITIALIZE)
    editor.stdin.flush()
    assert editor.stdout.readline()
    (server,) = place.servers()
    process = psutil.Process(server)
    family = [psutil.Process(editor.pid), *psutil.Process(editor.pid).children(recursive=True)]
    assert process not in family and process.ppid() not in (editor.pid, os.getpid())
    assert os.getsid(server) != os.getsid(0) and os.getpgid(server) != editor.pid
    targets = {str(Path(f"/proc/{server}/fd/{number}").readlink()) for number in (0, 1, 2)}
    assert targets == {os.devnull, place.folders.log}

    os.killpg(editor.pid, signal.SIGKILL)
    for member in family:
        if member.is_running():
            member.kill()
    assert editor.stdout.read() == b""
    assert editor.stderr is not None and editor.stderr.read() == b""
    assert os.read(ours, 1) == b"", "somebody still holds the pipe that the editor forgot to close"
    os.close(ours)
    editor.communicate()
    assert place.servers() == [server]
    assert place.window().initialize()["protocolVersion"] == 1


def test_a_server_that_is_killed_is_reported_and_the_next_window_gets_a_new_one(place: Home) -> None:
    place.start_server()
    (server,) = place.servers()
    window = place.window()
    window.initialize()
    os.kill(server, signal.SIGKILL)
    assert window.ended() == (
        69,
        f"hermes-editor: The hermes-editor server (process {server}) has ended: it was stopped, replaced by "
        "a newer version, or killed. Start the agent again: conversations are kept. What it had to say is "
        f"in {place.folders.log}.\n",
    )
    assert place.window().initialize()["protocolVersion"] == 1
    assert len(place.servers()) == 1


def test_a_server_that_is_stopped_is_reported_as_well(place: Home) -> None:
    place.start_server()
    windows = [place.window(), place.window("lsp")]
    windows[0].initialize()
    until(lambda: '"lsp"' in place.run("server", "status", "--json").stdout, "the second window")
    assert place.run("server", "stop").returncode == 0
    assert [window.ended()[0] for window in windows] == [69, 69]


def test_a_starter_that_is_killed_leaves_no_lock_behind(place: Home) -> None:
    starter = place.window()
    until(lambda: list(place.root.glob("runtime/*.start")), "the lock of the start")
    starter.process.kill()
    assert place.window().initialize()["protocolVersion"] == 1
    until(lambda: len(place.servers()) == 1, "one server")


def test_a_server_that_nobody_needs_ends_by_itself(place: Home) -> None:
    window = place.window(HERMES_EDITOR_SERVER_IDLE="1")
    window.initialize()
    assert len(place.servers()) == 1
    window.leave()
    until(lambda: not place.servers(), "the end of the server")
    assert [path.suffix for path in (place.root / "runtime").iterdir() if path.suffix == ".sock"] == []


def test_a_data_folder_with_a_very_long_path_is_served(tmp_path: Path) -> None:
    with home(tmp_path / ("long" * 30) / ("longer" * 20)) as place:
        assert len(str(place.folders.data)) > 200
        place.root.parent.mkdir()
        assert place.window().initialize()["protocolVersion"] == 1
        assert len(place.servers()) == 1


def test_a_server_of_the_other_transport_serves_windows_too(place: Home) -> None:
    place.env["HERMES_EDITOR_TRANSPORT"] = "tcp"
    first, second = place.window(), place.window("lsp")
    first.initialize()
    second.send(LSP_EXIT)
    assert (second.ended(), first.leave()) == ((0, ""), (0, ""))
    assert len(place.servers()) == 1


# --- without a shared server ---------------------------------------------------------------------


def file_in_place_of_the_runtime_folder(place: Home) -> str:
    place.root.mkdir()
    runtime = place.root / "runtime"
    runtime.write_text("")
    return f"{runtime} is a link or a file, not a folder: remove it."


def file_in_place_of_the_log(place: Home) -> str:
    log = Path(place.folders.log)
    log.mkdir(parents=True)
    return f"The shared server cannot be reached ({log}: Is a directory)."


def nothing_can_be_written(place: Home) -> str:
    place.env["HERMES_EDITOR_HOME"] = "/proc/hermes"
    return "The shared server cannot be reached (/proc/hermes: No such file or directory)."


def broken_installation(place: Home) -> str:
    folder = place.root / "broken"
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'server' in sys.orig_argv:\n    os.write(2, b'no such library\\n')\n    os._exit(1)\n"
    )
    place.env["PYTHONPATH"] = str(folder)
    return f"The server could not be started; see {place.folders.log}. It said: no such library"


@pytest.mark.parametrize(
    "trouble",
    [
        file_in_place_of_the_runtime_folder,
        file_in_place_of_the_log,
        nothing_can_be_written,
        broken_installation,
    ],
)
def test_a_window_that_gets_no_shared_server_says_so_and_works(
    place: Home, trouble: Callable[[Home], str]
) -> None:
    reason = trouble(place)
    window = place.window(cwd="/")
    assert window.initialize()["agentInfo"]["version"] == __version__
    assert place.servers() == []
    assert window.leave() == (0, f"hermes-editor: {reason} {OWN_SERVER}")


def test_settings_that_are_wrong_are_told_to_the_window_that_has_them(warm: Home) -> None:
    wrong, right = warm.window(HERMES_EDITOR_MAX_STEPS="none"), warm.window()
    code, said = wrong.ended()
    assert (code, said.partition(" (")[0]) == (2, "hermes-editor: The setting 'max_steps'")
    assert right.initialize()["protocolVersion"] == 1


def test_a_window_without_standard_output_says_what_it_needs(warm: Home) -> None:
    done = subprocess.run(
        ("/bin/sh", "-c", '"$@" >&-', "sh", *PROGRAM, "acp"),
        env=warm.env,
        capture_output=True,
        text=True,
        check=False,
    )
    needs = "Standard input, output and error must be open: an editor speaks there."
    assert (done.returncode, done.stderr) == (2, f"hermes-editor: {needs}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_an_error_and_not_a_regular_end(warm: Home) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            (*PROGRAM, "acp"),
            env=warm.env,
            input=INITIALIZE,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    reason = b"hermes-editor: Standard output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (74, reason)


# --- the bytes -----------------------------------------------------------------------------------


def test_a_window_tells_where_it_comes_from(place: Home) -> None:
    def greet_and_leave(connection: socket.socket) -> None:
        connection.sendall(b"ok 1\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1 << 16) == b"\n"

    server = Counterpart(place, greet_and_leave)
    window = place.window("acp", cwd="/", MARK="a\nb", EMPTY="")
    assert window.ended() == (0, "")
    server.join()
    (hello,) = server.hellos
    assert (hello.protocol, hello.version, hello.cwd, hello.words) == ("acp", __version__, "/", ["acp"])
    assert (hello.pid, hello.data) == (window.process.pid, place.folders.data)
    assert {name: hello.env[name] for name in ("MARK", "EMPTY")} == {"MARK": "a\nb", "EMPTY": ""}


@pytest.mark.parametrize(
    ("reply", "ends"),
    [
        (b"ok 1\n", (69, "hermes-editor: The hermes-editor server (process 1) has ended")),
        (b"refused Not today.\n", (2, "hermes-editor: Not today.\n")),
    ],
)
def test_the_exit_code_tells_how_the_server_ended(place: Home, reply: bytes, ends: tuple[int, str]) -> None:
    server = Counterpart(place, lambda connection: connection.sendall(reply))
    code, said = place.window().ended()
    server.join()
    assert (code, said[: len(ends[1])]) == ends


def test_long_messages_pass_both_ways_and_little_of_them_is_held(place: Home) -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(b"ok 1\n")
        while data := connection.recv(1 << 20):
            connection.sendall(data)

    server, window = Counterpart(place, echo), place.window()
    block = os.urandom(1 << 20)
    read: list[bool] = []

    def write() -> None:
        for _ in range(MUCH // len(block)):
            window.send(block)

    writing = threading.Thread(target=write)
    writing.start()
    for _ in range(MUCH // len(block)):
        read.append(_exactly(window, len(block)) == block)
    writing.join()
    status = Path(f"/proc/{window.process.pid}/status")
    peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) if status.exists() else 0
    assert window.leave() == (0, "")
    server.join()
    assert all(read) and peak < 16 * 1024


def test_an_editor_that_writes_without_reading_is_heard(place: Home) -> None:
    size = 8 * 1024 * 1024
    heard: list[int] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"ok 1\n")
        flooding = threading.Thread(target=connection.sendall, args=(bytes(size),))
        flooding.start()
        heard.append(sum(iter(lambda: len(connection.recv(1 << 20)), 0)))
        flooding.join()

    server, window = Counterpart(place, talk), place.window()
    window.send(bytes(size))
    window.stdin.close()
    until(lambda: heard, "what the editor wrote")
    assert len(window.stdout.read()) == size
    assert window.ended() == (0, "")
    server.join()
    assert heard == [size]


def test_an_editor_that_leaves_without_reading_does_not_keep_the_window(place: Home) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"ok 1\n")
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(bytes(1 << 20))

    server, window = Counterpart(place, flood), place.window()
    until(lambda: server.hellos, "the hello")
    window.stdin.close()
    assert window.ended() == (0, "")
    server.join()


def _exactly(window: Window, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(window.stdout.fileno(), size - len(data))
        assert part
        data += part
    return bytes(data)


def closed_by_the_server(server: socket.socket, _editor: int) -> None:
    server.close()


def closed_by_the_editor(server: socket.socket, editor: int) -> None:
    os.close(editor)
    assert server.recv(1) == b""
    server.close()


def ended_by_the_server(server: socket.socket, _editor: int) -> None:
    server.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("end", "regular"),
    [(closed_by_the_server, False), (closed_by_the_editor, True), (ended_by_the_server, True)],
)
def test_a_hundred_ends_are_told_apart(end: Callable[[socket.socket, int], None], regular: bool) -> None:
    for _ in range(100):
        assert _forwarded(end) is regular


def test_both_sides_may_end_at_once() -> None:
    def both(server: socket.socket, editor: int) -> None:
        server.shutdown(socket.SHUT_WR)
        os.close(editor)

    assert {_forwarded(both) for _ in range(100)} == {True}


def _forwarded(end: Callable[[socket.socket, int], None]) -> bool:
    """How `forward` judges this end of a conversation."""
    server, client = socket.socketpair()
    source, editor = os.pipe()
    out, target = os.pipe()
    ending = threading.Thread(target=end, args=(server, editor))
    ending.start()
    try:
        return shim.forward(client, source, target)
    finally:
        ending.join()
        server.close()
        client.close()
        for descriptor in (out, target):
            os.close(descriptor)
