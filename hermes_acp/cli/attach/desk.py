"""One session at this window: what is shown of it, what is asked, and what the user sends."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol, TypeAlias

from hermes_acp.cli.acp_client import Agent, AgentError, AgentGone, Unanswered
from hermes_acp.cli.attach import fold, mentions, questions, words
from hermes_acp.cli.attach.pending import Pending
from hermes_acp.cli.attach.pieces import Card, Content, Ended, Note, Piece
from hermes_acp.cli.attach.questions import Form, Permission
from hermes_acp.cli.attach.sessions import Listed
from hermes_acp.cli.attach.state import State
from hermes_acp.cli.attach.words import Typed
from hermes_acp.records import record
from hermes_acp.server.messages import AUTH_REQUIRED, Json

OUTBOX = 64
"""What the user typed and has not been sent yet."""
PAST = 200
"""Pieces of the past that are printed when a session is opened."""
NOBODY = "Nobody is here to answer: the input of this window has ended."
NO_LOGIN = "Set a model with `hermes-editor --setup`."

Leaving: TypeAlias = Literal["detach", "sessions"]


class View(Protocol):
    """The screen, or what stands for one."""

    def print(self, pieces: Sequence[Piece], *, full: bool = False) -> None:
        """Print for good; `full` folds nothing."""
        ...

    def changed(self) -> None:
        """Something that is not finished has changed, or a question came or went."""
        ...

    def leave(self, how: Leaving) -> None:
        """The user wants to leave."""
        ...


@record
class _Outgoing:
    kind: Literal["prompt", "steer", "option"]
    text: str
    key: int = 0
    option_id: str = ""


class Desk:
    """The client's side of one session (`acp_client.Host`)."""

    def __init__(self, view: View) -> None:
        self.state = State()
        self.questions: list[Pending] = []
        """Those that wait, the oldest first."""
        self.session = Listed("", "/")
        self._view = view
        self._agent: Agent | None = None
        self._keys = itertools.count(1)
        self._outbox: asyncio.Queue[_Outgoing] = asyncio.Queue(OUTBOX)
        self._past: deque[Piece] = deque(maxlen=PAST)
        self._past_count = 0
        self._folded: Card | None = None
        self._seen: tuple[Content, ...] = ()
        """What the last request for permission showed."""
        self._cancelled = False
        self._open = 0
        """What was entered here and is not answered."""
        self._nobody = False
        self._finished = asyncio.Event()

    # --- the agent's side ------------------------------------------------------------------------

    def expect(self, session: Listed) -> None:
        """From now on the updates of this session are taken in."""
        self.session = session
        self.state = State(title=session.title)

    def opened(self, agent: Agent, answer: Json) -> None:
        """The session is open: show the end of its past."""
        self._agent = agent
        self._step(fold.opened(self.state, answer))
        if (hidden := self._past_count - len(self._past)) > 0:
            shown = f"`hermes-editor sessions show {self.session.session_id}` prints the whole conversation."
            self._view.print((Note(f"… {hidden} earlier parts. {shown}"),))
        self._view.print(tuple(self._past))
        self._past.clear()

    def show(self, session_id: str, update: Json) -> None:
        """Take in an update (`Host`)."""
        if session_id == self.session.session_id:
            self._step(fold.updated(self.state, update))

    async def answer(self, method: str, params: Json) -> Json:
        """Put a question to the user and wait; withdrawn by cancelling (`Host`)."""
        question = questions.read(method, params)
        if self._nobody:
            raise Unanswered(NOBODY)
        pending = Pending(question, asyncio.get_running_loop().create_future())
        self.questions.append(pending)
        self._cancelled = False
        match question:
            case Permission(asked=asked):
                self._seen = asked.content
                self._view.print((asked,))
            case Form(message=message):
                self._view.print((Note(f"? {message}", "warning"),))
        self._view.changed()
        try:
            return await pending.future
        except asyncio.CancelledError:
            if not self._cancelled:
                self._view.print((Note("The question needs no answer of this window any more."),))
            raise
        finally:
            self.questions.remove(pending)
            self._view.changed()

    # --- the user's side -------------------------------------------------------------------------

    def enter(self, text: str) -> None:
        """The user entered something: a command of the window, or a prompt."""
        typed = words.parse(text)
        if typed is not None:
            self._command(typed)
        elif unknown := self._unknown(text):
            self._view.print((Note(unknown, "warning"),))
        elif text.strip():
            self.prompt(text)

    def prompt(self, text: str) -> None:
        """Send a prompt as it is."""
        key = next(self._keys)
        if self._put(_Outgoing("prompt", text, key)):
            self._step(fold.prompted(self.state, key, text))

    def steer(self, text: str) -> None:
        """Say something into the running turn."""
        if text.strip():
            self._put(_Outgoing("steer", text))

    def cancel(self) -> None:
        """Stop the running turn and what waits behind it."""
        if self._agent is not None:
            self._cancelled = True
            self.state = fold.stopped(self.state)
            self._agent.notify("session/cancel", {"sessionId": self.session.session_id})

    def show_thoughts(self) -> None:
        """Print the thoughts of the last turn."""
        thoughts = self.state.thoughts or (Note("There are no thoughts of the last turn."),)
        self._view.print(thoughts, full=True)

    def show_folded(self) -> None:
        """Print what was folded last."""
        card = self._folded
        self._view.print((card,) if card else (Note("Nothing was folded."),), full=True)

    async def finish(self) -> None:
        """Nobody is here any more: wait for the ends of the prompts that were sent."""
        self._nobody = True
        for pending in self.questions:
            pending.abandon(Unanswered(NOBODY))
        while self._open:
            self._finished.clear()
            await self._finished.wait()

    async def work(self) -> None:
        """Send what the user typed, in order, until cancelled."""
        async with asyncio.TaskGroup() as calls:
            while True:
                outgoing = await self._outbox.get()
                content = await mentions.blocks(outgoing.text, self.session.cwd)
                calls.create_task(self._send(outgoing, content))

    # --- details ---------------------------------------------------------------------------------

    def _step(self, result: fold.Result) -> None:
        was_loading = self.state.loading
        self.state, pieces = result
        for piece in pieces:
            if isinstance(piece, Card) and (piece.content or piece.output):
                self._folded = piece
        if was_loading:
            self._past.extend(pieces)
            self._past_count += len(pieces)
        elif pieces:
            self._view.print(tuple(map(self._once, pieces)))
        self._view.changed()

    def _once(self, piece: Piece) -> Piece:
        """A call without the changes that the user has just allowed."""
        told = isinstance(piece, Card) and piece.content and piece.content == self._seen
        return replace(piece, content=()) if told and isinstance(piece, Card) else piece

    def _put(self, outgoing: _Outgoing) -> bool:
        if self._outbox.full():
            self._view.print((Note(f"{OUTBOX} messages wait to be sent: wait a moment.", "warning"),))
            return False
        self._outbox.put_nowait(outgoing)
        self._open += 1
        return True

    def _unknown(self, text: str) -> str:
        """What is wrong with a command that nobody knows; empty for everything else."""
        found = re.match(r"/([a-z][a-z0-9_-]*)(\s|$)", text.strip())
        known = [item.name for item in (*words.COMMANDS, *self.state.commands)]
        if found is None or found[1] in known:
            return ""
        near = difflib.get_close_matches(found[1], known, n=1)
        advice = f"did you mean /{near[0]}?" if near else "/help lists what there is."
        return f"There is no command /{found[1]}: {advice}"

    def _command(self, typed: Typed) -> None:
        match typed.name:
            case "detach" | "sessions":
                self._view.leave("detach" if typed.name == "detach" else "sessions")
            case "steer":
                self.steer(typed.rest)
            case "cancel":
                self.cancel()
            case "thoughts":
                self.show_thoughts()
            case "show":
                self.show_folded()
            case "help":
                self._view.print((Note(words.help_text(self.state)),))
            case name:
                self._set(name, typed.rest)

    def _set(self, name: str, word: str) -> None:
        option = self.state.option(words.CATEGORIES[name])
        if option is None:
            self._view.print((Note(f"This session has no option for the {name}.", "warning"),))
        elif not word:
            self._view.print((Note(words.values(option)),))
        elif value := words.value(option, word):
            self._put(_Outgoing("option", value.value, option_id=option.option_id))
        elif name == "model":
            # The agent takes models that it does not list.
            self.prompt(f"/model {word}")
        else:
            self._view.print((Note(f"{word!r} is none of them:\n{words.values(option)}", "warning"),))

    async def _send(self, outgoing: _Outgoing, content: list[Json]) -> None:
        assert self._agent is not None
        try:
            match outgoing.kind:
                case "prompt":
                    await self._prompt(self._agent, outgoing, content)
                case "steer":
                    await self._steer(self._agent, outgoing, content)
                case "option":
                    await self._option(self._agent, outgoing)
        except AgentGone:
            # The connection ends the window; there is nobody to tell more.
            return
        finally:
            self._open -= 1
            self._finished.set()

    async def _prompt(self, agent: Agent, outgoing: _Outgoing, content: list[Json]) -> None:
        params: Json = {"sessionId": self.session.session_id, "prompt": content}
        try:
            answer = await agent.call("session/prompt", params)
            end = Ended(str(answer.get("stopReason")))
        except AgentError as error:
            end = Ended("error", f"{error} {NO_LOGIN}" if error.code == AUTH_REQUIRED else str(error))
        self._step(fold.answered(self.state, outgoing.key, end))

    async def _steer(self, agent: Agent, outgoing: _Outgoing, content: list[Json]) -> None:
        params: Json = {
            "sessionId": self.session.session_id,
            "prompt": content,
            "_meta": {"steering": {"idleBehavior": "promptRequired"}},
        }
        try:
            answer = await agent.call("_session/steering", params)
        except AgentError as error:
            self._view.print((Note(f"Not sent: {outgoing.text} ({error})", "error"),))
            return
        if answer.get("outcome") == "injected":
            self._step(fold.steered(self.state, outgoing.text))
        else:
            self.prompt(outgoing.text)

    async def _option(self, agent: Agent, outgoing: _Outgoing) -> None:
        params: Json = {
            "sessionId": self.session.session_id,
            "configId": outgoing.option_id,
            "value": outgoing.text,
        }
        try:
            answer = await agent.call("session/set_config_option", params)
        except AgentError as error:
            self._view.print((Note(str(error), "error"),))
            return
        update: Json = {"sessionUpdate": "config_option_update", "configOptions": answer.get("configOptions")}
        self._step(fold.updated(self.state, update))
        self._view.print((Note(f"The {outgoing.option_id} is now {outgoing.text}."),))
