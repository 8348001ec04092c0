"""What the model is told before the conversation: assembled once a session, so that caches hold."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import cast

from hermes_acp.agent import instructions, prompts
from hermes_acp.agent.instructions import Instructions
from hermes_acp.policy.masking import Masks
from hermes_acp.records import record
from hermes_acp.workspace import project


@record
class Surroundings:
    """The frozen facts about a session's place."""

    cwd: str
    roots: tuple[str, ...]
    date: str
    git: str
    instructions: Instructions | None = None
    memory: str = ""

    def without_secrets(self, masks: Masks) -> Surroundings:
        """The same with marks in place of secrets; for a thread."""
        found = self.instructions.without_secrets(masks) if self.instructions is not None else None
        memory = masks.hide(self.memory)
        return replace(self, git=masks.hide(self.git), instructions=found, memory=memory)

    def system(self, mode: str) -> str:
        """The system prompt in this mode."""
        return prompts.render(
            "system",
            cwd=self.cwd,
            roots=", ".join(self.roots[1:]) or "none",
            platform=f"{platform.system()} {platform.machine()}",
            shell="bash",
            date=self.date,
            git=self.git or "Not a git repository.",
            mode=mode,
            mode_text=prompts.render(f"mode_{mode}").strip(),
            instructions=self.instructions.said() if self.instructions is not None else "",
            memory=self.memory,
        ).strip()


async def survey(
    cwd: str,
    roots: tuple[str, ...],
    env: Mapping[str, str],
    remembered: Callable[[str], Awaitable[str]],
) -> Surroundings:
    """Look around: git state, the project's instruction files, and what is `remembered` of the folder."""
    await asyncio.to_thread(prompts.load)
    async with asyncio.TaskGroup() as group:
        seen = group.create_task(_seen(cwd, roots, env))
        memory = await remembered(cwd)
    return replace(seen.result(), memory=memory)


async def _seen(cwd: str, roots: tuple[str, ...], env: Mapping[str, str]) -> Surroundings:
    place = await project.find_project(cwd)
    state = await project.git_state(place.root, env)
    more = await _habits(cwd, env) if state else ""
    return Surroundings(
        cwd=cwd,
        roots=roots,
        date=time.strftime("%Y-%m-%d"),
        git="\n".join(filter(None, (state, more))),
        instructions=await instructions.read(cwd, place),
    )


async def _habits(cwd: str, env: Mapping[str, str]) -> str:
    """What is unfinished in git, and how its commit messages are written."""
    # The tools for git bring it along; no answer that opens a session should wait for it.
    git_sense = await asyncio.to_thread(import_module, "hermes_acp.workspace.git_sense_log")
    return cast("str", await git_sense.surroundings(cwd, env))
