"""Questions to the user: an event out, an answer in. The one place where permits are made.

A question is put to all windows, and the first answer counts. It waits as long as one is there that
may still answer. When none is, the model is told that it went unanswered, which is not the same as a
no of the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Protocol, TypeAlias

from hermes_acp.agent import ids
from hermes_acp.content import Location, Shown
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Choice,
    Event,
    Field,
    Notice,
    QuestionAnswered,
    QuestionAsked,
)
from hermes_acp.ops import Answer
from hermes_acp.policy.effects import Effect, Mode, Permit, Refused
from hermes_acp.policy.gate import changes_files, free, judge
from hermes_acp.policy.rules.rules import Origin, Rule, Verdict, choices, learn
from hermes_acp.policy.sandbox import Confinement
from hermes_acp.records import mutable, record
from hermes_acp.storage.rules import Rules

RULES_SECONDS = 1.0
"""After this time at most, the first rule of another process holds for the reading of ordinary files."""

Question: TypeAlias = ApprovalRequested | QuestionAsked

UNANSWERED = (
    "Nobody was there to answer the permission request, so this was not done. "
    "The user did not refuse it: go on without it, or say what you would need permission for."
)


NO_SANDBOX = Notice(
    "info",
    "No sandbox holds commands here, so they are asked for",
    "`hermes-editor doctor` says what this machine lacks. A session in the home folder, or in a folder "
    "around it, has none either.",
)


class Guard(Protocol):
    """Is told of what may change files, so that it can be taken back."""

    def expect(self) -> None:
        """The user is asked about something that may change files."""
        ...

    async def admit(self, call_id: str, effect: Effect) -> None:
        """It is about to happen; it waits until this returns, which is bounded."""
        ...


@record
class Asker:
    """The call that wants something: where its events go and what it shows."""

    call_id: str
    title: str
    publish: Callable[[Event], None]
    flush: Callable[[], Awaitable[None]]
    guard: Guard | None = None
    tainted: bool = False
    """Whether strangers' text may have told the model what to do."""


async def nowhere(_roots: tuple[str, ...]) -> bool:
    """No sandbox."""
    return False


@record
class Sandbox:
    """The sandbox as far as it is asked for: whether it holds commands in some folders; its network."""

    holds: Callable[[tuple[str, ...]], Awaitable[bool]] = nowhere
    network: bool = False


@mutable
class _Waiting:
    """A question that waits; `silent` are the windows that said that they cannot answer it."""

    question: Question
    answered: asyncio.Future[Answer]
    silent: set[str] = field(default_factory=set[str])


@mutable
class Approvals:
    """The open questions and the rules of one session. `answerers` counts the windows that can answer."""

    session_id: str
    project: str
    roots: tuple[str, ...]
    protected: tuple[str, ...]
    mode: Mode
    store: Rules
    answerers: Callable[[], int]
    sandbox: Sandbox = Sandbox()
    written: Callable[[], tuple[Rule, ...]] = tuple
    """The rules that stand in files now; called in a thread."""
    _told: bool = False
    _ruled: bool = True
    _looked: float = float("-inf")
    _open: dict[str, _Waiting] = field(default_factory=dict[str, _Waiting])

    async def permit(
        self,
        asker: Asker,
        effect: Effect,
        shown: tuple[Shown, ...],
        locations: tuple[Location, ...],
    ) -> Permit:
        """Judge, ask where needed, and make the permit. Raises `Refused`."""
        if free(effect, self.roots, self.protected) and await self._without_rules():
            return Permit(effect)
        rules = await self.store.list(self.project, self.session_id)
        mode = await self._effective_mode(effect, asker)
        # In a thread: the first command loads the parser, and a long one takes a while to parse.
        verdict = await asyncio.to_thread(self._judge, effect, mode, rules, tainted=asker.tainted)
        if verdict.decision == "deny":
            raise Refused(verdict.reason)
        if verdict.harmless and effect.kind == "read":
            return Permit(effect)
        guard = asker.guard if changes_files(effect, verdict) else None
        if verdict.decision == "ask":
            if guard is not None:
                guard.expect()
            await self._ask(asker, effect, verdict, shown, locations)
        if guard is not None:
            await guard.admit(asker.call_id, effect)
        await asker.flush()
        return Permit(effect, self._confinement() if verdict.confined else None)

    async def _without_rules(self) -> bool:
        """Whether there was no rule at all a moment ago: then ordinary files are read at once."""
        now = asyncio.get_running_loop().time()
        if now >= self._looked + RULES_SECONDS:
            stored = await self.store.list(self.project, self.session_id)
            self._ruled = bool(stored or await asyncio.to_thread(self.written))
            self._looked = now
        return not self._ruled

    def _judge(self, effect: Effect, mode: Mode, rules: list[Rule], *, tainted: bool) -> Verdict:
        """The verdict by all rules, those included that stand in files; for a thread."""
        return judge(effect, mode, (*rules, *self.written()), self.roots, self.protected, tainted=tainted)

    async def _effective_mode(self, effect: Effect, asker: Asker) -> Mode:
        """The mode, or the one that asks for commands in its place where no sandbox can hold them."""
        if self.mode != "auto" or effect.kind != "execute":
            return self.mode
        # With the network, a sandbox keeps nothing from being sent.
        if asker.tainted and self.sandbox.network:
            return "accept_edits"
        if await self.sandbox.holds(self.roots):
            return "auto"
        if not self._told:
            self._told = True
            asker.publish(NO_SANDBOX)
        return "accept_edits"

    def _confinement(self) -> Confinement:
        return Confinement(self.roots, self.protected, self.sandbox.network)

    async def choose(self, asker: Asker, question: ApprovalRequested) -> tuple[Choice | None, str]:
        """Have the user choose: what, None when nobody did, and in which window."""
        answer, chosen = Answer(question.request_id), None
        try:
            answer = await self._put(asker, question)
            chosen = next((item for item in question.choices if item.option_id == answer.option_id), None)
        finally:
            option_id = chosen.option_id if chosen is not None else None
            asker.publish(ApprovalResolved(question.request_id, asker.call_id, option_id, answer.client))
        return chosen, answer.client

    async def question(self, asker: Asker, message: str, fields: tuple[Field, ...]) -> Answer:
        """Ask the user something; the answer says so when there is none."""
        question = QuestionAsked(ids.request(), asker.call_id, message, fields)
        answer = Answer(question.request_id)
        try:
            answer = await self._put(asker, question)
        finally:
            asker.publish(
                QuestionAnswered(
                    question.request_id, asker.call_id, answer.outcome, answer.values, answer.client
                )
            )
        return answer

    def open(self) -> tuple[Question, ...]:
        """The questions that wait for an answer."""
        return tuple(waiting.question for waiting in self._open.values())

    def answer(self, answer: Answer) -> bool:
        """Take in an answer; the first one counts. False when nothing waits for it.

        One that does not decide leaves the question to the other windows.
        """
        waiting = self._open.get(answer.request_id)
        if waiting is None or waiting.answered.done():
            return False
        if _decides(waiting.question, answer):
            waiting.answered.set_result(answer)
        else:
            waiting.silent.add(answer.client)
            self._give_up(waiting)
        return True

    def left(self, client: str) -> None:
        """A window is gone; what only it could have answered is not waited for any longer."""
        for waiting in self._open.values():
            waiting.silent.discard(client)
            self._give_up(waiting)

    def _give_up(self, waiting: _Waiting) -> None:
        if len(waiting.silent) >= self.answerers() and not waiting.answered.done():
            waiting.answered.set_result(Answer(waiting.question.request_id))

    async def _ask(
        self,
        asker: Asker,
        effect: Effect,
        verdict: Verdict,
        shown: tuple[Shown, ...],
        locations: tuple[Location, ...],
    ) -> None:
        offered = choices(verdict)
        question = ApprovalRequested(
            ids.request(), asker.call_id, effect.summary, verdict.reason, offered, shown, locations
        )
        chosen, client = await self.choose(asker, question)
        if chosen is None:
            raise Refused(UNANSWERED, unanswered=True)
        await self._learn(verdict, chosen.option_id, effect, client)
        if chosen.kind in ("reject_once", "reject_always"):
            raise Refused("The user refused this. Do not try it another way; ask what they want instead.")

    async def _put(self, asker: Asker, question: Question) -> Answer:
        asker.publish(question)
        if not self.answerers():
            return Answer(question.request_id)
        waiting = _Waiting(question, asyncio.get_running_loop().create_future())
        self._open[question.request_id] = waiting
        try:
            return await waiting.answered
        finally:
            del self._open[question.request_id]

    async def _learn(self, verdict: Verdict, option_id: str, effect: Effect, client: str) -> None:
        if verdict.remember is None:
            return
        origin = Origin(self.project, self.session_id, client, effect.summary)
        for rule in learn(verdict.remember, option_id, origin):
            await self.store.add(rule)
            self._ruled = True


def _decides(question: Question, answer: Answer) -> bool:
    if isinstance(question, QuestionAsked):
        return answer.outcome != "unanswered"
    return any(item.option_id == answer.option_id for item in question.choices)
