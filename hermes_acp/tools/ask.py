"""The tool with which the agent asks the user a question."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import Field, StringConstraints

from hermes_acp import events
from hermes_acp.tools import terminal_text
from hermes_acp.tools.base import Description, Params, Reply, ToolContext, ToolResult
from hermes_acp.tools.typed import tool

MAX_CHOICES = 12
"""Offered answers; more than that nobody compares."""

MAX_CHARACTERS = 4_000
"""Length of a question."""

ANSWER = "answer"
"""Name of the one field that is asked for."""

DECLINED = (
    "The user saw the question and declined to answer. Do not ask it again: go on without the answer "
    "where that is safe, else say what is missing and stop."
)
UNANSWERED = (
    "Nobody was there to answer; the user did not decline. Go on with the most sensible assumption and "
    "say in your answer what you assumed."
)
EMPTY = "The user sent an empty answer: choose what seems best and say what you chose."

OfferedAnswer = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class AskUser(Params):
    """A question, with the answers to choose from if there are any."""

    question: str = Field(min_length=1, max_length=MAX_CHARACTERS)
    choices: list[OfferedAnswer] = Field(default=[], max_length=MAX_CHOICES)
    many: bool = Field(default=False, description="several choices may be taken")


def _describe(params: AskUser, _cwd: str) -> Description:
    return Description(terminal_text.title(params.question))


@tool(AskUser, kind="other", describe=_describe)
async def ask_user(params: AskUser, context: ToolContext) -> ToolResult:
    """Ask the user when you cannot go on without a decision that is theirs."""
    # A choice offered twice is one choice, and editors refuse forms that repeat one.
    choices = tuple(dict.fromkeys(params.choices))
    field = events.Field(ANSWER, "Answer", choices, many=params.many and bool(choices))
    reply = await context.ask(params.question, (field,))
    if reply.outcome == "answered":
        return ToolResult(_answer(reply))
    return ToolResult(DECLINED if reply.outcome == "declined" else UNANSWERED)


def _answer(reply: Reply) -> str:
    value = reply.values.get(ANSWER)
    if value in (None, "", []):
        return EMPTY
    if isinstance(value, list):
        value = ", ".join(map(str, cast("list[object]", value)))
    return f"The user answered: {value}"


TOOLS = (ask_user,)
