"""`hermes-editor sessions rewind`: takes turns back from outside, as an editor does with `/rewind`."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from hermes_acp.agent.history import History
from hermes_acp.agent.rewind import NOTHING, listing_of
from hermes_acp.cli.acp_client import STANDALONE, Agent, AgentError, AgentGone, Unanswered, start
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.screen import safe
from hermes_acp.cli.sessions import server
from hermes_acp.cli.sessions.store import Store
from hermes_acp.endpoint import Refused
from hermes_acp.server.messages import Json
from hermes_acp.storage.sessions import SessionRow


class Listener:
    """The host of the command: it keeps what the agent says and answers nothing."""

    def __init__(self) -> None:
        self.text = ""
        self.rewound = False
        """Whether turns were taken back."""

    def show(self, session_id: str, update: Json) -> None:  # noqa: ARG002 (the seam's signature)
        """Keep the words of the agent."""
        match update:
            case {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": str() as text}}:
                self.text += text
            case {"sessionUpdate": "session_info_update", "_meta": {"hermes": {"rewound": dict()}}}:
                self.rewound = True
            case _:
                return

    async def answer(self, method: str, params: Json) -> Json:  # noqa: ARG002 (the seam's signature)
        """Nothing: all that there is to say is on the command line."""
        raise Unanswered("Nobody is here to answer.")


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("rewind", help="take the last turns back: their files and their words")
    parser.add_argument("session_id", metavar="ID", help="an id, or the beginning of one")
    parser.add_argument("--turns", type=_count, metavar="N", help="how many (without: list them)")


async def run(args: argparse.Namespace, store: Store, env: Mapping[str, str]) -> int:
    """Do it, in the shared server when one runs, or list the turns. Raises `StorageError` and `NoSession`."""
    row = await store.chosen(args.session_id)
    if args.turns is None:
        turns = History(await store.events(row)).done
        print(safe(listing_of(turns[::-1], "--turns 2")) if turns else NOTHING["undo"])
        return SUCCESS
    listener = Listener()
    try:
        async with _agent(listener, env) as agent:
            await _say(agent, row, f"/rewind {args.turns}")
    except (Refused, AgentError, AgentGone) as error:
        return fail(str(error))
    print(safe(listener.text))
    return SUCCESS if listener.rewound else FAILURE


@asynccontextmanager
async def _agent(listener: Listener, env: Mapping[str, str]) -> AsyncGenerator[Agent]:
    async with server.client(env, listener) as agent:
        if agent is not None:
            yield agent
            return
    async with start(listener, env, command=STANDALONE) as own:
        await own.initialize(server.NAME, {})
        yield own


async def _say(agent: Agent, row: SessionRow, command: str) -> None:
    place: Json = {
        "sessionId": row.session_id,
        "cwd": row.cwd,
        "additionalDirectories": list(row.additional_directories),
        "mcpServers": [],
    }
    await agent.call("session/resume", place)
    prompt: list[Json] = [{"type": "text", "text": command}]
    await agent.call("session/prompt", {"sessionId": row.session_id, "prompt": prompt})
    await agent.call("session/close", {"sessionId": row.session_id})


def _count(text: str) -> int:
    """A number of turns, at least one."""
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of turns")
    return int(text)
