"""The composition root: the only module that knows all the others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from hermes_acp import config
from hermes_acp.agent.models import Models
from hermes_acp.agent.sessions import Sessions, Shared, Stores
from hermes_acp.agent.turn import Place
from hermes_acp.server import connection, framing
from hermes_acp.server.acp.client import AcpClient
from hermes_acp.server.acp.handlers import METHODS, NOTIFICATIONS
from hermes_acp.server.lsp.server import LspClient
from hermes_acp.server.streams import Streams, from_descriptors
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionTable
from hermes_acp.tools.base import SessionTools
from hermes_acp.tools.mcp_config import McpServer
from hermes_acp.tools.mcp_tools import McpSource
from hermes_acp.workspace.execution.local import LocalExecution

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets another one go on: the journal's must not wait for long."""
BAD_CONFIGURATION = 2
"""The exit code when the settings cannot be used."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server without connections."""

    sessions: Sessions
    models: Models
    settings: config.Settings


@contextlib.asynccontextmanager
async def running(env: Mapping[str, str]) -> AsyncGenerator[Server, None]:
    """A server that lives while the context is open. Raises `config.ConfigError`."""
    places = config.paths(env)
    models = Models(lambda: config.settings(env, places.config_file), env)
    settings = config.settings(env, places.config_file)
    logging.getLogger().setLevel(settings.log_level.upper())
    database = Database(places.database)
    execution = LocalExecution(config.child_environment(env))

    async def tools(servers: tuple[McpServer, ...], place: Place) -> SessionTools:
        # Their parameter classes take time to build, which no answer should wait for.
        families = await asyncio.to_thread(import_module, "hermes_acp.tools.toolset")
        source = McpSource(servers, place.cwd, env, place.roots) if servers else None
        return cast("SessionTools", families.Toolset(source, settings.command_timeout))

    sessions = Sessions(
        Shared(
            stores=Stores(SessionTable(database), Journal(database), Rules(database), Claims(places.claims)),
            execution=execution,
            tools=tools,
            models=models,
            env=config.child_environment(env),
            protected=_protected(places),
            settings=settings,
        )
    )
    try:
        async with asyncio.TaskGroup() as group:
            living = group.create_task(sessions.run())
            try:
                yield Server(sessions, models, settings)
            finally:
                living.cancel()
    finally:
        await execution.aclose()
        await models.aclose()
        await database.close()


async def serve(env: Mapping[str, str], streams: Streams, protocol: framing.Protocol | None) -> None:
    """Serve one connection with a server of its own."""
    async with running(env) as server:

        def acp(channel: Streams) -> AcpClient:
            return AcpClient(server.sessions, server.models, channel, METHODS, NOTIFICATIONS)

        await connection.serve(streams, protocol, acp, LspClient, server.settings.max_line_bytes)


def stdio(protocol: framing.Protocol | None, source: int, target: int) -> int:
    """Serve the editor at the other end of two descriptors until it leaves. Returns the exit code."""
    logging.basicConfig(format="hermes-editor: %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL)
    # What was imported stays: the collector need not look at it again.
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(_until_stopped(protocol, source, target))
    except config.ConfigError as error:
        sys.stderr.write(f"hermes-editor: {error}\n")
        return BAD_CONFIGURATION
    return 0


async def _until_stopped(protocol: framing.Protocol | None, source: int, target: int) -> None:
    streams = await from_descriptors(source, target)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(config.environment(), streams, protocol))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, serving.cancel)


def _protected(places: config.Paths) -> tuple[str, ...]:
    folders = (places.config, places.data, places.state, places.runtime)
    return tuple(os.path.realpath(folder) for folder in folders)
