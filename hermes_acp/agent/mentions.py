"""What a prompt refers to with `@diff`, `@file:…` and the like, read before the model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import ids
from hermes_acp.agent.approvals import Asker
from hermes_acp.agent.turn import Turn
from hermes_acp.content import TextBlock
from hermes_acp.events import Notice, Steered, ToolCallFinished, ToolCallStarted, ToolOutcome
from hermes_acp.ops import Prompt
from hermes_acp.policy.effects import Effect, Permit

if TYPE_CHECKING:
    from hermes_acp.workspace.references_read import Expansion

TITLE = "Read what the message refers to"


async def read(turn: Turn, prompt: Prompt, env: Mapping[str, str]) -> None:
    """Add what the references of a prompt stand for to the conversation; nothing without any.

    Reading passes the policy, and is shown as a call. A reference that stands for nothing stays the
    text that it is, and the user is told. Raises `StorageError`.
    """
    if not any(isinstance(block, TextBlock) and "@" in block.text for block in prompt.content):
        return
    # Few prompts refer to something, and git's side of it takes a while to import.
    reading = await asyncio.to_thread(import_module, "hermes_acp.workspace.references_read")
    if not any(isinstance(block, TextBlock) and reading.find(block.text) for block in prompt.content):
        return
    call_id = ids.call()
    turn.publish(ToolCallStarted(call_id, "references", TITLE, "read", ""))
    said = ""
    outcome: ToolOutcome = "cancelled"

    async def permit(effect: Effect) -> Permit:
        asker = Asker(call_id, TITLE, turn.publish, turn.hub.flush)
        return await turn.approvals.permit(asker, effect, (), ())

    try:
        place = turn.place
        view = reading.Reading(place.cwd, place.roots, place.documents, env, permit)
        expansion = cast("Expansion", await reading.expand(prompt.content, view))
        blocks = await turn.screen.resources(expansion.blocks, turn.publish)
        said = "\n".join([*(block.uri for block in expansion.blocks), *expansion.problems])
        outcome = "completed" if expansion.blocks else "failed"
    finally:
        turn.publish(ToolCallFinished(call_id, outcome, said))
    if blocks:
        turn.publish(Steered(ids.message(), blocks, prompt.client))
        await turn.hub.flush()
    for problem in expansion.problems:
        turn.publish(Notice("warning", problem))
