"""Questions of the agent: read, answered, declined."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hermes_acp.cli.acp_client import Unanswered
from hermes_acp.cli.attach import questions
from hermes_acp.cli.attach.pending import NOTHING_CHOSEN, Pending
from hermes_acp.cli.attach.pieces import Asked, Shown
from hermes_acp.cli.attach.questions import BadAnswer, Choice, Form, FormField, Permission

PERMISSION = {
    "toolCall": {
        "title": "rm x",
        "content": [{"type": "content", "content": {"type": "text", "text": "rm x"}}],
    },
    "options": [
        {"optionId": "once", "name": "Allow once", "kind": "allow_once"},
        {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
        {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    ],
    "_meta": {"reason": "It deletes."},
}  # fmt: skip
FORM = {
    "mode": "form",
    "message": "Tell me",
    "requestedSchema": {
        "properties": {
            "colour": {"type": "string", "title": "Colour", "oneOf": [{"const": "r", "title": "Red"}]},
            "many": {"type": "array", "items": {"enum": ["a", "b"]}},
            "count": {"type": "integer"},
            "name": {"type": "string"},
        },
        "required": ["colour", "count"],
    },
}


def pending(method: str, params: dict[str, Any]) -> Pending:
    return Pending(questions.read(method, params), asyncio.get_running_loop().create_future())


async def test_a_permission_is_answered_by_number_letter_or_name_and_by_nothing_else() -> None:
    found = questions.read("session/request_permission", PERMISSION)
    choices = (
        Choice("once", "Allow once", ("1", "y"), allows=True),
        Choice("always", "Always allow", ("2", "a"), allows=True),
        Choice("no", "Reject", ("3", "n")),
    )
    assert found == Permission(Asked("rm x", "It deletes.", (Shown("rm x"),)), choices)
    for typed in ("", " ", "\r", "4", "yes please", "Y"):
        asked = pending("session/request_permission", PERMISSION)
        assert (asked.take(typed), asked.future.done()) == (NOTHING_CHOSEN, False)
    for typed, option in (("1", "once"), ("a", "always"), ("n", "no"), ("Reject", "no")):
        asked = pending("session/request_permission", PERMISSION)
        assert asked.take(typed) == ""
        assert asked.future.result() == questions.selected(option)


async def test_a_form_is_asked_field_by_field() -> None:
    asked = pending("elicitation/create", FORM)
    assert asked.field == FormField("colour", "Colour", "one", (Choice("r", "Red", ("1",)),), required=True)
    steps = ["", "2", "1", "1, 2", "x", "", "7", ""]
    assert [bool(asked.take(step)) for step in steps] == [
        True, True, False, False, True, True, False, False,
    ]  # fmt: skip
    assert asked.future.result() == {
        "action": "accept",
        "content": {"colour": "r", "many": ["a", "b"], "count": 7},
    }


async def test_a_form_can_be_declined_and_a_permission_cannot() -> None:
    form, permission = pending("elicitation/create", FORM), pending("session/request_permission", PERMISSION)
    assert (form.decline(), permission.decline()) == (True, False)
    assert (form.future.result(), permission.future.done()) == ({"action": "decline"}, False)


@pytest.mark.parametrize(
    ("typed", "answer"), [("yes", {"action": "accept", "content": {}}), ("n", {"action": "decline"})]
)
async def test_a_form_without_fields_is_a_confirmation(typed: str, answer: dict[str, Any]) -> None:
    asked = pending("elicitation/create", {"message": "Go on?"})
    assert asked.take("") != ""
    assert asked.take(typed) == ""
    assert asked.future.result() == answer


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [("number", "1.5", 1.5), ("integer", "-3", -3), ("boolean", "NO", False), ("text", " a b ", " a b ")],
)
def test_values_are_read_by_their_kind(kind: Any, typed: str, value: object) -> None:
    assert questions.parse(FormField("f", "F", kind), typed) == value


@pytest.mark.parametrize(("kind", "typed"), [("number", "nan"), ("integer", "1.5"), ("boolean", "maybe")])
def test_values_of_another_kind_are_refused(kind: Any, typed: str) -> None:
    with pytest.raises(BadAnswer):
        questions.parse(FormField("f", "F", kind), typed)


def test_what_cannot_be_shown_is_left_to_others() -> None:
    assert isinstance(questions.read("elicitation/create", {}), Form)
    for method, params in (("elicitation/create", {"mode": "url"}), ("fs/read_text_file", {})):
        with pytest.raises(Unanswered):
            questions.read(method, params)
