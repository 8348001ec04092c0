"""What the user asked for on the command line, and opening that session at a desk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from hermes_acp.cli.acp_client import Agent
from hermes_acp.cli.attach import sessions
from hermes_acp.cli.attach.sessions import CAPABILITIES, NAME, Listed
from hermes_acp.records import record
from hermes_acp.server.messages import Json


@record
class Request:
    """A session by its id or the beginning of it, a new one, or neither: then it is chosen."""

    session: str
    new: bool
    cwd: str


@record
class Surroundings:
    """The environment, the file of typed prompts, and where the agent's standard error goes."""

    env: Mapping[str, str]
    history: Path
    errors: BinaryIO


class Joining(Protocol):
    """Who takes part in a session."""

    def expect(self, session: Listed) -> None:
        """The session's past comes now."""
        ...

    def opened(self, agent: Agent, answer: Json) -> None:
        """The session is open."""
        ...


async def introduce(agent: Agent) -> None:
    """Say who we are and what we can show. Raises `AgentError` and `AgentGone`."""
    await agent.initialize(NAME, CAPABILITIES)


async def open_named(agent: Agent, joining: Joining, request: Request) -> None:
    """Open the session that is asked for by name, or a new one.

    Raises `AgentError`, `AgentGone` and `NoSession`.
    """
    if request.new:
        session, answer = await sessions.create(agent, request.cwd)
        joining.expect(session)
    else:
        session = sessions.named(await sessions.listing(agent), request.session)
        joining.expect(session)
        answer = await sessions.load(agent, session)
    joining.opened(agent, answer)
