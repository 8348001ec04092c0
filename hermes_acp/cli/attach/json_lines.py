"""`attach --json`: for scripts; every update and result is a line out, every prompt and answer a line in."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Mapping
from typing import TextIO

from hermes_acp.cli.acp_client import Agent, AgentError, AgentGone, Unanswered, start
from hermes_acp.cli.attach import received
from hermes_acp.cli.attach.lines import Lines
from hermes_acp.cli.attach.opening import Request, Surroundings, introduce, open_named
from hermes_acp.cli.attach.sessions import Listed
from hermes_acp.cli.command import FAILURE, SUCCESS
from hermes_acp.cli.run import CODES
from hermes_acp.server.messages import Json

BACKLOG = 64
"""Prompts that may wait for their answers; further lines of input wait."""
NOBODY = "Nobody is here to answer: the input has ended."
KINDS = (
    'A line is a prompt as plain text, or an object with one of "prompt" (text or content blocks), "steer" '
    '(text), "answer" (the id of a request, with "result"), or "cancel" (true).'
)


class Script:
    """The session as lines (`acp_client.Host`); `code` is the exit code of the last prompt."""

    def __init__(self, out: TextIO) -> None:
        self.code = SUCCESS
        self.session = Listed("", "/")
        self._out = out
        self._agent: Agent | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._room = asyncio.Semaphore(BACKLOG)
        self._ended = False

    def expect(self, session: Listed) -> None:
        """The session's past comes now (`opening.Joining`)."""
        self.session = session

    def opened(self, agent: Agent, answer: Json) -> None:
        """The session is open (`opening.Joining`)."""
        self._agent = agent
        self._print("session", {"sessionId": self.session.session_id, "cwd": self.session.cwd, **answer})

    def show(self, session_id: str, update: Json) -> None:
        """Print an update (`Host`)."""
        self._print("update", {"sessionId": session_id, "update": update})

    async def answer(self, method: str, params: Json) -> Json:
        """Print a request of the agent and wait for its answer (`Host`)."""
        if self._ended:
            raise Unanswered(NOBODY)
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._print("request", {"id": number, "method": method, "params": params})
        try:
            return await self._waiting[number]
        except asyncio.CancelledError:
            self._print("withdrawn", {"id": number})
            raise
        finally:
            del self._waiting[number]

    async def run(self, typed: Lines) -> None:
        """Take lines until the input ends and every prompt is answered."""
        async with asyncio.TaskGroup() as prompts:
            while (line := await typed.next()) is not None:
                try:
                    await self._take(line, prompts)
                except ValueError as error:
                    self._print("error", {"error": f"{error} {KINDS}"})
            self._ended = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Unanswered(NOBODY))

    def cancel(self) -> None:
        """Stop the running turn."""
        if self._agent is not None:
            self._agent.notify("session/cancel", {"sessionId": self.session.session_id})

    async def _take(self, line: str, prompts: asyncio.TaskGroup) -> None:
        """Do what a line says. Raises ValueError for one that says nothing."""
        said = _said(line)
        match said:
            case {"prompt": str() | list()}:
                await self._room.acquire()
                prompts.create_task(self._call("session/prompt", {"prompt": _blocks(said["prompt"])}))
            case {"steer": str() as text}:
                await self._room.acquire()
                prompts.create_task(self._call("_session/steering", {"prompt": _blocks(text)}))
            case {"answer": int() as number, "result": dict()}:
                self._answered(number, received.members(said["result"]))
            case {"cancel": True}:
                self.cancel()
            case None:
                pass
            case _:
                raise ValueError("This line says nothing that is known.")

    def _answered(self, number: int, result: Json) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            raise ValueError(f"No request {number} waits for an answer: it was answered or withdrawn.")
        future.set_result(result)

    async def _call(self, method: str, params: Mapping[str, object]) -> None:
        assert self._agent is not None
        try:
            answer = await self._agent.call(method, {"sessionId": self.session.session_id, **params})
        except AgentGone:
            return
        except AgentError as error:
            self.code = FAILURE
            self._print("result", {"method": method, "error": str(error), "code": error.code})
            return
        finally:
            self._room.release()
        if method == "session/prompt":
            self.code = CODES.get(str(answer.get("stopReason")), FAILURE)
        self._print("result", {"method": method, **answer})

    def _print(self, kind: str, record: Json) -> None:
        self._out.write(f"{json.dumps({'type': kind, **record})}\n")
        self._out.flush()


async def attach(request: Request, around: Surroundings) -> int:
    """Serve the lines: the exit code of the last prompt.

    Raises `AgentError`, `AgentGone` and `NoSession`.
    """
    script = Script(sys.stdout)
    async with start(script, around.env, errors=around.errors) as agent:
        await introduce(agent)
        await open_named(agent, script, request)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, script.cancel)
        try:
            await _until_over(agent, script)
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    return script.code


async def _until_over(agent: Agent, script: Script) -> None:
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(script.run(Lines(sys.stdin.fileno())))
        gone = tasks.create_task(agent.gone())
        await asyncio.wait([serving, gone], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        gone.cancel()
    if agent.ended:
        raise AgentGone


def _said(line: str) -> Json | None:
    """What a line says, None for nothing. Raises ValueError for an object that is none."""
    if not line.strip():
        return None
    if not line.lstrip().startswith("{"):
        return {"prompt": line}
    return received.members(json.loads(line))


def _blocks(prompt: object) -> list[object]:
    return [{"type": "text", "text": prompt}] if isinstance(prompt, str) else received.items(prompt)
