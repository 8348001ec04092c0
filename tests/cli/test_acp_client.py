"""The ACP client against an agent on a loopback socket that says what the test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from hermes_acp.cli import acp_client
from hermes_acp.cli.acp_client import Agent, AgentError, AgentGone, Unanswered
from hermes_acp.server.messages import Json


@dataclass
class Host:
    shown: list[object] = field(default_factory=list[object])
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    answers: dict[str, asyncio.Future[Json]] = field(default_factory=dict[str, "asyncio.Future[Json]"])
    withdrawn: list[str] = field(default_factory=list[str])

    def show(self, session_id: str, update: Json) -> None:
        self.shown.append((session_id, update))

    async def answer(self, method: str, params: Json) -> Json:
        if method == "fs/read_text_file":
            raise Unanswered("not here")
        self.answers[method] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(method)
        try:
            return await self.answers[method]
        except asyncio.CancelledError:
            self.withdrawn.append(method)
            raise


@dataclass
class Wire:
    """The agent's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def got(self) -> dict[str, Any]:
        return json.loads(await self.reader.readline())

    def say(self, **message: object) -> None:
        self.writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


@asynccontextmanager
async def connected(host: Host) -> AsyncGenerator[tuple[Agent, Wire]]:
    wires: asyncio.Queue[Wire] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wires.put(Wire(reader, writer))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        wire = await wires.get()
        try:
            async with acp_client.speaking(reader, writer, host) as agent:
                yield agent, wire
        finally:
            writer.close()
            wire.writer.close()


async def test_several_calls_wait_at_once_and_updates_come_while_nothing_is_called() -> None:
    host = Host()
    async with connected(host) as (agent, wire), asyncio.TaskGroup() as calls:
        one, two = calls.create_task(outcome(agent.call("a", {}))), calls.create_task(agent.call("b", {}))
        ids = {message["method"]: message["id"] for message in [await wire.got(), await wire.got()]}
        wire.say(method="session/update", params={"sessionId": "s", "update": {"n": 1}})
        wire.say(id=ids["b"], result={"is": "b"})
        wire.say(id=99, result={})
        assert await two == {"is": "b"}
        assert (host.shown, one.done()) == ([("s", {"n": 1})], False)
        wire.say(id=ids["a"], error={"code": -32000, "message": "No key."})
        assert await one == "No key. (-32000)"


async def outcome(call: Coroutine[None, None, Json]) -> object:
    try:
        return await call
    except AgentError as error:
        return f"{error} ({error.code})"


async def test_what_follows_an_answer_is_shown_after_its_caller_has_gone_on() -> None:
    host = Host()
    async with connected(host) as (agent, wire), asyncio.TaskGroup() as calls:

        async def caller() -> None:
            await agent.call("a", {})
            host.shown.append("the caller")

        calls.create_task(caller())
        number = (await wire.got())["id"]
        update = {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": {}}}
        answer = {"jsonrpc": "2.0", "id": number, "result": {}}
        wire.writer.write("".join(f"{json.dumps(item)}\n" for item in (update, answer, update)).encode())
        await wire.writer.drain()
        wire.say(id=1, method="elicitation/create", params={})
        await host.asked.get()
    assert host.shown == [("s", {}), "the caller", ("s", {})]


async def test_a_question_is_answered_later_and_another_one_meanwhile() -> None:
    host = Host()
    async with connected(host) as (_, wire):
        wire.say(id="q1", method="session/request_permission", params={})
        assert await host.asked.get() == "session/request_permission"
        wire.say(id="q2", method="fs/read_text_file", params={})
        assert (await wire.got())["error"] == {"code": -32601, "message": "not here"}
        host.answers["session/request_permission"].set_result({"ok": True})
        assert await wire.got() == {"jsonrpc": "2.0", "id": "q1", "result": {"ok": True}}


async def test_a_question_that_is_withdrawn_ends_with_the_error_for_it() -> None:
    host = Host()
    async with connected(host) as (_, wire):
        wire.say(id=7, method="elicitation/create", params={})
        await host.asked.get()
        wire.say(method="$/cancel_request", params={"requestId": 8})
        wire.say(method="$/cancel_request", params={"requestId": 7})
        assert (await wire.got())["error"]["code"] == -32800
        assert host.withdrawn == ["elicitation/create"]


async def test_the_end_of_the_agent_ends_every_call_and_every_question() -> None:
    host = Host()
    with pytest.raises(AgentGone):
        async with connected(host) as (agent, wire):
            wire.say(id=7, method="elicitation/create", params={})
            await host.asked.get()
            wire.writer.close()
            await agent.gone()
            assert host.withdrawn == ["elicitation/create"]
            await agent.call("a", {})


async def test_an_error_of_the_caller_stays_what_it_is() -> None:
    with pytest.raises(KeyError):
        async with connected(Host()):
            raise KeyError
