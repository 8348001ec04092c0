"""A question of the agent that waits for the user, and what has been answered of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias

from hermes_acp.cli.acp_client import Unanswered
from hermes_acp.cli.attach import questions
from hermes_acp.cli.attach.questions import (
    BadAnswer,
    Choice,
    FieldValue,
    Form,
    FormField,
    Permission,
    Question,
)
from hermes_acp.server.messages import Json

NOTHING_CHOSEN = "Nothing was chosen: press one of the keys, Enter alone allows nothing."

Answer: TypeAlias = "asyncio.Future[Json]"


@dataclass(slots=True)
class Pending:
    """One question; `future` gets the answer for the agent."""

    question: Question
    future: Answer
    values: dict[str, FieldValue] = field(default_factory=dict[str, FieldValue])

    @property
    def field(self) -> FormField | None:
        """The field that is asked for now; None for a permission."""
        match self.question:
            case Form(fields=fields) if len(self.values) < len(fields):
                return fields[len(self.values)]
            case _:
                return None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What can be chosen now."""
        if isinstance(self.question, Permission):
            return self.question.choices
        return self.field.choices if self.field else ()

    def take(self, typed: str) -> str:
        """Take in what the user typed; the problem with it, empty when it was an answer."""
        if isinstance(self.question, Permission):
            found = questions.choice(self.question.choices, typed)
            return self.choose(found) if found else NOTHING_CHOSEN
        return self._fill(self.question, typed)

    def choose(self, choice: Choice) -> str:
        """Answer a permission with one of its choices."""
        self._settle(questions.selected(choice.value))
        return ""

    def abandon(self, reason: Unanswered) -> None:
        """Nobody will answer."""
        if not self.future.done():
            self.future.set_exception(reason)

    def decline(self) -> bool:
        """Refuse to fill in a form; False for a permission, which has choices of its own for that."""
        if isinstance(self.question, Form):
            self._settle(questions.DECLINED)
        return isinstance(self.question, Form)

    def _fill(self, form: Form, typed: str) -> str:
        asked = self.field
        if asked is not None:
            try:
                self.values[asked.name] = questions.parse(asked, typed)
            except BadAnswer as problem:
                return str(problem)
        if len(self.values) >= len(form.fields):
            self._settle(questions.accepted(form, self.values))
        return ""

    def _settle(self, answer: Json) -> None:
        if not self.future.done():
            self.future.set_result(answer)
