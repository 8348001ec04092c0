"""The person and the editor behind an official client: answers what the agent asks, keeps what it tells.

Both clients forward what they parsed to one `Desk`, so that the same conversations are held through
both, and what they show is compared in one place.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PATIENCE = 60.0
"""Seconds to wait for something that has to happen."""

Json = dict[str, Any]


class CallError(Exception):
    """The agent answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class Refusal(Exception):
    """The desk does not answer a request of the agent."""


class Client(Protocol):
    """An official client that is connected to the real command."""

    async def call(self, method: str, params: Json) -> Json:
        """Send a request through the client's typed interface. Raises `CallError`."""
        ...

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification."""
        ...

    async def leave(self) -> int:
        """Close the agent's input and wait for its end: the exit code."""
        ...

    def kill(self) -> None:
        """End the agent's process without a warning."""
        ...

    async def ended(self) -> int:
        """Wait until the agent ends by itself: the exit code."""
        ...


@dataclass(slots=True)
class Terminal:
    """A command that the editor runs for the agent."""

    process: asyncio.subprocess.Process
    output: Path


@dataclass(slots=True)
class Desk:
    """What the editor offers, and everything it was told."""

    folder: Path
    """Where the output of terminals is kept."""
    choose: str | None = "allow_once"
    """The option that the person takes; None leaves the question open."""
    fill: Json | None = None
    """What the person fills into a form; None declines."""
    buffers: dict[str, str] = field(default_factory=dict[str, str])
    asked: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    told: list[Json] = field(default_factory=list[Json])
    withdrawn: int = 0
    _open: list[asyncio.Future[str]] = field(default_factory=list["asyncio.Future[str]"])
    _terminals: dict[str, Terminal] = field(default_factory=dict[str, Terminal])
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    # --- what clients forward ----------------------------------------------------------------------

    async def tell(self, params: Json) -> None:
        """A `session/update` arrived."""
        self.told.append(params)
        await self._notify()

    async def ask(self, method: str, params: Json) -> Json:
        """A request of the agent arrived: the answer."""
        self.asked.append((method, params))
        await self._notify()
        match method:
            case "session/request_permission":
                return await self._permission(params)
            case "elicitation/create":
                accepted = {"action": "accept", "content": self.fill}
                return {"action": "decline"} if self.fill is None else accepted
            case "fs/read_text_file":
                return {"content": await self._read(params["path"])}
            case "fs/write_text_file":
                self.buffers[params["path"]] = params["content"]
                await asyncio.to_thread(Path(params["path"]).write_text, params["content"])
                return {}
            case _:
                return await self._terminal(method, params)

    # --- what tests use ----------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the agent said makes the condition true."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(condition)

    def updates(self, session_id: str, kind: str = "") -> list[Json]:
        """The updates of a session, of one kind or of all."""
        return [
            item["update"]
            for item in self.told
            if item["sessionId"] == session_id and kind in ("", item["update"]["sessionUpdate"])
        ]

    def requests(self, method: str) -> list[Json]:
        """The parameters of what the agent asked with this method."""
        return [params for name, params in self.asked if name == method]

    def answer_open(self, option_id: str | None) -> None:
        """Answer the questions that were left open; None as a client does that cancels."""
        for future in self._open:
            if not future.done():
                future.set_result(option_id or "")
        self._open.clear()

    # --- details -----------------------------------------------------------------------------------

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _permission(self, params: Json) -> Json:
        chosen = self.choose
        if chosen is None:
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._open.append(future)
            try:
                chosen = await future
            except asyncio.CancelledError:
                self.withdrawn += 1
                raise
        offered = [option["optionId"] for option in params["options"]]
        if chosen not in offered:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": chosen}}

    async def _read(self, path: str) -> str:
        if path in self.buffers:
            return self.buffers[path]
        try:
            return await asyncio.to_thread(Path(path).read_text)
        except FileNotFoundError as error:
            raise Refusal(f"{path} does not exist") from error

    async def _terminal(self, method: str, params: Json) -> Json:
        if method == "terminal/create":
            return await self._create(params)
        terminal = self._terminals[params["terminalId"]]
        process = terminal.process
        match method:
            case "terminal/output":
                output = await asyncio.to_thread(terminal.output.read_text)
                return {"output": output, "truncated": False}
            case "terminal/wait_for_exit":
                return _exit(await process.wait())
            case "terminal/kill":
                _end(process)
                return {}
            case "terminal/release":
                _end(process)
                await process.wait()
                return {}
        raise Refusal(f"{method} is not offered")

    async def _create(self, params: Json) -> Json:
        terminal_id = f"editor-{len(self._terminals) + 1}"
        output = self.folder / f"{terminal_id}.txt"
        with await asyncio.to_thread(output.open, "wb") as target:
            process = await asyncio.create_subprocess_exec(
                params["command"],
                *params.get("args", []),
                cwd=params["cwd"],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=target,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._terminals[terminal_id] = Terminal(process, output)
        return {"terminalId": terminal_id}


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


def _exit(code: int) -> Json:
    if code < 0:
        return {"exitCode": None, "signal": signal.Signals(-code).name}
    return {"exitCode": code, "signal": None}
