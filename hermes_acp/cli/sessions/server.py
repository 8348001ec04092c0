"""The shared server, as the commands about sessions need it: what runs in it, and an ACP client of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from hermes_acp import __version__, endpoint, folders
from hermes_acp.cli import server_control
from hermes_acp.cli.acp_client import Agent, Host, Unanswered, speaking
from hermes_acp.cli.sessions.store import Store
from hermes_acp.endpoint import Hello, Refused, Untrusted
from hermes_acp.server.messages import Json
from hermes_acp.storage.claims import Claims
from hermes_acp.storage.sessions import SessionRow

NAME = "hermes-editor-sessions"


async def running(store: Store, rows: list[SessionRow], env: Mapping[str, str]) -> set[str]:
    """The ids of the sessions that work on a turn in the shared server. Raises `StorageError`."""
    unended = await store.unended(rows)
    if not unended:
        return set()
    server = await asyncio.to_thread(_server, env)
    claims = Claims(store.paths.claims)
    # A turn whose server died has no end either, until its session is opened again.
    holders = await asyncio.to_thread(lambda: {name: claims.last_holder(name) for name in unended})
    return {name for name, holder in holders.items() if holder is not None and holder == server}


@asynccontextmanager
async def client(env: Mapping[str, str], host: Host | None = None) -> AsyncGenerator[Agent | None, None]:
    """A connection to the shared server, introduced; None when none listens.

    Without a `host` it opens no session. Raises `Refused`, `AgentError` and `AgentGone`.
    """
    connection = await asyncio.to_thread(_greeted, env)
    if connection is None:
        yield None
        return
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        async with speaking(reader, writer, host or _Nobody()) as agent:
            await agent.initialize(NAME, {})
            yield agent
    finally:
        writer.close()


class _Nobody:
    """The host of a client that opens no session."""

    def show(self, session_id: str, update: Json) -> None:
        """Nothing is watched."""

    async def answer(self, method: str, params: Json) -> Json:  # noqa: ARG002 (the seam's signature)
        """Nothing is asked."""
        raise Unanswered("Nobody is here to answer.")


def _server(env: Mapping[str, str]) -> int | None:
    """The process id of the shared server."""
    try:
        with server_control.opened(folders.find(env)) as control:
            return None if control is None else control.pid
    except (Untrusted, Refused, OSError):
        return None


def _greeted(env: Mapping[str, str]) -> socket.socket | None:
    """Raises `Refused`."""
    places = folders.find(env)
    data = os.path.realpath(places.data)
    try:
        connection = endpoint.connect(places)
        if connection is None:
            return None
        hello = Hello("acp", __version__, data, data, ["sessions"], env)
        return None if endpoint.greet(connection, hello) is None else connection
    except (Untrusted, OSError):
        # Where none can be reached, each window has a server of its own; claims tell what they hold.
        return None
