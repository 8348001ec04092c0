"""Both sides of a connection: order, cancellation, answers, and the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonrpcserver import JsonRpcError, Success
from jsonrpcserver.result import Result

from hermes_acp.server import messages, rpc
from hermes_acp.server.messages import Error, Id
from hermes_acp.server.rpc import DEFERRED, Call, Disconnected, Method, Peer, RemoteError

Json = dict[str, Any]


class Recorder:
    """A service whose calls wait for the test, and everything that was written."""

    def __init__(self) -> None:
        self.peer = Peer(self, self.write)
        self.lines: list[Json] = []
        self.order: list[str] = []
        self.go = asyncio.Event()
        self.withdrawn: list[Id] = []
        self._written = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.lines += [json.loads(line) for line in data.splitlines()]
        self._written.set()

    async def wrote(self, count: int) -> list[Json]:
        """The lines, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.lines) < count:
                self._written.clear()
                await self._written.wait()
        return self.lines

    @property
    def methods(self) -> Mapping[str, Method]:
        return {"wait": wait, "fail": fail, "crash": crash, "later": later, "echo": echo}

    @property
    def notifications(self) -> Mapping[str, Method]:
        return {"wait": wait, "crash": crash, "echo": echo}

    def lane(self, params: object) -> str:
        return params.get("lane", "") if isinstance(params, dict) else ""

    def cancel_deferred(self, request_id: Id) -> None:
        self.withdrawn.append(request_id)


async def wait(call: Call, /, name: str = "", **_: object) -> Result:
    service = call.service
    assert isinstance(service, Recorder)
    service.order.append(f"{name} begins")
    await service.go.wait()
    service.order.append(f"{name} ends")
    return Success(name)


async def echo(call: Call, /, **params: object) -> Result:
    assert isinstance(call.service, Recorder)
    call.service.order.append(f"{params.get('name', '')} echoes")
    return Success(params)


async def fail(_call: Call, /, **_: object) -> Result:
    raise JsonRpcError(-7, "on purpose", {"why": 1})


async def crash(_call: Call, /, **_: object) -> Result:
    raise RuntimeError("on purpose")


async def later(_call: Call, /, **_: object) -> Result:
    return Success(DEFERRED)


def request(identity: object, method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode()


def notification(method: str, **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def result(identity: object, value: object) -> Json:
    return {"jsonrpc": "2.0", "id": identity, "result": value}


def errors(lines: list[Json]) -> list[tuple[object, int]]:
    return [(line["id"], line["error"]["code"]) for line in lines if "error" in line]


async def test_calls_of_one_lane_run_in_order_and_lanes_run_beside_each_other() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "wait", lane="a", name="a1"))
        service.peer.receive(request(2, "echo", lane="a", name="a2"))
        service.peer.receive(request(3, "echo", lane="b", name="b1"))
        await service.wrote(1)
        assert service.order == ["a1 begins", "b1 echoes"]
        service.go.set()
        await service.wrote(3)

    await service.peer.run(body)
    assert service.order == ["a1 begins", "b1 echoes", "a1 ends", "a2 echoes"]
    assert [line["id"] for line in service.lines] == [3, 1, 2]


async def test_a_cancelled_call_in_the_middle_lets_nobody_overtake_the_first() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "wait", lane="a", name="a1"))
        service.peer.receive(request(2, "echo", lane="a", name="a2"))
        service.peer.receive(request(3, "echo", lane="a", name="a3"))
        await asyncio.sleep(0)
        service.peer.receive(b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":2}}')
        await service.wrote(1)
        await asyncio.sleep(0)
        assert service.order == ["a1 begins"]
        service.go.set()
        await service.wrote(3)

    await service.peer.run(body)
    assert service.order == ["a1 begins", "a1 ends", "a3 echoes"]
    assert [line["id"] for line in service.lines] == [2, 1, 3]


async def test_failures_are_errors_and_bugs_are_internal_errors(caplog: pytest.LogCaptureFixture) -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "fail"))
        service.peer.receive(request(2, "crash"))
        service.peer.receive(request(3, "nothing"))
        service.peer.receive(b'{"jsonrpc":"2.0","id":4,"method":"echo","params":[1]}')
        service.peer.receive(notification("crash"))
        service.peer.receive(notification("nothing"))
        await service.wrote(4)

    await service.peer.run(body)
    assert errors(service.lines) == [(1, -7), (2, -32603), (3, -32601), (4, -32602)]
    assert service.lines[0]["error"] == {"code": -7, "message": "on purpose", "data": {"why": 1}}


async def test_an_id_in_use_is_refused_and_equal_numbers_and_texts_are_different_ids() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "wait", lane="a"))
        service.peer.receive(request(1, "echo", lane="b"))
        service.peer.receive(request("1", "echo", lane="c"))
        await service.wrote(2)
        service.go.set()
        await service.wrote(3)

    await service.peer.run(body)
    assert service.lines[0]["error"]["code"] == messages.INVALID_REQUEST
    assert [line["id"] for line in service.lines] == [1, "1", 1]


async def test_a_running_a_waiting_and_a_fresh_call_can_be_cancelled() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "wait", lane="a", name="first"))
        service.peer.receive(request(2, "wait", lane="a", name="second"))
        await asyncio.sleep(0)
        service.peer.receive(request(3, "wait", lane="b", name="third"))
        for identity in (3, 2, 1, 99, "1"):
            service.peer.receive(notification("$/cancel_request", requestId=identity))
        await service.wrote(3)

    await service.peer.run(body)
    assert sorted(errors(service.lines)) == [(number, messages.CANCELLED) for number in (1, 2, 3)]
    assert service.order in ([], ["first begins"])


async def test_a_deferred_answer_is_sent_once_and_can_be_withdrawn() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request("p", "later"))
        service.peer.receive(request("q", "echo"))
        await service.wrote(1)
        service.peer.receive(notification("$/cancel_request", requestId="p"))
        assert service.withdrawn == ["p"]
        service.peer.reply("p", {"done": True})
        service.peer.reply("p", {"done": "again"})
        service.peer.fail("p", Error(-1, "too late"))
        service.peer.reply("never asked", {})

    await service.peer.run(body)
    assert service.lines == [result("q", {}), result("p", {"done": True})]


async def test_our_requests_get_their_answers_by_id() -> None:
    service = Recorder()
    answers: list[object] = []

    async def ask(method: str) -> None:
        try:
            answers.append(await service.peer.request(method, {}))
        except RemoteError as problem:
            answers.append(problem.error)

    async def body() -> None:
        first = service.peer.spawn(ask("first"))
        second = service.peer.spawn(ask("second"))
        await service.wrote(2)
        service.peer.receive(b'{"jsonrpc":"2.0","id":2,"error":{"code":-5,"message":"no"}}')
        service.peer.receive(b'{"jsonrpc":"2.0","id":1,"result":{"yes":1}}')
        service.peer.receive(b'{"jsonrpc":"2.0","id":1,"result":"again"}')
        service.peer.receive(b'{"jsonrpc":"2.0","id":77,"result":"nobody asked"}')
        await asyncio.wait([first, second])

    await service.peer.run(body)
    assert answers == [Error(-5, "no"), {"yes": 1}] or answers == [{"yes": 1}, Error(-5, "no")]


async def test_a_request_of_ours_that_is_cancelled_is_withdrawn() -> None:
    service = Recorder()

    async def ask() -> None:
        await service.peer.request("question", {})

    async def body() -> None:
        task = service.peer.spawn(ask())
        await service.wrote(1)
        task.cancel()
        await service.wrote(2)

    await service.peer.run(body)
    assert service.lines[1]["params"] == {"requestId": 1}


async def test_the_end_of_the_input_ends_what_is_under_way_in_both_directions() -> None:
    service = Recorder()

    async def ask() -> None:
        await service.peer.request("question", {})

    async def body() -> None:
        service.peer.spawn(ask())
        service.peer.receive(request(1, "wait"))
        await service.wrote(1)

    await service.peer.run(body)
    assert service.lines[0] == {"jsonrpc": "2.0", "id": 1, "method": "question", "params": {}}
    assert errors(service.lines[1:]) == [(1, messages.CANCELLED)]
    with pytest.raises(Disconnected):
        await service.peer.request("another", {})


async def test_calls_that_only_need_a_moment_are_answered_after_the_end_of_the_input() -> None:
    service = Recorder()

    async def body() -> None:
        service.peer.receive(request(1, "echo"))
        service.peer.receive(request(2, "echo"))

    await service.peer.run(body)
    assert service.lines == [result(1, {}), result(2, {})]


async def test_too_many_calls_at_once_are_refused_and_the_others_are_served() -> None:
    service = Recorder()

    async def body() -> None:
        for number in range(rpc.INBOUND_BOUND + 1):
            service.peer.receive(request(number, "wait", lane=str(number)))
        await service.wrote(1)
        service.go.set()
        await service.wrote(rpc.INBOUND_BOUND + 1)

    await service.peer.run(body)
    assert errors(service.lines) == [(rpc.INBOUND_BOUND, messages.INTERNAL_ERROR)]
