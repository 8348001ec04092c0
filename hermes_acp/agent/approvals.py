"""Questions to the user: an event out, an answer in. The one place where permits are made.

A question is put to all windows, and the first answer counts. It waits as long as one is there that
may still answer. When none is, the model is told that it went unanswered, which is not the same as a
no of the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from hermes_acp.agent import ids
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    Field,
    Location,
    QuestionAnswered,
    QuestionAsked,
    Shown,
)
from hermes_acp.ops import Answer
from hermes_acp.policy.effects import Effect, Mode, Permit, Refused
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules import Origin, Verdict, choices, learn
from hermes_acp.storage.rules import Rules

Question: TypeAlias = ApprovalRequested | QuestionAsked

UNANSWERED = (
    "Nobody was there to answer the permission request, so this was not done. "
    "The user did not refuse it: go on without it, or say what you would need permission for."
)


@dataclass(frozen=True, slots=True)
class Asker:
    """The call that wants something: where its events go and what it shows."""

    call_id: str
    title: str
    publish: Callable[[Event], None]
    flush: Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Waiting:
    """A question that waits; `silent` are the windows that said that they cannot answer it."""

    question: Question
    answered: asyncio.Future[Answer]
    silent: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Approvals:
    """The open questions and the rules of one session. `answerers` counts the windows that can answer."""

    session_id: str
    project: str
    roots: tuple[str, ...]
    protected: tuple[str, ...]
    mode: Mode
    store: Rules
    answerers: Callable[[], int]
    _open: dict[str, _Waiting] = field(default_factory=dict[str, _Waiting])

    async def permit(
        self,
        asker: Asker,
        effect: Effect,
        shown: tuple[Shown, ...],
        locations: tuple[Location, ...],
    ) -> Permit:
        """Judge, ask where needed, and make the permit. Raises `Refused`."""
        rules = await self.store.list(self.project, self.session_id)
        # In a thread: the first command loads the parser, and a long one takes a while to parse.
        verdict = await asyncio.to_thread(judge, effect, self.mode, rules, self.roots, self.protected)
        if verdict.decision == "deny":
            raise Refused(verdict.reason)
        if verdict.decision == "ask":
            await self._ask(asker, effect, verdict, shown, locations)
        await asker.flush()
        return Permit(effect)

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
        answer, chosen = Answer(question.request_id), None
        try:
            answer = await self._put(asker, question)
            chosen = next((item for item in offered if item.option_id == answer.option_id), None)
        finally:
            option_id = chosen.option_id if chosen is not None else None
            asker.publish(ApprovalResolved(question.request_id, asker.call_id, option_id, answer.client))
        if chosen is None:
            raise Refused(UNANSWERED, unanswered=True)
        await self._learn(verdict, chosen.option_id, effect, answer.client)
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
        rule = learn(verdict.remember, option_id, origin)
        if rule is not None:
            await self.store.add(rule)


def _decides(question: Question, answer: Answer) -> bool:
    if isinstance(question, QuestionAsked):
        return answer.outcome != "unanswered"
    return any(item.option_id == answer.option_id for item in question.choices)
