"""The real command as a child process, and a raw client that keeps every line it writes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from hermes_acp import config
from tests.acp.audit import Audit
from tests.acp.client import AgentError, Asked, Session

Json = dict[str, Any]

PATIENCE = 60.0
"""Seconds that an expected line may take; a test that reaches it has failed."""
HOSTING = ("acp", *os.environ.get("HERMES_EDITOR_TEST_HOSTING", "").split())
"""How the agents under test are started: windows of a shared server, or with `--standalone`."""
SERVER_IDLE = 2
"""Seconds after which a shared server that no test needs any more ends by itself."""
KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR")
GUARD = Path(__file__).parent / "guard"
"""Makes the started command fail loudly when it blocks its event loop."""


Handler = Callable[[Asked], None]


def choosing(kind: str) -> Handler:
    """A handler that answers every permission request with the option of this kind."""
    return lambda asked: asked.choose(kind)


def replying(result: object) -> Handler:
    """A handler that always gives this result."""
    return lambda asked: asked.answer(result)


def holding(_asked: Asked) -> None:
    """A handler that leaves the request open for the test."""


@dataclass(repr=False)
class Agent(asyncio.SubprocessProtocol):
    """The started command. Lines are kept in order and audited as they come."""

    lines: list[Json] = field(default_factory=list)
    transcript: list[Json] = field(default_factory=list)
    """Both directions, in order: `{"in": …}` and `{"out": …}`."""
    answered: set[Any] = field(default_factory=set)
    """The ids of all answers."""
    asked: list[Asked] = field(default_factory=list)
    handlers: dict[str, Handler] = field(default_factory=dict)
    audit: Audit | None = field(default_factory=Audit)
    home: Path | None = None
    stderr: str = ""
    initialized: Json = field(default_factory=dict)
    last_id: int = 0
    """The id of the request begun last."""
    _rest: bytes = b""
    _waiting: dict[Any, asyncio.Future[Any]] = field(default_factory=dict)
    _watchers: list[tuple[Callable[[], object], asyncio.Future[Any]]] = field(default_factory=list)
    _transport: asyncio.SubprocessTransport | None = None

    # --- writing ---------------------------------------------------------------------------------

    def send(self, message: Json) -> None:
        """Write one message."""
        self.transcript.append({"in": message})
        if self.audit is not None:
            self.audit.sent(message)
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are; the audit does not hear of them."""
        pipe = cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0))
        pipe.write(data)

    def notify(self, method: str, params: object) -> None:
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def begin(self, method: str, params: object = None, *, request_id: Any = None) -> asyncio.Future[Any]:
        """Send a request; the future is its result, or raises `AgentError`."""
        if request_id is None:
            self.last_id += 1
            request_id = self.last_id
        future = self.expect(request_id)
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        return future

    def expect(self, request_id: Any) -> asyncio.Future[Any]:
        """One more answer under this id."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[type(request_id), request_id] = future
        return future

    def stop_reading(self) -> None:
        """Leave in the pipe what the agent writes from now on."""
        cast("asyncio.ReadTransport", self.transport.get_pipe_transport(1)).pause_reading()

    def go_on_reading(self) -> None:
        """Read again."""
        cast("asyncio.ReadTransport", self.transport.get_pipe_transport(1)).resume_reading()

    async def request(self, method: str, params: object = None, *, request_id: Any = None) -> Any:
        """Send a request and wait for its result. Raises `AgentError`."""
        return await self.settled(self.begin(method, params, request_id=request_id))

    async def initialize(self, capabilities: Json | None = None, **members: Any) -> Json:
        """The handshake; also what `initialized` is afterwards."""
        params = {"protocolVersion": 1, "clientCapabilities": capabilities or {}, **members}
        self.initialized = await self.request("initialize", params)
        return self.initialized

    async def new(self, cwd: Path, **members: Any) -> Session:
        """Open a new session."""
        opening = await self.request("session/new", {"cwd": str(cwd), "mcpServers": [], **members})
        return Session(self, opening["sessionId"], cwd, opening)

    # --- waiting ---------------------------------------------------------------------------------

    async def settled(self, future: asyncio.Future[Any], patience: float = PATIENCE) -> Any:
        """The outcome of a request; raises `TimeoutError` with the last lines when there is none."""
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise TimeoutError(self._scene("no answer")) from None

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until the condition gives something true; it is asked again at each line."""
        if found := condition():
            return found
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._watchers.append((condition, future))
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            raise TimeoutError(self._scene(f"never came: {what}")) from None

    async def question(self, method: str = "session/request_permission", count: int = 1) -> Asked:
        """Wait for the `count`-th request of this method."""

        def fits() -> Asked | None:
            found = [item for item in self.asked if item.method == method]
            return found[count - 1] if len(found) >= count else None

        return await self.until(fits, method)

    async def settle(self) -> None:
        """Wait until everything written so far was read: a request that nobody knows is answered."""
        future = self.begin("_test/nothing")
        try:
            await self.settled(future)
        except AgentError as error:
            assert error.code == -32601

    # --- the end ---------------------------------------------------------------------------------

    @property
    def transport(self) -> asyncio.SubprocessTransport:
        """The running process."""
        assert self._transport is not None
        return self._transport

    @property
    def pid(self) -> int:
        """The process id."""
        return self.transport.get_pid()

    @property
    def server(self) -> int:
        """The process that does the work: the shared server, or the started command itself."""
        runtime = self.home and self.home / "hermes" / "runtime"
        locks = list(runtime.glob("server-*.lock")) if runtime else []
        return int(locks[0].read_text()) if locks else self.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.transport.get_returncode()

    def end_input(self) -> None:
        """Close its standard input."""
        cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0)).close()

    async def exited(self) -> int:
        """Wait for its end; the exit code."""
        await self.until(lambda: self.exit_code is not None, "the end of the process")
        return cast("int", self.exit_code)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.exit_code is None:
            self.transport.kill()

    async def end(self) -> None:
        """Make sure that it is gone."""
        self.kill()
        await self.exited()
        self.transport.close()

    def log(self) -> str:
        """What the shared server wrote into its log."""
        file = self.home and self.home / "hermes" / "state" / "server.log"
        return file.read_text("utf-8", "replace") if file and file.exists() else ""

    async def problems(self) -> list[str]:
        """What was wrong since the last test, when nothing should be under way any more."""
        said = {"standard error": self.stderr, "the server's log": self.log()}
        found = [f"{where}:\n{text}" for where, text in said.items() if "Traceback" in text]
        try:
            if self.exit_code is None and self.audit is not None:
                await self.settle()
        except (TimeoutError, ConnectionError) as error:
            found.append(str(error))
        if self.audit is not None:
            if self.exit_code is None:
                self.audit.finish()
            found += self.audit.problems
        return found

    # --- what the process does (asyncio.SubprocessProtocol) --------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote."""
        if fd == 2:
            self.stderr += data.decode("utf-8", "replace")
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def process_exited(self) -> None:
        """It ended: what was asked of it will never be answered."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(self._scene("the process ended")))
                # Tests that end it themselves do not look at every request.
                future.exception()
        self._waiting.clear()
        self._look()

    def _take(self, message: Json) -> None:
        self.lines.append(message)
        self.transcript.append({"out": message})
        if self.audit is not None:
            self.audit.received(message)
        if "method" not in message:
            self.answered.add(message["id"])
            self._settle_request(message)
        elif "id" in message:
            asked = Asked(self, message["id"], message["method"], message["params"])
            self.asked.append(asked)
            self.handlers.get(asked.method, _refuse)(asked)
        elif message["method"] == "$/cancel_request":
            for asked in self.asked:
                asked.withdrawn |= asked.id == message["params"]["requestId"]
        self._look()

    def _settle_request(self, message: Json) -> None:
        future = self._waiting.pop((type(message["id"]), message["id"]), None)
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(AgentError(message["error"]))
        else:
            future.set_result(message["result"])

    def _look(self) -> None:
        for watcher in list(self._watchers):
            condition, future = watcher
            if not future.done() and (found := condition()):
                future.set_result(found)
            if future.done():
                self._watchers.remove(watcher)

    def _scene(self, what: str) -> str:
        last = "\n".join(json.dumps(line)[:400] for line in self.lines[-8:])
        return f"{what}; the last lines were\n{last}\nand standard error\n{self.stderr[-2000:]}"


def _refuse(asked: Asked) -> None:
    asked.fail(-32601, f"this client does not serve {asked.method}")


@dataclass
class Pool:
    """Started commands; those of `get` are shared: one for each set of capabilities and variables."""

    home: Path
    model: str
    _shared: dict[str, Agent] = field(default_factory=dict)
    _started: list[Agent] = field(default_factory=list)

    async def get(self, capabilities: Json | None = None, **env: str) -> Agent:
        """A command that has been through `initialize`, with a clean audit."""
        key = json.dumps([capabilities or {}, env], sort_keys=True)
        agent = self._shared.get(key)
        if agent is None or agent.exit_code is not None:
            agent = await self.start(self.home / f"agent{len(self._started)}", env)
            await agent.initialize(capabilities)
            self._shared[key] = agent
        agent.handlers.clear()
        agent.asked.clear()
        return agent

    async def start(
        self,
        home: Path,
        env: Mapping[str, str] | None = None,
        *words: str,
        audit: bool = True,
        under: Sequence[str] = (),
    ) -> Agent:
        """A command of the test's own, in an environment that holds nothing of ours but `env`.

        `under` is a program that runs and watches it.
        """
        home.mkdir(parents=True, exist_ok=True)
        _, agent = await asyncio.get_running_loop().subprocess_exec(
            lambda: Agent(audit=Audit() if audit else None, home=home),
            *(*under, sys.executable, "-m", "hermes_acp", *(words or HOSTING)),
            env=environment(home) | {"HERMES_EDITOR_MODEL": self.model} | dict(env or {}),
            cwd=home,
        )
        self._started.append(agent)
        return agent

    async def check(self) -> None:
        """After a test: nothing is under way, and every rule was kept."""
        problems = [problem for agent in list(self._started) for problem in await self._check(agent)]
        if problems:
            pytest.fail("\n".join(problem[-3000:] for problem in problems), pytrace=False)

    async def _check(self, agent: Agent) -> list[str]:
        problems = await agent.problems()
        if problems or agent.exit_code is not None or agent not in self._shared.values():
            self._shared = {key: item for key, item in self._shared.items() if item is not agent}
            self._started.remove(agent)
            await agent.end()
        return problems

    async def close(self) -> None:
        """End them all."""
        for agent in self._started:
            await agent.end()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has collected yet is dead."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment(home: Path) -> dict[str, str]:
    """The variables of a command under test."""
    outside = config.environment()
    return {name: outside[name] for name in KEPT_VARIABLES if name in outside} | {
        "HOME": str(home),
        "HERMES_EDITOR_HOME": str(home / "hermes"),
        "HERMES_EDITOR_ALLOW_REAL_MODELS": "0",
        "HERMES_EDITOR_SERVER_IDLE": str(SERVER_IDLE),
        "PYTHONPATH": str(GUARD),
    }
