"""`hermes-editor run`: one turn without an editor; the exit code tells how it ended."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from hermes_acp import config
from hermes_acp.cli.acp_client import Agent, AgentError, AgentGone, Unanswered, start
from hermes_acp.cli.command import BAD_USAGE, FAILURE, INTERRUPTED, SUCCESS, Subparsers
from hermes_acp.cli.run_output import End, JsonOutput, Output, TextOutput
from hermes_acp.cli.screen import one_line, tolerate
from hermes_acp.policy.effects import Mode
from hermes_acp.records import record
from hermes_acp.server.messages import AUTH_REQUIRED, Json

NO_MODEL = 3
"""The exit code when no model is set up or its key is refused."""
REFUSED = 4
"""The exit code when the model refused."""
EXHAUSTED = 5
"""The exit code when the turn reached its limit of tokens or steps."""
CODES = {
    "end_turn": SUCCESS,
    "refusal": REFUSED,
    "max_tokens": EXHAUSTED,
    "max_turn_requests": EXHAUSTED,
    "cancelled": INTERRUPTED,
}
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANCEL_SECONDS = 5.0
"""How long the agent may take to end a cancelled turn."""
STDIN = "-"
NOBODY = "Nobody is here to answer: this client runs without a person."

EPILOG = """\
exit codes: 0 done, 1 error, 2 wrong usage or settings, 3 no model or key, 4 the model refused,
5 limit of tokens or steps reached, 130 cancelled (Ctrl-C)"""


@record
class _Request:
    prompt: str
    cwd: str
    mode: Mode | None


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "run",
        help="one turn without an editor",
        description="Text goes to standard output, tools and notices to standard error.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", metavar="PROMPT", help="what to do; - reads it from standard input")
    parser.add_argument("--cwd", metavar="DIR", help="where to work (default: this folder)")
    parser.add_argument("--json", action="store_true", help="print each update and the result as JSON lines")
    parser.add_argument("--mode", choices=get_args(Mode), help="what may happen unasked")
    parser.add_argument("--model", metavar="PROVIDER/MODEL", help="the language model of this turn")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Run the turn. Returns the exit code."""
    cwd = _folder(args.cwd or os.curdir)
    if cwd is None:
        return _misuse(
            f"{one_line(args.cwd or 'This folder')} is not a folder: --cwd names the one to work in."
        )
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace") if args.prompt == STDIN else args.prompt
    # An argument that is not valid UTF-8 arrives with lone surrogates, which no model takes.
    prompt = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not prompt.strip():
        return _misuse("The prompt is empty: say what to do.")
    if args.model:
        env = {**env, f"{config.PREFIX}MODEL": args.model}
    tolerate(sys.stdout)
    output: Output = JsonOutput(sys.stdout) if args.json else TextOutput(sys.stdout, sys.stderr)
    end = asyncio.run(_run(_Request(prompt, cwd, args.mode), output, env))
    output.end(end)
    return end.code


async def _run(request: _Request, output: Output, env: Mapping[str, str]) -> End:
    """The turn, or why there is none."""
    interrupts = _Interrupts()
    try:
        with interrupts:
            async with start(_Nobody(output), env) as agent:
                return await _turn(agent, request, interrupts)
    except AgentError as error:
        code = NO_MODEL if error.code == AUTH_REQUIRED else FAILURE
        return End("error", code, interrupts.session_id, str(error))
    except AgentGone as error:
        code = BAD_USAGE if error.code == BAD_USAGE else FAILURE
        return End("error", code, interrupts.session_id, str(error))
    except asyncio.CancelledError:
        if not interrupts.count:
            raise
        return End("cancelled", INTERRUPTED, interrupts.session_id)


async def _turn(agent: Agent, request: _Request, interrupts: _Interrupts) -> End:
    await agent.initialize("hermes-editor-run", {"session": {"notices": {}}})
    session = await agent.call("session/new", {"cwd": request.cwd, "mcpServers": []})
    session_id = cast("str", session["sessionId"])
    if request.mode is not None:
        await agent.call("session/set_mode", {"sessionId": session_id, "modeId": request.mode})
    interrupts.cancels(agent, session_id)
    prompt: list[Json] = [{"type": "text", "text": request.prompt}]
    answer = await agent.call("session/prompt", {"sessionId": session_id, "prompt": prompt})
    # Nobody will come back to it: the server need not keep it at hand.
    await agent.call("session/close", {"sessionId": session_id})
    reason = str(answer.get("stopReason"))
    return End(reason, CODES.get(reason, FAILURE), session_id)


class _Interrupts:
    """Ctrl-C: before the turn it ends the program, then it cancels the turn, the second time at once."""

    def __init__(self) -> None:
        self.count = 0
        self.session_id = ""
        self._agent: Agent | None = None
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def cancels(self, agent: Agent, session_id: str) -> None:
        """From now on there is a turn to cancel."""
        self._agent, self.session_id = agent, session_id

    def _interrupt(self) -> None:
        assert self._task is not None
        self.count += 1
        if self._agent is None or self.count > 1:
            self._task.cancel()
        else:
            self._agent.notify("session/cancel", {"sessionId": self.session_id})
            asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._task.cancel)


@record
class _Nobody:
    """The host of a run: it shows everything and answers nothing."""

    output: Output

    def show(self, session_id: str, update: Json) -> None:
        self.output.show(session_id, update)

    async def answer(self, method: str, params: Json) -> Json:
        if method == "session/request_permission":
            call = cast("Json", params.get("toolCall") or {})
            self.output.unanswered(str(call.get("title", "")))
        raise Unanswered(NOBODY)


def _folder(path: str) -> str | None:
    """The real path of a folder; None when it is none, or is gone."""
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):
        return None
    return real if Path(real).is_dir() else None


def _misuse(message: str) -> int:
    print(f"hermes-editor run: {message}", file=sys.stderr)
    return BAD_USAGE
