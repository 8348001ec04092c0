"""Two editors' official clients and `attach` in a real terminal, together on one session."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.acp.harness import Pool, environment
from tests.acp.script import after, parts, says
from tests.acp.sdk import clients
from tests.acp.sdk.desk import PATIENCE, CallError, Client, Desk
from tests.acp.test_windows import servers
from tests.cli.pane import Pane

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.slow,
    pytest.mark.skipif(bool(clients.missing()), reason=clients.missing()),
]
requirement = pytest.mark.requirement
T = TypeVar("T")

WORD = "Word upon word. "
TALK = "One thing after another. "
EDIT = {"tool": "write_file", "arguments": {"path": "a.txt", "content": "x"}}
SCRIPT = {
    "Write it.": [parts({"text": "I write."}, EDIT), after("", says("Written."))],
    "Talk on.": [says(WORD, repeat=100_000, delay=0.02)],
    "Talk.": [parts({"text": TALK, "repeat": 100, "delay": 0.02}, {"text": "Enough."})],
    "Hello.": [says("Hello to you.")],
}
SHOWN = ("user_message_chunk", "agent_message_chunk", "tool_call", "tool_call_update", "session_info_update")
TALL = (80, 60)
"""Columns and rows of the terminal: all that is said fits into it."""
CHOOSE = "Press a key. Enter alone chooses nothing"
GONE = 69
"""The exit code of a window whose server has gone."""


@dataclass(slots=True)
class Editor:
    """An official client on the session, and everything it was told."""

    client: Client
    desk: Desk
    session_id: str = ""
    cwd: Path = Path()
    _calls: list[asyncio.Future[Any]] = field(default_factory=list["asyncio.Future[Any]"])

    async def open(self, cwd: Path, session_id: str = "") -> None:
        """Make the session, or load it."""
        self.cwd = cwd
        await within(self.client.call("initialize", {"protocolVersion": 1}))
        place = {"cwd": str(cwd), "mcpServers": []}
        if session_id:
            await within(self.client.call("session/load", {"sessionId": session_id, **place}))
        opened = {} if session_id else await within(self.client.call("session/new", place))
        self.session_id = session_id or opened["sessionId"]

    def prompt(self, text: str) -> asyncio.Future[Any]:
        """Send a prompt; the future is its answer."""
        prompt = [{"type": "text", "text": text}]
        params = {"sessionId": self.session_id, "prompt": prompt}
        return asyncio.gather(self.client.call("session/prompt", params))

    async def cancel(self) -> None:
        """Stop what runs in the session."""
        await self.client.notify("session/cancel", {"sessionId": self.session_id})

    async def asked(self) -> None:
        """Wait until the person is asked for a permission."""
        await self.desk.until(lambda: bool(self.desk.requests("session/request_permission")))

    async def told(self, condition: Callable[[list[Any]], T]) -> T:
        """Wait until what was told fits: what the condition gives."""
        await self.desk.until(lambda: bool(condition(self.story)))
        return condition(self.story)

    @property
    def story(self) -> list[Any]:
        """What the editor was shown, without ids and times; the chunks of a message are one."""
        told: list[Any] = []
        for update in self.desk.updates(self.session_id):
            kind, meta = update["sessionUpdate"], (update.get("_meta") or {}).get("hermes", {})
            if kind not in SHOWN:
                continue
            chunk = kind.endswith("message_chunk")
            text = update["content"]["text"] if chunk else update.get("title") or update.get("status")
            if kind == "agent_message_chunk" and told and told[-1][0] == kind:
                text = told.pop()[1] + text
            told.append((kind, text, meta.get("stopReason") or meta.get("optionId") or ""))
        return told


async def within(work: Any) -> Any:
    """What the work gives, in time."""
    async with asyncio.timeout(PATIENCE):
        return await work


async def stop_reason(turn: asyncio.Future[Any]) -> str:
    """How a prompt was answered."""
    return (await within(turn))[0]["stopReason"]


def ends(number: int) -> Callable[[list[Any]], str]:
    """How the turn of this number ended, empty while it has not."""

    def look(story: list[Any]) -> str:
        found = [how for kind, _, how in story if kind == "session_info_update" and how]
        return found[number - 1] if len(found) >= number else ""

    return look


def says_so(text: str) -> Callable[[list[Any]], bool]:
    """Whether the model has said this."""
    return lambda story: any(kind == "agent_message_chunk" and text in said for kind, said, _ in story)


@dataclass(slots=True)
class Table:
    """Where windows are opened: all on one server and one project."""

    stack: AsyncExitStack
    home: Path
    cwd: Path
    env: dict[str, str]

    async def editor(self, kind: type[Any], session_id: str = "") -> Editor:
        """One more editor with an official client; its person answers no question."""
        desk = Desk(self.home, choose=None)
        client = await self.stack.enter_async_context(kind.connected(desk, self.env))
        editor = Editor(client, desk)
        # A client that is left with an open question would wait for its answer.
        self.stack.callback(desk.answer_open, None)
        await editor.open(self.cwd, session_id)
        return editor

    def terminal(self, session_id: str) -> Pane:
        """`attach` in a terminal."""
        command = [sys.executable, "-m", "hermes_acp", "attach", session_id]
        env = {**self.env, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        # What guards the server's event loop would stop a terminal program from reading its keys.
        del env["PYTHONPATH"]
        return self.stack.enter_context(Pane(command, env, self.cwd, TALL))


@asynccontextmanager
async def laid(model: str, home: Path, cwd: Path) -> AsyncIterator[Table]:
    """A home without a server; everything has ended when the context is left."""
    home.mkdir()
    async with AsyncExitStack() as stack:
        yield Table(stack, home, cwd, environment(home) | {"HERMES_EDITOR_MODEL": model})
    for process in servers(home):
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


async def see(pane: Pane, *parts: str, without: str = "") -> str:
    """Wait until the terminal shows this."""
    return await asyncio.to_thread(pane.until, *parts, without=without)


@requirement("windows.together")
@requirement("windows.permission")
@requirement("windows.cancel")
@requirement("windows.killed")
async def test_two_editors_and_a_terminal_see_each_other_s_turns_in_order_and_once(
    agents: Pool, tmp_path: Path, cwd: Path
) -> None:
    async with laid(agents.model, tmp_path / "home", cwd) as table:
        one = await table.editor(clients.PythonClient)
        two = await table.editor(clients.TypeScriptClient, one.session_id)
        pane = table.terminal(one.session_id)
        await see(pane, "ask ·")

        # One prompts, all see the question, the terminal answers it.
        turn = one.prompt("Write it.")
        for editor in (one, two):
            await editor.asked()
        await see(pane, "] Write it.", "I write.", CHOOSE)
        assert not (cwd / "a.txt").exists()
        pane.type("y")
        # A terminal that nobody reads stands still, so its screen comes first.
        await see(pane, "Written.", without="working")
        assert await stop_reason(turn) == "end_turn"
        await two.told(ends(1))
        assert (cwd / "a.txt").read_text() == "x"
        work = [
            ("session_info_update", "Write it.", ""),
            ("agent_message_chunk", "I write.", ""),
            ("tool_call", "write_file", ""),
            ("tool_call_update", "Write a.txt", ""),
            ("tool_call_update", None, "allow_once"),
            ("tool_call_update", "in_progress", ""),
            ("tool_call_update", "completed", ""),
            ("agent_message_chunk", "Written.", ""),
            ("session_info_update", None, "end_turn"),
        ]
        assert one.story == work
        assert two.story == [("user_message_chunk", "Write it.", ""), *work]
        # The Python client does not know how a question is withdrawn.
        assert two.desk.withdrawn == 1

        # Another prompts, one cancels, all see it.
        turn = two.prompt("Talk on.")
        await one.told(says_so(WORD))
        await see(pane, "] Talk on.", WORD.strip())
        await one.cancel()
        assert await stop_reason(turn) == "cancelled"
        assert await one.told(ends(2)) == "cancelled"
        await see(pane, "Cancelled by client-", without="working")

        # The terminal prompts, and an editor is killed meanwhile.
        pane.type("Talk.\r")
        await see(pane, TALK.strip())
        for editor in (one, two):
            await editor.told(says_so(TALK))
        one.client.kill()
        assert await two.told(ends(3)) == "end_turn"
        await see(pane, "Enough.", without="working")
        assert two.story[-2:] == [
            ("agent_message_chunk", TALK * 100 + "Enough.", ""),
            ("session_info_update", None, "end_turn"),
        ]


@requirement("windows.server-killed")
async def test_after_a_kill_of_the_server_all_three_load_what_was_acknowledged(
    agents: Pool, tmp_path: Path, cwd: Path
) -> None:
    async with laid(agents.model, tmp_path / "home", cwd) as table:
        one = await table.editor(clients.PythonClient)
        two = await table.editor(clients.TypeScriptClient, one.session_id)
        pane = table.terminal(one.session_id)
        assert await stop_reason(one.prompt("Hello.")) == "end_turn"
        await see(pane, "Hello to you.", without="working")
        cut_off = two.prompt("Talk on.")
        for editor in (one, two):
            # Text that was shown for half a second is kept.
            await editor.told(says_so(WORD * 60))
        await see(pane, WORD.strip())
        (server,) = servers(table.home)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises((CallError, ConnectionError)):
            await within(cut_off)
        for editor in (one, two):
            assert await within(editor.client.ended()) == GONE
        assert await asyncio.to_thread(pane.end) == GONE
        assert "has ended" in pane.text

        three = await table.editor(clients.PythonClient, one.session_id)
        four = await table.editor(clients.TypeScriptClient, one.session_id)
        again = table.terminal(one.session_id)
        assert three.story == four.story
        said = three.story[3][1]
        assert three.story == [
            ("user_message_chunk", "Hello.", ""),
            ("agent_message_chunk", "Hello to you.", ""),
            ("user_message_chunk", "Talk on.", ""),
            ("agent_message_chunk", said, ""),
        ]
        assert said.startswith(WORD)
        assert "interrupted" in said
        await see(again, "Hello to you.", "> Talk on.", "interrupted")
        assert await stop_reason(four.prompt("Hello.")) == "end_turn"
        await three.told(ends(1))
        await see(again, "] Hello.", without="working")
