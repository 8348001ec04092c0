"""`hermes-editor demo`: an editor's day with the agent on a sample project; no key, no network."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hermes_acp import config
from hermes_acp.cli import demo_story as story
from hermes_acp.cli.acp_client import STANDALONE, Agent, AgentError, AgentGone, start
from hermes_acp.cli.command import SUCCESS, Subparsers, fail
from hermes_acp.cli.demo_window import Paper, Window
from hermes_acp.cli.screen import tolerate
from hermes_acp.records import record
from hermes_acp.server.messages import Json

ENDED = ("completed", "failed")
SECONDS = 60.0
"""How long the whole demonstration may take; it normally takes a few seconds."""
SCRIPTED = (
    "The model of this demonstration is scripted: its words are fixed, and it asks nobody. Everything "
    "else is real: the agent, the protocol, the permissions, the files, the commands."
)


class Unexpected(Exception):
    """The agent did not do what the demonstration shows; `str()` says what."""


@record
class _Stage:
    """The sample project, the environment of the agent, and where to print."""

    project: Path
    env: Mapping[str, str]
    paper: Paper


def register(subparsers: Subparsers) -> None:
    """Add the command; it takes no arguments."""
    subparsers.add_parser("demo", help="show the whole loop on a sample project", description=SCRIPTED)


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:  # noqa: ARG001 (the seam's signature)
    """Play the demonstration. Returns 0 when everything happened as it should."""
    tolerate(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="hermes-demo-") as folder:
        project = Path(os.path.realpath(folder)) / "shop"
        stage = _Stage(project, _environment(env, Path(folder)), Paper(sys.stdout, env))
        try:
            story.make_project(project, stage.env)
            story.write_script(Path(folder) / "script.jsonl")
            asyncio.run(_play(stage))
            _check_repository(stage)
        except (story.NoProject, Unexpected, AgentError, AgentGone) as error:
            return fail(f"hermes-editor demo: {error}")
        except TimeoutError:
            return fail(f"hermes-editor demo: it was not over after {SECONDS:.0f} seconds.")
    return SUCCESS


def _environment(env: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    """A home of its own, no keys, and `python` that is this Python."""
    own = {
        "HOME": str(folder / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        f"{config.PREFIX}HOME": str(folder / "hermes"),
        f"{config.PREFIX}MODEL": f"scripted/{folder / 'script.jsonl'}",
        f"{config.PREFIX}ALLOW_REAL_MODELS": "0",
    }
    return {**config.child_environment(env), **own}


async def _play(stage: _Stage) -> None:
    async with asyncio.timeout(SECONDS):
        stage.paper.heading("hermes-editor demo")
        stage.paper.text(SCRIPTED)
        first = Window(stage.paper, allow)
        session_id = await _first_conversation(stage, first)
        await _second_conversation(stage, session_id, first)
        await _branch(stage)
        await _merged(stage)


async def _first_conversation(stage: _Stage, window: Window) -> str:
    paper = stage.paper
    paper.heading("1. An editor starts the agent and asks for a fix")
    async with start(window, stage.env, command=STANDALONE) as agent:
        await _initialize(agent, paper)
        session_id = await _opened(agent, stage.project)
        paper.paragraph("session", f"{session_id}, in a git repository with a failing test")
        await _prompt(agent, window, paper, (session_id, story.FIRST_PROMPT))
    runs = [card.status for card in window.cards.values() if card.kind == "execute"]
    _expect(runs == ["failed", "completed"], f"the test runs were {runs}, not failed and then completed")
    _expect(len(window.asked) == 2, f"{len(window.asked)} permissions were asked for, not 2")
    _expect(window.said.endswith(story.FIRST_ANSWER), "the answer is not the one of the script")
    states = [entry["status"] for entry in window.plan]
    _expect(states == ["completed"] * len(story.STEPS), "the plan was not completed")
    return session_id


async def _second_conversation(stage: _Stage, session_id: str, first: Window) -> None:
    paper = stage.paper
    paper.heading("2. The editor was closed; another process goes on")
    window = Window(paper, allow)
    async with start(window, stage.env, command=STANDALONE) as agent:
        await _initialize(agent, paper)
        listing = await agent.call("session/list", {"cwd": str(stage.project)})
        sessions = cast("list[Json]", listing["sessions"])
        _expect([item["sessionId"] for item in sessions] == [session_id], "the session is not listed")
        paper.paragraph("sessions", f"{session_id}: {sessions[0].get('title')}")
        await _replay(agent, window, stage, session_id)
        _expect(_shown(window) == _shown(first), "the replay is not what the first window showed")
        calls = len(window.cards)
        paper.paragraph(
            "history", f"loaded: the window shows the same text, plan and {calls} tool calls again"
        )
        await _prompt(agent, window, paper, (session_id, story.SECOND_PROMPT))
    _expect(window.said.endswith(story.SECOND_ANSWER), "the second answer is not the one of the script")


async def _branch(stage: _Stage) -> None:
    """Another editor, in a worktree, knows the lesson and learns something for its branch."""
    paper = stage.paper
    paper.heading("3. Another editor, in a worktree, knows it and decides something")
    folder = await asyncio.to_thread(story.make_worktree, stage.project, stage.env)
    window = Window(paper, allow)
    async with start(window, stage.env, command=STANDALONE) as agent:
        await _initialize(agent, paper, "another-editor")
        look = await _opened(agent, folder)
        await _prompt(agent, window, paper, (look, story.LOOK_PROMPT))
        _expect(story.LESSON in window.said, f"{story.LESSON!r} was not remembered")
        await _prompt(agent, window, paper, (look, story.THIRD_PROMPT))
        _expect(story.THIRD_ANSWER in window.said, "the third answer is not the one of the script")
        await _prompt(agent, window, paper, (look, story.LOOK_PROMPT))
        _expect(story.DECISION in window.said, f"{story.DECISION!r} was not remembered")


async def _merged(stage: _Stage) -> None:
    """What was decided on the branch comes with the merge, and goes when its owner says so."""
    paper = stage.paper
    paper.heading("4. What a branch taught comes with its merge, and can be taken back")
    for merged in (False, True):
        if merged:
            await asyncio.to_thread(story.merge, stage.project, stage.env)
            paper.paragraph("git", f"merge {story.BRANCH}", "bold")
        window = Window(paper, allow)
        async with start(window, stage.env, command=STANDALONE) as agent:
            paper.muted = merged
            await _initialize(agent, paper)
            paper.muted = False
            session_id = await _opened(agent, stage.project)
            await _prompt(agent, window, paper, (session_id, story.LOOK_PROMPT))
            known = (story.LESSON in window.said, story.DECISION in window.said)
            _expect(known == (True, merged), f"what is known after the merge ({merged}) is {known}")
            if merged:
                await _taken_back(agent, window, paper, session_id)


async def _taken_back(agent: Agent, window: Window, paper: Paper, session_id: str) -> None:
    [fact_id] = re.findall(rf"([0-9a-z]{{6}})  decision[^:]*: {re.escape(story.DECISION)}", window.said)
    await _prompt(agent, window, paper, (session_id, f"{story.LOOK_PROMPT} why {fact_id}"))
    _expect(f"“{story.DECIDED}”" in window.said, "nobody knows where the decision comes from")
    await _prompt(agent, window, paper, (session_id, f"{story.LOOK_PROMPT} revert {fact_id}"))
    _expect("(retracted)" in window.said, "the decision was not taken back")


async def _opened(agent: Agent, folder: Path) -> str:
    session = await agent.call("session/new", {"cwd": str(folder), "mcpServers": []})
    return cast("str", session["sessionId"])


async def _replay(agent: Agent, window: Window, stage: _Stage, session_id: str) -> None:
    stage.paper.muted = True
    await agent.call("session/load", {"sessionId": session_id, "cwd": str(stage.project), "mcpServers": []})
    window.flush()
    stage.paper.muted = False


async def _initialize(agent: Agent, paper: Paper, name: str = "hermes-editor-demo") -> None:
    answer = await agent.initialize(name, {})
    info = cast("Json", answer["agentInfo"])
    capabilities = cast("Json", answer["agentCapabilities"])
    offers = ["load", *cast("Json", capabilities["sessionCapabilities"])]
    paper.paragraph("starts", shlex.join(("hermes-editor", *STANDALONE[-2:])))
    paper.paragraph(
        "agent",
        f"{info['name']} {info['version']}, protocol {answer['protocolVersion']}: {', '.join(offers)}",
    )


async def _prompt(agent: Agent, window: Window, paper: Paper, what: tuple[str, str]) -> None:
    session_id, text = what
    paper.paragraph("you", text, "bold")
    prompt: list[Json] = [{"type": "text", "text": text}]
    answer = await agent.call("session/prompt", {"sessionId": session_id, "prompt": prompt})
    window.flush()
    reason = answer.get("stopReason")
    _expect(reason == "end_turn", f"the turn ended with {reason}")
    open_calls = [card.title for card in window.cards.values() if card.status not in ENDED]
    _expect(not open_calls, f"these tool calls never ended: {open_calls}")


def allow(params: Json) -> str:
    """The choice of the person: commands for the whole session, edits one by one."""
    call = cast("Json", params["toolCall"])
    content = cast("list[Json]", call.get("content") or [])
    edits = any(item["type"] == "diff" for item in content)
    offered = [option["optionId"] for option in cast("list[Json]", params["options"])]
    return "allow_once" if edits or "allow_session" not in offered else "allow_session"


def _shown(window: Window) -> tuple[str, list[tuple[str, str]], list[Json]]:
    return window.said, [(card.title, card.status) for card in window.cards.values()], window.plan


def _check_repository(stage: _Stage) -> None:
    """What the agent did is in the repository, and nothing else."""
    paper = stage.paper
    paper.heading("What is left in the repository")
    status = story.git(stage.project, stage.env, "status", "--short")
    paper.lines("changes", status.splitlines())
    expected = [f" M {story.SOURCE}", f"?? {story.NOTE}"]
    _expect(status.splitlines() == expected, f"the repository has other changes than {expected}")
    paper.text("\nEverything went as it should. `hermes-editor setup` puts the agent into your editor.")


def _expect(condition: bool, problem: str) -> None:  # noqa: FBT001 (a check reads best like assert)
    if not condition:
        raise Unexpected(f"it did not go as it should: {problem}.")
