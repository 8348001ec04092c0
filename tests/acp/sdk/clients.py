"""The two official clients, as published, each with the real command at its other end."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import acp
import psutil
from acp import schema
from pydantic import BaseModel

from tests.acp.sdk.desk import CallError, Client, Desk, Json, Refusal

COMMAND = (sys.executable, "-m", "hermes_acp", "acp")
LINE_LIMIT = 16 * 1024 * 1024
HERE = Path(__file__).parent


def missing() -> str:
    """Why the TypeScript client cannot run here; empty when it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules").is_dir():
        return "the TypeScript client is not installed: run npm ci in tests/acp/sdk"
    return ""


# --- Python --------------------------------------------------------------------------------------

REQUESTS: dict[str, tuple[type[BaseModel], str]] = {
    "initialize": (schema.InitializeRequest, "initialize"),
    "authenticate": (schema.AuthenticateRequest, "authenticate"),
    "session/new": (schema.NewSessionRequest, "new_session"),
    "session/load": (schema.LoadSessionRequest, "load_session"),
    "session/resume": (schema.ResumeSessionRequest, "resume_session"),
    "session/list": (schema.ListSessionsRequest, "list_sessions"),
    "session/close": (schema.CloseSessionRequest, "close_session"),
    "session/prompt": (schema.PromptRequest, "prompt"),
    "session/set_mode": (schema.SetSessionModeRequest, "set_session_mode"),
    "session/set_config_option": (schema.SetSessionConfigOptionSelectRequest, "set_config_option"),
}
"""The typed methods of the Python client; it has none for what is not listed."""


class PythonClient:
    """The client of the PyPI package `agent-client-protocol`, and its callbacks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._connection: acp.ClientSideConnection | None = None
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def connected(cls, desk: Desk, env: Mapping[str, str]) -> AsyncGenerator[Client, None]:
        client = cls(desk)
        spawned = acp.spawn_agent_process(
            client,
            *COMMAND,
            env=env,
            transport_kwargs={"stderr": None, "limit": LINE_LIMIT},
            use_unstable_protocol=True,
        )
        async with spawned as (connection, process):
            client._connection, client._process = connection, process
            yield client

    async def call(self, method: str, params: Json) -> Json:
        assert self._connection is not None
        try:
            if method not in REQUESTS:
                return await self._connection._conn.send_request(method, params)
            model, name = REQUESTS[method]
            request = model.model_validate(params)
            arguments = {field: getattr(request, field) for field in request.model_fields_set}
            return _plain(await getattr(self._connection, name)(**arguments))
        except acp.RequestError as error:
            raise CallError(error.code, str(error)) from error

    async def notify(self, method: str, params: Json) -> None:
        assert self._connection is not None
        assert method == "session/cancel"
        await self._connection.cancel(session_id=params["sessionId"])

    async def leave(self) -> int:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        return await self._process.wait()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    async def ended(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    # --- what the client calls ---------------------------------------------------------------------

    async def session_update(self, session_id: str, update: BaseModel, **kwargs: Any) -> None:
        await self._desk.tell({"sessionId": session_id, "update": _plain(update)})

    async def request_permission(
        self, session_id: str, tool_call: BaseModel, options: list[BaseModel], **kwargs: Any
    ) -> schema.RequestPermissionResponse:
        params = {
            "sessionId": session_id,
            "toolCall": _plain(tool_call),
            "options": [_plain(option) for option in options],
        }
        answer = await self._ask("session/request_permission", params)
        return schema.RequestPermissionResponse.model_validate(answer)

    async def create_elicitation(self, message: str, mode: BaseModel, **kwargs: Any) -> BaseModel | Json:
        params = {"message": message, "mode": "form", **_plain(mode)}
        return await self._ask("elicitation/create", params)

    async def read_text_file(self, session_id: str, path: str, **kwargs: Any) -> schema.ReadTextFileResponse:
        answer = await self._ask("fs/read_text_file", {"sessionId": session_id, "path": path})
        return schema.ReadTextFileResponse.model_validate(answer)

    async def write_text_file(self, session_id: str, path: str, content: str, **kwargs: Any) -> None:
        await self._ask("fs/write_text_file", {"sessionId": session_id, "path": path, "content": content})

    async def create_terminal(
        self,
        session_id: str,
        command: str,
        args: list[str] | None = None,
        env: list[BaseModel] | None = None,
        cwd: str | None = None,
        output_byte_limit: int | None = None,
        **kwargs: Any,
    ) -> schema.CreateTerminalResponse:
        params = {"sessionId": session_id, "command": command, "args": args or [], "cwd": cwd}
        return schema.CreateTerminalResponse.model_validate(await self._ask("terminal/create", params))

    async def terminal_output(self, session_id: str, terminal_id: str, **kwargs: Any) -> Any:
        answer = await self._on_terminal("terminal/output", session_id, terminal_id)
        return schema.TerminalOutputResponse.model_validate(answer)

    async def wait_for_terminal_exit(self, session_id: str, terminal_id: str, **kwargs: Any) -> Any:
        answer = await self._on_terminal("terminal/wait_for_exit", session_id, terminal_id)
        return schema.WaitForTerminalExitResponse.model_validate(answer)

    async def kill_terminal(self, session_id: str, terminal_id: str, **kwargs: Any) -> None:
        await self._on_terminal("terminal/kill", session_id, terminal_id)

    async def release_terminal(self, session_id: str, terminal_id: str, **kwargs: Any) -> None:
        await self._on_terminal("terminal/release", session_id, terminal_id)

    async def ext_method(self, method: str, params: Json) -> Json:
        raise acp.RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: Json) -> None:
        """Nothing is expected."""

    def on_connect(self, connection: Any) -> None:
        """Nothing is needed."""

    async def _on_terminal(self, method: str, session_id: str, terminal_id: str) -> Json:
        return await self._ask(method, {"sessionId": session_id, "terminalId": terminal_id})

    async def _ask(self, method: str, params: Json) -> Json:
        try:
            return await self._desk.ask(method, params)
        except Refusal as refusal:
            raise acp.RequestError(-32603, str(refusal)) from refusal


def _plain(model: BaseModel | None) -> Json:
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


# --- TypeScript ----------------------------------------------------------------------------------


class TypeScriptClient:
    """The client of the npm package `@agentclientprotocol/sdk`, driven through `client.mjs`."""

    def __init__(self, desk: Desk, process: asyncio.subprocess.Process) -> None:
        self._desk = desk
        self._process = process
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Json]] = {}
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def connected(cls, desk: Desk, env: Mapping[str, str]) -> AsyncGenerator[Client, None]:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "client.mjs"),
            *COMMAND,
            env=dict(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        client = cls(desk, process)
        async with asyncio.TaskGroup() as group:
            group.create_task(client._read(group))
            try:
                yield client
            finally:
                await client.leave()

    async def call(self, method: str, params: Json) -> Json:
        number = next(self._ids)
        self._calls[number] = asyncio.get_running_loop().create_future()
        self._send({"call": number, "method": method, "params": params})
        return await self._calls[number]

    async def notify(self, method: str, params: Json) -> None:
        self._send({"notify": method, "params": params})

    async def leave(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = await self._exit
        await self._process.wait()
        return code

    def kill(self) -> None:
        for agent in psutil.Process(self._process.pid).children():
            agent.kill()

    async def ended(self) -> int:
        return await asyncio.shield(self._exit)

    def _send(self, record: Json) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(record).encode() + b"\n")

    async def _read(self, group: asyncio.TaskGroup) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            record: Json = json.loads(line)
            match record["record"]:
                case "update":
                    await self._desk.tell(record["params"])
                case "ask":
                    self._asked[record["id"]] = group.create_task(self._answer(record))
                case "withdrawn":
                    self._asked[record["id"]].cancel()
                case "result":
                    self._calls.pop(record["call"]).set_result(record["result"] or {})
                case "error":
                    error = CallError(record["code"], record["message"])
                    self._calls.pop(record["call"]).set_exception(error)
                case "exit":
                    self._exit.set_result(record["code"])
        if not self._exit.done():
            self._exit.set_result(-1)
        for future in self._calls.values():
            future.set_exception(ConnectionError("the client process ended"))

    async def _answer(self, record: Json) -> None:
        try:
            result = await self._desk.ask(record["method"], record["params"])
            self._send({"answer": record["id"], "result": result})
        except Refusal as refusal:
            self._send({"answer": record["id"], "error": str(refusal)})
