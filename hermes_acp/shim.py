"""The start of the program, standard library only: editors get their protocol, people the commands.

Standard output belongs to the protocol alone. Before any other module is imported, its descriptor is
kept aside and descriptor 1 is pointed at standard error, so that no library and no child process can
write a byte between two messages.

A protocol is served by the one server that all windows of a user share: it is found or started, and
then bytes are passed on. With `--standalone`, or where none can be had, this process hosts one.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib import import_module
from threading import Event, Thread

from hermes_acp import __version__, endpoint, folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import ModuleType

PROTOCOLS = ("acp", "lsp")
STANDALONE = "--standalone"
SHARED = ["server", "run", "--ready"]
"""How `starting` calls the shared server, with a descriptor behind it."""
UNUSABLE = 2
"""The exit code when the server refuses this client, as for settings that are wrong."""
NOT_WRITTEN = 74
"""The exit code when standard output cannot be written (EX_IOERR)."""
SERVER_GONE = 69
"""The exit code when the server ended while the editor was connected (EX_UNAVAILABLE)."""
GONE = (
    "The hermes-editor server (process {pid}) has ended: it was stopped, replaced by a newer version, or "
    "killed. Start the agent again: conversations are kept. What it had to say is in {log}."
)
SHUT_WR = 1
"""`socket.SHUT_WR`: the module is only a type here."""
STUCK_SECONDS = 0.4
"""How long an editor that has closed our input may leave what we have for it unread."""
CHUNK = 64 * 1024
"""Bytes that are passed on at once."""


def main(argv: list[str]) -> int:
    """Start as a protocol server or as a command. Returns the exit code."""
    words = [word for word in argv if word != STANDALONE]
    if not words and not os.isatty(0):
        return serve("", argv)
    if len(words) == 1 and words[0] in PROTOCOLS:
        return serve(words[0], argv)
    if argv[:-1] == SHARED and argv[-1].isdecimal():
        # A window waits for it: what parses commands is left out.
        shared: int = _app().daemon(int(argv[-1]))
        return shared
    # Commands import what they need; the protocol path must not pay for them.
    code: int = import_module("hermes_acp.cli.main").main(argv)
    return code


def serve(protocol: str, argv: list[str]) -> int:
    """Speak `protocol` (empty: the first byte decides) on standard input and output."""
    try:
        source, target = guard()
    except OSError:
        return say("Standard input, output and error must be open: an editor speaks there.", UNUSABLE)
    cwd = _working_directory()
    if STANDALONE in argv:
        return host(protocol, source, target)
    _end_quietly()
    env = dict(os.environ)  # noqa: TID251 (`config` would bring pydantic)
    places = folders.find(env)
    try:
        hello = endpoint.Hello(protocol, __version__, cwd, places.data, argv, env)
        connection, pid = endpoint.reach(hello, places)
    except endpoint.Refused as error:
        return say(str(error), UNUSABLE)
    except (endpoint.Untrusted, endpoint.NotStarted, OSError) as error:
        say(f"{_reason(error)} This window gets a server of its own.")
        return host(protocol, source, target)
    try:
        regular = forward(connection, source, target)
    except OSError as error:
        return say(f"Standard output cannot be written: {error.strerror}.", NOT_WRITTEN)
    return 0 if regular else say(GONE.format(pid=pid, log=places.log), SERVER_GONE)


def say(sentence: str, code: int = 0) -> int:
    """Tell the user, in the editor's log of the agent; the exit code."""
    try:
        sys.stderr.write(f"hermes-editor: {sentence}\n")
    except (OSError, AttributeError):
        # There is no standard error, or nobody reads it.
        pass
    return code


def forward(connection: socket.socket, source: int, target: int) -> bool:
    """Pass bytes on in both directions until one side ends: whether the end was a regular one.

    The editor's half-close is passed on, and what the server says afterwards still comes through,
    unless the editor does not read it. Raises `OSError` when the output can be written no more
    though somebody reads it.
    """
    # An editor that shares its pipes' settings with us may have made them non-blocking.
    os.set_blocking(source, True)
    os.set_blocking(target, True)
    traffic = Traffic()
    Thread(target=_send, args=(traffic, connection, source), daemon=True).start()
    Thread(target=_receive, args=(traffic, connection, target), daemon=True).start()
    traffic.news.wait()
    while not traffic.ended.wait(STUCK_SECONDS):
        if traffic.is_stuck():
            return True
    if traffic.trouble is not None:
        raise traffic.trouble
    return traffic.left or traffic.unread or _is_open(connection)


class Traffic:
    """What the two directions know of each other; each member is written by one of them."""

    __slots__ = ("_looked", "ended", "left", "news", "trouble", "unread", "writing", "written")

    def __init__(self) -> None:
        self.news = Event()
        """Set when one direction has ended."""
        self.ended = Event()
        """Set when nothing more comes from the server."""
        self.left = False
        """The editor has closed our input."""
        self.unread = False
        """The editor has closed our output."""
        self.trouble: OSError | None = None
        """Why the output cannot be written."""
        self.writing = False
        self.written = 0
        """Chunks that the editor has taken."""
        self._looked = -1

    def is_stuck(self) -> bool:
        """Whether the editor has taken nothing since the last question, though there is something."""
        stuck = self.writing and self.written == self._looked
        self._looked = self.written
        return stuck


def _send(traffic: Traffic, connection: socket.socket, source: int) -> None:
    try:
        while data := _read(source):
            connection.sendall(data)
        traffic.left = True
        connection.shutdown(SHUT_WR)
    except OSError:
        # The server has gone: the other direction sees it too.
        return
    traffic.news.set()


def _receive(traffic: Traffic, connection: socket.socket, target: int) -> None:
    try:
        while data := connection.recv(CHUNK):
            traffic.writing = True
            _write(target, data)
            traffic.written += 1
            traffic.writing = False
    except ConnectionError:
        # The editor does not read any more, or the server has gone without a regular end.
        traffic.unread = traffic.writing
    except OSError as error:
        traffic.trouble = error
    traffic.ended.set()
    traffic.news.set()


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _read(source: int) -> bytes:
    try:
        return os.read(source, CHUNK)
    except OSError:
        # Such as a terminal that was closed: nothing more comes.
        return b""


def _is_open(connection: socket.socket) -> bool:
    """Whether the server still listens to us: then it ended the conversation, not itself."""
    try:
        connection.send(b"\n")
    except OSError:
        return False
    return True


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        # It was deleted; whatever we start must not trip over that.
        os.chdir("/")
        return "/"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"The shared server cannot be reached ({place}{error.strerror})."
    return str(error)


def _end_quietly() -> None:
    """Ctrl-C in a terminal that runs the editor ends us as SIGTERM does, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def host(protocol: str, source: int, target: int) -> int:
    """Host the server in this process."""
    code: int = _app().stdio(protocol, source, target)
    return code


def _app() -> ModuleType:
    """The whole server, to be run at once."""
    # Other packages' pydantic plugins have no business here, and looking for them takes time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251 (before any import)
    # Nothing that imports make is garbage; `app` lets the collector work again.
    gc.disable()
    # Imported only now: the descriptors are safe.
    return import_module("hermes_acp.app")


def guard() -> tuple[int, int]:
    """Keep standard input and output for the protocol: the descriptors to use instead of 0 and 1.

    Afterwards descriptor 0 reads nothing and descriptor 1 writes to standard error. Raises `OSError`.
    """
    for standard in (0, 1, 2):
        # A copy of one would otherwise take the place of another one that is closed.
        os.fstat(standard)
    source, target = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, target
