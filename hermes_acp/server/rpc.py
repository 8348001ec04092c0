"""Symmetrical JSON-RPC: serves the other side's requests and sends our own.

Each inbound call runs in a task of its own. Calls with the same *lane* (the session they name) run
in the order they came, calls of different lanes run beside each other. `$/cancel_request` works in
both directions and is never queued.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

from hermes_acp.records import record
from hermes_acp.server import messages
from hermes_acp.server.dispatch import Result, dispatch_to_response_pure, to_serializable
from hermes_acp.server.messages import Error, Id, Malformed, Notification, Request, Response

INBOUND_BOUND = 1_024
"""Calls of the other side that may be under way at once; one more is answered with an error."""
OUTBOUND_BOUND = 1_024
"""Requests of ours that may wait for an answer at once."""
LAST_CALLS = 0.3
"""Seconds in which calls can still be answered after the input has ended."""

Method: TypeAlias = Callable[..., Awaitable[Result]]
Work: TypeAlias = Callable[["asyncio.Task[None] | None"], Coroutine[None, None, None]]
logger = logging.getLogger(__name__)


class Deferred:
    """The result of a call that is answered later, through `Peer.reply` or `Peer.fail`."""


DEFERRED = Deferred()


class _Ended(Exception):
    """Ends the task group of a connection whose input has ended."""


class RemoteError(Exception):
    """The other side answered our request with an error."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.message} ({error.code})")
        self.error = error


class Disconnected(Exception):
    """The connection ended before the answer came."""


@record
class Call:
    """One inbound call: its service, and the way to answer before the handler returns."""

    service: object
    peer: Peer
    request_id: Id

    def answer(self, result: object) -> Deferred:
        """Send the answer now, so that what is written next follows it."""
        self.peer.reply(self.request_id, result)
        return DEFERRED


class Service(Protocol):
    """What a protocol puts behind a `Peer`."""

    @property
    def methods(self) -> Mapping[str, Method]:
        """Requests by name; each takes the `Call` and the members of `params`."""
        ...

    @property
    def notifications(self) -> Mapping[str, Method]:
        """Notifications by name."""
        ...

    def lane(self, params: object) -> str:
        """The queue that a call belongs to."""
        ...

    def cancel_deferred(self, request_id: Id) -> None:
        """The other side no longer wants the deferred answer to this request."""
        ...


class Peer:
    """One side of a connection. `run` owns all its tasks."""

    def __init__(self, service: Service, write: Callable[[bytes], None]) -> None:
        self._service = service
        self._write = write
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._serving: dict[tuple[type, Id], asyncio.Task[None] | None] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._calls = 0
        self._closed = False
        self._tasks = asyncio.TaskGroup()

    async def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Serve while `body` (which feeds `receive`) runs; then cancel what is still under way."""
        try:
            async with self._tasks:
                await body()
                if self._lanes:
                    await asyncio.wait(list(self._lanes.values()), timeout=LAST_CALLS)
                self._close()
                raise _Ended
        except* _Ended:
            pass
        finally:
            self._close()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something for this connection that ends with it."""
        return self._tasks.create_task(work)

    @property
    def closed(self) -> bool:
        """Whether the other side can no longer be asked anything."""
        return self._closed

    def end(self) -> None:
        """End the connection from our side."""

        async def leave() -> None:
            self._close()
            raise _Ended

        self.spawn(leave())

    def receive(self, frame: bytes) -> None:
        """Take in one frame."""
        match messages.decode(frame):
            case Request() as request:
                self._on_request(request)
            case Notification(method="$/cancel_request", params=params):
                self._on_cancel(params)
            case Notification() as notification:
                self._on_notification(notification)
            case Response() as response:
                self._on_response(response)
            case Malformed(request_id, error):
                self._write(messages.failure(request_id, error))

    def reject(self, error: Error) -> None:
        """Answer something unreadable."""
        self._write(messages.failure(None, error))

    def _close(self) -> None:
        self._closed = True
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Disconnected("The client closed the connection."))

    # --- answers to the other side ---------------------------------------------------------------

    def reply(self, request_id: Id, result: object) -> None:
        """Answer a deferred request; ignored when it has been answered already."""
        if self._serving.pop(_key(request_id), self) is not self:
            self._write(messages.success(request_id, result))

    def fail(self, request_id: Id, error: Error) -> None:
        """Answer a deferred request with an error."""
        if self._serving.pop(_key(request_id), self) is not self:
            self._write(messages.failure(request_id, error))

    # --- our own requests ------------------------------------------------------------------------

    async def request(self, method: str, params: object) -> object:
        """Ask the other side. Raises `RemoteError` and `Disconnected`; cancelling withdraws it."""
        if self._closed:
            raise Disconnected("The client has closed the connection.")
        if len(self._pending) >= OUTBOUND_BOUND:
            raise Disconnected(f"The client leaves {OUTBOUND_BOUND} requests unanswered.")
        request_id = next(self._ids)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = future
        self._write(messages.request(request_id, method, params))
        try:
            return await future
        except asyncio.CancelledError:
            if not self._closed:
                self.notify("$/cancel_request", {"requestId": request_id})
            raise
        finally:
            del self._pending[request_id]

    def notify(self, method: str, params: object) -> None:
        """Tell the other side."""
        self._write(messages.notification(method, params))

    # --- inbound ---------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        key = _key(request.id)
        if key in self._serving:
            problem = "A request with this id is still being served."
            self._write(messages.failure(request.id, Error(messages.INVALID_REQUEST, problem)))
        elif self._calls >= INBOUND_BOUND:
            problem = f"More than {INBOUND_BOUND} calls are under way: wait for some answers."
            self._write(messages.failure(request.id, Error(messages.INTERNAL_ERROR, problem)))
        else:
            self._serving[key] = None
            task = self._enqueue(partial(self._serve, request), request.params)
            task.add_done_callback(partial(self._answer_unserved, request.id))
            self._serving[key] = task

    def _on_notification(self, notification: Notification) -> None:
        if notification.method not in self._service.notifications:
            return
        if self._calls >= INBOUND_BOUND:
            logger.warning("dropped %s: too many calls under way", notification.method)
            return
        self._enqueue(partial(self._deliver, notification), notification.params)

    def _enqueue(self, work: Work, params: object) -> asyncio.Task[None]:
        lane = self._service.lane(params)
        self._calls += 1
        task = self._tasks.create_task(work(self._lanes.get(lane)))
        self._lanes[lane] = task
        task.add_done_callback(partial(self._done, lane))
        return task

    def _done(self, lane: str, task: asyncio.Task[None]) -> None:
        self._calls -= 1
        if self._lanes.get(lane) is task:
            del self._lanes[lane]

    def _answer_unserved(self, request_id: Id, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step never runs, so it cannot answer by itself.
        if task.cancelled() and not self._closed:
            self.fail(request_id, Error(messages.CANCELLED, "The request was cancelled."))

    async def _serve(self, request: Request, before: asyncio.Task[None] | None) -> None:
        try:
            await _after(before)
            call = Call(self._service, self, request.id)
            outcome = await self._dispatch(call, request.method, request.params, self._service.methods)
        except asyncio.CancelledError:
            self.fail(request.id, Error(messages.CANCELLED, "The request was cancelled."))
            if self._closed:
                raise
            # Whoever waits behind this call must not overtake the one before it.
            await _after(before)
            return
        if isinstance(outcome, Error):
            self.fail(request.id, outcome)
        elif outcome is not DEFERRED:
            self.reply(request.id, outcome)
        elif _key(request.id) in self._serving:
            self._serving[_key(request.id)] = None

    async def _deliver(self, notification: Notification, before: asyncio.Task[None] | None) -> None:
        await _after(before)
        call, methods = Call(self._service, self, None), self._service.notifications
        outcome = await self._dispatch(call, notification.method, notification.params, methods)
        if isinstance(outcome, Error):
            logger.warning("ignored %s: %s", notification.method, outcome.message)

    async def _dispatch(
        self, context: Call, method: str, params: object, methods: Mapping[str, Method]
    ) -> object:
        if params is not None and not isinstance(params, dict):
            return Error(messages.INVALID_PARAMS, '"params" must be an object.')
        call: messages.Json = {"method": method, "params": params, "id": None}
        answer = await dispatch_to_response_pure(
            deserializer=cast("Any", _unchanged),
            validator=cast("Any", _unchanged),
            methods=cast("Any", methods),
            context=context,
            post_process=cast("Any", to_serializable),
            request=cast("Any", call),
        )
        body = cast("dict[str, Any]", answer)
        if (error := body.get("error")) is not None:
            return Error(error["code"], error["message"], error.get("data"))
        return body["result"]

    def _on_cancel(self, params: object) -> None:
        if not isinstance(params, dict):
            return
        request_id = cast("Id", cast("messages.Json", params).get("requestId"))
        if not isinstance(request_id, int | str) or _key(request_id) not in self._serving:
            return
        task = self._serving[_key(request_id)]
        if task is None or task.done():
            self._service.cancel_deferred(request_id)
        else:
            task.cancel()

    def _on_response(self, response: Response) -> None:
        future = self._pending.get(response.id) if isinstance(response.id, int) else None
        if future is None or future.done():
            return
        if response.error is not None:
            future.set_exception(RemoteError(response.error))
        else:
            future.set_result(response.result)


def _key(request_id: Id) -> tuple[type, Id]:
    return type(request_id), request_id


def _unchanged(message: messages.Json) -> messages.Json:
    return message


async def _after(task: asyncio.Task[None] | None) -> None:
    if task is not None and not task.done():
        await asyncio.wait([task])
