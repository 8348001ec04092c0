"""Approvals and questions as the protocol asks them, and its answers as ours: pure functions."""

from __future__ import annotations

from typing import cast

import orjson
from pydantic import ValidationError

from hermes_acp.events import ApprovalRequested, Field, QuestionAsked
from hermes_acp.ops import Answer
from hermes_acp.server.acp import schema
from hermes_acp.server.acp.render.content import content, location
from hermes_acp.server.messages import Json

SKIP = "skip"


def permission(session_id: str, event: ApprovalRequested) -> Json:
    """The parameters of `session/request_permission` for an approval."""
    call: Json = {
        "toolCallId": event.call_id,
        "title": event.title,
        "status": "pending",
        "content": [content(item) for item in event.shown],
    }
    if event.locations:
        call["locations"] = [location(item) for item in event.locations]
    options = [{"optionId": item.option_id, "name": item.name, "kind": item.kind} for item in event.choices]
    request: Json = {"sessionId": session_id, "toolCall": call, "options": options}
    return request | ({"_meta": {"reason": event.reason}} if event.reason else {})


def choice(session_id: str, event: QuestionAsked) -> Json:
    """A question with choices as a permission request, for clients without forms."""
    options = [
        {"optionId": str(index), "name": name, "kind": "allow_once"}
        for index, name in enumerate(event.fields[0].choices)
    ]
    options.append({"optionId": SKIP, "name": "Do not answer", "kind": "reject_once"})
    call: Json = {"toolCallId": event.call_id, "title": event.message, "status": "in_progress"}
    return {"sessionId": session_id, "toolCall": call, "options": options}


def is_choice(event: QuestionAsked) -> bool:
    """Whether the question can be asked as a permission request."""
    return len(event.fields) == 1 and bool(event.fields[0].choices) and not event.fields[0].many


def elicitation(session_id: str, event: QuestionAsked) -> Json:
    """The parameters of `elicitation/create` for a question."""
    return {
        "mode": "form",
        "sessionId": session_id,
        "toolCallId": event.call_id,
        "message": event.message,
        "requestedSchema": {
            "type": "object",
            "properties": {item.name: _property(item) for item in event.fields},
            "required": [item.name for item in event.fields if item.required],
        },
    }


def permission_answer(request_id: str, result: object, client: str) -> Answer:
    """What the user chose; no choice when the answer is not one."""
    try:
        outcome = schema.PermissionAnswer.model_validate(result).outcome
    except ValidationError:
        return Answer(request_id, client=client)
    chosen = outcome.option_id if outcome.outcome == "selected" else None
    return Answer(request_id, chosen, client=client)


def choice_answer(event: QuestionAsked, result: object, client: str) -> Answer:
    """What the user chose among the choices of a question."""
    chosen = permission_answer(event.request_id, result, client).option_id
    names = {str(index): name for index, name in enumerate(event.fields[0].choices)}
    if chosen in names:
        values = orjson.dumps({event.fields[0].name: names[chosen]}).decode()
        return Answer(event.request_id, outcome="answered", values=values, client=client)
    outcome = "declined" if chosen == SKIP else "unanswered"
    return Answer(event.request_id, outcome=outcome, client=client)


def elicitation_answer(request_id: str, result: object, client: str) -> Answer:
    """What the user filled in."""
    try:
        answer = schema.ElicitationAnswer.model_validate(result)
    except ValidationError:
        return Answer(request_id, client=client)
    if answer.action == "accept":
        values = orjson.dumps(answer.content or {}).decode()
        return Answer(request_id, outcome="answered", values=values, client=client)
    outcome = "declined" if answer.action == "decline" else "unanswered"
    return Answer(request_id, outcome=outcome, client=client)


def _property(item: Field) -> Json:
    if not item.choices:
        return {"type": "string", "title": item.title}
    choices = cast("list[object]", [{"const": value, "title": value} for value in item.choices])
    if item.many:
        return {"type": "array", "title": item.title, "items": {"anyOf": choices}}
    return {"type": "string", "title": item.title, "oneOf": choices}
