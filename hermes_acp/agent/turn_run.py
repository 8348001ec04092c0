"""Runs the turns of a session, each from its prompt to its end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from hermes_acp.agent import command_answers, commands, ids, loop, mentions
from hermes_acp.agent.choosing import Choosing
from hermes_acp.agent.commands import Invocation
from hermes_acp.agent.history import title_of
from hermes_acp.agent.loading import Loading
from hermes_acp.agent.orders import Orders
from hermes_acp.agent.parts import Parts
from hermes_acp.agent.screening import Screening
from hermes_acp.agent.turn import Turn
from hermes_acp.agent.workbench import Workbench
from hermes_acp.events import (
    JournalFailed,
    MessageCompleted,
    Notice,
    PromptDropped,
    StopReason,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.llm.base import Effort, LoginNeeded, ModelError
from hermes_acp.ops import Prompt
from hermes_acp.storage.database import StorageError
from hermes_acp.workspace.project import checked_out

if TYPE_CHECKING:
    from hermes_acp.agent.trust import Trusting

GONE = (
    "The folder {path} is gone, so nothing was done. Bring it back, or, when it was the session's worktree, "
    "set the session's isolation to in_place to go on in your own files."
)

logger = logging.getLogger(__name__)


class Runner:
    """Runs one turn at a time; a bug ends the turn, never the session."""

    def __init__(self, parts: Parts, workbench: Workbench, choosing: Choosing, loading: Loading) -> None:
        self._parts = parts
        self._workbench = workbench
        self._choosing = choosing
        self._loading = loading
        self._orders = Orders(parts, workbench, choosing)
        self._publish = parts.transcript.publish
        self._trusting: Trusting | None = None

    async def run(self, prompt: Prompt) -> None:
        """Run the turn of a prompt, whose end is published on cancel, too."""
        parts, inbox = self._parts, self._parts.inbox
        screen = Screening(parts.masks)
        self._choosing.tell_mode()
        try:
            ended = await self._outcome(prompt, screen)
            inbox.running = None
            publish = partial(parts.transcript.publish_of, prompt.turn_id)
            for message in tuple(inbox.steering):
                self._publish(await screen.steered(message, publish), prompt.turn_id)
            if isinstance(ended, TurnEnded) and ended.error:
                ended = replace(ended, error=await screen.text(ended.error))
            self._publish(ended, prompt.turn_id)
            # No answer and no cancel waits for what is recorded now; the next turn does.
            parts.recording.end()
            await parts.hub.flush()
            parts.memory.reflect(self._workbench.place.cwd, parts.hub.news())
            inbox.steering.clear()
        except StorageError as error:
            logger.error("session %s: %s", parts.hub.session_id, error)
            inbox.running = None
            self._loading.forget()
            parts.hub.publish(JournalFailed(str(error)), prompt.turn_id)
        finally:
            parts.recording.end()

    async def _outcome(self, prompt: Prompt, screen: Screening) -> TurnEnded | PromptDropped:
        started = False
        inbox = self._parts.inbox
        try:
            await self._loading.once()
            await self._parts.recording.settled()
            notices: list[Notice] = []
            prompt = replace(prompt, content=await screen.prompt(prompt.content, notices.append))
            at = await checked_out(self._workbench.place.cwd)
            said = TurnStarted(ids.message(), prompt.content, prompt.client, aside=inbox.aside)
            self._publish(replace(said, branch=at.head, worktree=at.root), prompt.turn_id)
            started = True
            for notice in notices:
                self._publish(notice, prompt.turn_id)
            # No model is asked about a prompt that could still be lost.
            await self._parts.hub.flush()
            return TurnEnded(await self._work(prompt, screen))
        except asyncio.CancelledError:
            inbox.steering.clear()
            return TurnEnded("cancelled", client=inbox.cancelled_by) if started else PromptDropped()
        except LoginNeeded as error:
            return TurnEnded("error", str(error), needs_login=True)
        except ModelError as error:
            return TurnEnded("error", str(error))
        except StorageError:
            raise
        except Exception as bug:  # boundary: a bug ends the turn, never the session
            logger.exception("session %s: the turn failed", self._parts.hub.session_id)
            return TurnEnded("error", f"Internal error ({type(bug).__name__}: {bug}). The log has more.")

    async def _work(self, prompt: Prompt, screen: Screening) -> StopReason:
        self._workbench.hurry()
        command = commands.parse(prompt.content)
        if command is not None and (text := await command_answers.answer(self._orders, command)) is not None:
            self._publish(MessageCompleted(ids.message(), text), prompt.turn_id)
            return "end_turn"
        turn = await self._begin(prompt, screen, command)
        await self._trust(turn)
        if command is not None:
            return await command_answers.run(turn, command)
        await mentions.read(turn, prompt, self._parts.services.origin.env)
        await self._parts.memory.offer(turn, prompt.content)
        reason = await loop.run(turn)
        if self._trusting is not None:
            await self._trusting.edited(turn)
        return reason

    async def _begin(self, prompt: Prompt, screen: Screening, command: Invocation | None) -> Turn:
        """All that a turn with a model needs. Raises `ModelError` and `StorageError`."""
        parts, place = self._parts, self._workbench.place
        if not await self._workbench.is_there():
            raise ModelError(GONE.format(path=place.cwd))
        model = await parts.services.origin.models.open(self._choosing.choices.model)
        if self._choosing.title is None and command is None:
            await self._choosing.set_title(title_of(prompt.content))
        publish = partial(parts.transcript.publish_of, prompt.turn_id)
        files = parts.recording.begin(place.cwd, title_of(prompt.content), publish)
        return Turn(
            turn_id=prompt.turn_id,
            hub=parts.hub,
            conversation=parts.transcript.conversation,
            model=model,
            effort=cast("Effort", self._choosing.choices.effort),
            ready=await self._workbench.ready(),
            approvals=parts.approvals,
            place=replace(place, documents=place.documents.watched(files).masked(parts.masks)),
            max_steps=parts.services.origin.settings.max_steps,
            steering=parts.inbox.steering,
            files=files,
            screen=screen,
        )

    async def _trust(self, turn: Turn) -> None:
        """Make of what the project brings along what the user thinks of it. Raises `StorageError`."""
        found = turn.ready.surroundings.instructions
        if found is None or not found.texts:
            return
        if self._trusting is None:
            self._trusting = await self._parts.services.trusting()
        await self._trusting.settle(turn)
