"""Questions to the user, and what the model reads of the answer."""

import pytest
from terminal_context import RecordingContext, call

from hermes_acp.events import Field
from hermes_acp.tools.ask import DECLINED, EMPTY, UNANSWERED, ask_user
from hermes_acp.tools.base import Description, Reply, ToolError, ToolResult
from hermes_acp.workspace.execution.local import LocalExecution


@pytest.fixture
def context(tmp_path):
    return RecordingContext(str(tmp_path), LocalExecution({}))


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply("answered", {"answer": "blue"}), "The user answered: blue"),
        (Reply("answered", {"answer": ["red", "blue"]}), "The user answered: red, blue"),
        (Reply("answered", {"answer": 0}), "The user answered: 0"),
        (Reply("answered", {"answer": ""}), EMPTY),
        (Reply("answered", {"answer": []}), EMPTY),
        (Reply("answered", {}), EMPTY),
        (Reply("declined", {}), DECLINED),
        (Reply("unanswered", {}), UNANSWERED),
    ],
)
async def test_the_model_reads_what_became_of_its_question(context, reply, text):
    context.reply = reply
    assert await call(ask_user, context, question="Which?") == ToolResult(text)


async def test_a_question_without_choices_asks_for_free_text(context):
    await call(ask_user, context, question="Which colour?", many=True)
    assert context.questions == [("Which colour?", (Field("answer", "Answer"),))]


async def test_choices_are_offered_once_each(context):
    await call(ask_user, context, question="Which?", choices=["red", " blue ", "red"], many=True)
    assert context.questions == [("Which?", (Field("answer", "Answer", ("red", "blue"), many=True),))]


def test_a_long_question_is_announced_by_its_beginning():
    call = ask_user.accept({"question": "Which of these?\n" + "x" * 500})
    assert call.describe("/") == Description("Which of these? …")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"question": ""}, {"question": "?", "choices": [" "]}, {"question": "?", "choices": ["a"] * 13}],
)
def test_a_question_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ToolError, match="Wrong arguments for ask_user"):
        ask_user.accept(arguments)
