"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

from hermes_acp import config, folders
from hermes_acp.agent.memory.remembering import Remembering
from hermes_acp.agent.memory.shared import SharedMemory
from hermes_acp.agent.opening import Opening
from hermes_acp.agent.origins import Origin, Origins
from hermes_acp.agent.sessions import Sessions, Shared, Stores
from hermes_acp.agent.turn import Place
from hermes_acp.endpoint import Hello, Refused, Untrusted
from hermes_acp.policy.secrets import logged
from hermes_acp.records import record
from hermes_acp.server import connection, control
from hermes_acp.server.acp.client import AcpClient
from hermes_acp.server.acp.handlers import METHODS, NOTIFICATIONS
from hermes_acp.server.connection import Service
from hermes_acp.server.control import ControlClient
from hermes_acp.server.daemon import AlreadyRunning, Daemon, Listener, Talk
from hermes_acp.server.lsp.server import LspClient
from hermes_acp.server.stalls import StallWatch
from hermes_acp.server.streams import Streams, from_descriptors
from hermes_acp.storage import backup
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.owner import Owner
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.tools.base import SessionTools, Tool
from hermes_acp.tools.mcp.tools import McpSource
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.registry import Registry

if TYPE_CHECKING:
    from hermes_acp.agent.checkpointing import Checkpointing
    from hermes_acp.agent.isolation import Isolation
    from hermes_acp.agent.trust import Trusting
    from hermes_acp.llm.base import Model
    from hermes_acp.storage.recall_index import RecallIndex

T = TypeVar("T")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets another one go on: the journal's must not wait for long."""
INDEX_DELAY = 20.0
"""Seconds before the server looks for the first time for what recall does not know yet."""
BAD_CONFIGURATION = 2
"""The exit code when the settings cannot be used."""
CANNOT_LISTEN = 1
"""The exit code when there is a server already, or its socket cannot be made."""


@record
class Server:
    """A running server without connections."""

    sessions: Sessions
    origins: Origins
    owner: Owner

    async def serve(self, streams: Streams, protocol: str, origin: Origin) -> None:
        """Speak with one window until it leaves."""

        def acp(channel: Streams) -> AcpClient:
            return AcpClient(self.sessions, origin, channel, METHODS, NOTIFICATIONS)

        services: dict[str, Callable[[Streams], Service]] = {"acp": acp, "lsp": LspClient}
        await connection.serve(streams, protocol, services, origin.settings.max_line_bytes)


@contextlib.asynccontextmanager
async def running(env: Mapping[str, str]) -> AsyncGenerator[Server, None]:
    """A server that lives while the context is open."""
    places = config.paths(env)
    owner = Owner(places.data)
    database = Database(places.database, repair=True, claim=owner.claim)
    execution = LocalExecution(config.child_environment(env), places.state / "commands")
    protected = _protected(places)
    memory = SharedMemory(places, database, config.child_environment(env))

    async def tools(opening: Opening, place: Place, remembering: Remembering) -> SessionTools:
        families = await asyncio.to_thread(_tool_families)
        origin, servers = opening.origin, opening.mcp_servers
        source = McpSource(servers, place.cwd, origin.env, place.roots) if servers else None
        history = families.History(database, places.projects, _cheap_model(origin))
        timeout, notebook = origin.settings.command_timeout, remembering.notebook
        more = await _service_tools(origin, remembering)
        return cast("SessionTools", families.Toolset(source, timeout, origin.env, history, notebook, more))

    async def isolation(origin: Origin) -> Isolation:
        # Few sessions want it, and git's side of it takes a while to import.
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.isolation")
        return cast("Isolation", module.Isolation(places.projects, origin.env))

    async def checkpointing(origin: Origin) -> Checkpointing:
        # The first turn that changes something wants it.
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.checkpointing")
        return cast("Checkpointing", module.Checkpointing(places.projects, origin.env, protected))

    async def forget_files(row: SessionRow) -> None:
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.checkpointing")
        remove = cast("Callable[[Path, Mapping[str, str], SessionRow], Awaitable[None]]", module.forget)
        await remove(places.projects, env, row)

    async def trusting(origin: Origin) -> Trusting:
        # Most projects bring nothing that has to be trusted.
        module = await asyncio.to_thread(import_module, "hermes_acp.agent.trust")
        return cast("Trusting", module.open_trusting(places, origin.env))

    sessions = Sessions(
        Shared(
            stores=_stores(database, places, forget_files, memory),
            execution=execution,
            tools=tools,
            protected=protected,
            config_file=str(places.config_file),
            trouble=lambda: database.notice,
            isolation=isolation,
            checkpointing=checkpointing,
            trusting=trusting,
        )
    )
    origins = Origins(places.config_file, sessions.uses)
    try:
        async with asyncio.TaskGroup() as group:
            living = group.create_task(sessions.run())
            copying = group.create_task(backup.daily(places.database, database.doubt))
            indexing = group.create_task(_keep_index(database))
            learning = group.create_task(memory.run())
            try:
                yield Server(sessions, origins, owner)
            finally:
                for task in (living, copying, indexing, learning):
                    task.cancel()
    finally:
        await memory.aclose()
        await execution.aclose()
        await origins.aclose()
        await database.close()
        await asyncio.to_thread(owner.release)


def _cheap_model(origin: Origin) -> Callable[[], Awaitable[Model]] | None:
    """Opens the model for small work of the memory, where one is set."""
    name = origin.settings.memory_model
    return partial(origin.models.open, name) if name else None


async def _service_tools(origin: Origin, remembering: Remembering) -> tuple[Tool, ...]:
    """What the model can ask the memory services of the user; most have none."""
    if not origin.settings.memory_services or (outside := await remembering.outside()) is None:
        return ()
    module = await asyncio.to_thread(import_module, "hermes_acp.tools.memory_services")
    return cast("tuple[Tool, ...]", module.service_tools(outside))


def _tool_families() -> ModuleType:
    """For a thread: their parameter classes take time to build, which no answer should wait for."""
    name = "hermes_acp.tools.toolset"
    first = name not in sys.modules
    families = import_module(name)
    if first:
        # The first prompt comes soon.
        import_module("hermes_acp.agent.turn_run")
        # What was imported since the start stays, too.
        gc.freeze()
    return families


def _stores(
    database: Database,
    places: config.Paths,
    forget_files: Callable[[SessionRow], Awaitable[None]],
    memory: SharedMemory,
) -> Stores:
    return Stores(
        table=SessionTable(database),
        journal=Journal(database),
        rules=Rules(database),
        claims=Claims(places.claims),
        registry=Registry(places.projects),
        forget_files=forget_files,
        memory=memory,
    )


async def _keep_index(database: Database) -> None:
    """Have what is said found by recall, until cancelled; `RecallIndex.keep` says how."""
    # Whoever starts us waits for other things.
    await asyncio.sleep(INDEX_DELAY)
    module = await asyncio.to_thread(import_module, "hermes_acp.storage.recall_index")
    await cast("RecallIndex", module.RecallIndex(database)).keep()


# --- one window, one server ----------------------------------------------------------------------


async def serve(env: Mapping[str, str], cwd: str, streams: Streams, protocol: str) -> int:
    """Serve one window with a server of its own. Returns the exit code."""
    async with running(env) as server:
        try:
            origin = await server.origins.of(env, cwd)
        except config.ConfigError as error:
            sys.stderr.write(f"hermes-editor: {error}\n")
            return BAD_CONFIGURATION
        _set_log_level(origin.settings)
        await server.serve(streams, protocol, origin)
    return 0


def stdio(protocol: str, source: int, target: int) -> int:
    """Serve the editor at the other end of two descriptors until it leaves. Returns the exit code."""
    cwd = str(Path.cwd())

    async def work() -> int:
        streams = await from_descriptors(source, target)
        return await _until_signal(serve(config.environment(), cwd, streams, protocol)) or 0

    _begin("hermes-editor: %(levelname)s %(name)s: %(message)s")
    return asyncio.run(work())


# --- many windows, one server --------------------------------------------------------------------


class Hosting:
    """What the shared server does for its windows (`server.daemon.Work`)."""

    def __init__(self, server: Server, daemon: Daemon, stalls: StallWatch) -> None:
        self._server = server
        self._daemon = daemon
        self._stalls = stalls

    @property
    def opened(self) -> int:
        """How many sessions are in memory."""
        return self._server.sessions.opened

    @property
    def running(self) -> int:
        """How many of them work on a turn."""
        return self._server.sessions.running

    async def open(self, hello: Hello) -> Talk:
        """Read the window's settings. Raises `Refused` when they are wrong."""
        if hello.protocol == control.PROTOCOL:
            return self._control
        try:
            origin = await self._server.origins.of(hello.env, hello.cwd)
        except config.ConfigError as error:
            raise Refused(str(error)) from error

        async def talk(streams: Streams) -> None:
            await self._server.serve(streams, hello.protocol, origin)

        return talk

    def hand_over(self) -> None:
        """Let another process write the data folder; what still runs here writes in turn with it."""
        self._server.owner.release()

    async def _control(self, streams: Streams) -> None:
        def service(channel: Streams) -> ControlClient:
            return ControlClient(channel, self._daemon, self, self._stalls)

        await connection.serve(streams, control.PROTOCOL, {control.PROTOCOL: service}, control.LINE_LIMIT)


def daemon(ready: int | None) -> int:
    """Run the shared server until nobody needs it. Returns the exit code.

    One byte is written to the descriptor `ready` when windows can connect.
    """
    _begin("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    os.chdir("/")
    stalls = StallWatch()
    env = config.environment()
    places = folders.find(env)
    data = os.path.realpath(places.data)
    try:
        listener = Listener(places)
    except (AlreadyRunning, Untrusted, OSError) as error:
        sys.stderr.write(f"hermes-editor: {error}\n")
        return CANNOT_LISTEN

    if ready is not None:
        os.set_blocking(ready, False)

    async def work() -> None:
        settings = await asyncio.to_thread(_own_settings, env)
        serving = Daemon(listener, data, settings.server_idle)
        async with running(env) as server:
            if ready is not None:
                # Whoever started us may have been killed; the next window finds us all the same.
                with contextlib.suppress(BrokenPipeError):
                    os.write(ready, b"1")
                os.close(ready)
            await _until_signal(serving.run(Hosting(server, serving, stalls)))

    with asyncio.Runner(loop_factory=stalls.loop) as runner:
        runner.run(work())
    return 0


def _own_settings(env: Mapping[str, str]) -> config.Settings:
    """The server's settings; when they are wrong, each window is told, and defaults serve here."""
    try:
        settings = config.settings(env, config.paths(env).config_file)
    except config.ConfigError:
        settings = config.Settings()
    _set_log_level(settings)
    return settings


# --- both ----------------------------------------------------------------------------------------


def _begin(log_format: str) -> None:
    logged.begin(log_format)
    sys.setswitchinterval(SWITCH_INTERVAL)
    # What was imported stays: the collector need not look at it again.
    gc.freeze()
    gc.enable()


async def _until_signal(work: Coroutine[None, None, T]) -> T | None:
    """The outcome of the work; a signal that asks for the end cancels it: None."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
    return None if task.cancelled() else task.result()


def _set_log_level(settings: config.Settings) -> None:
    logging.getLogger().setLevel(settings.log_level.upper())


def _protected(places: config.Paths) -> tuple[str, ...]:
    own = (places.config, places.data, places.state, places.runtime)
    return tuple(os.path.realpath(folder) for folder in own)
