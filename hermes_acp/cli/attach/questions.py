"""Questions of the agent to the user: the requests as data, and the answers to them. Pure."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from hermes_acp.cli.acp_client import Unanswered
from hermes_acp.cli.attach import received
from hermes_acp.cli.attach.pieces import Asked
from hermes_acp.records import record
from hermes_acp.server.messages import Json

LETTERS = {"allow_once": "y", "allow_always": "a", "reject_once": "n"}
"""The key of the first option of a kind, besides its number."""
NUMBERED = 9
"""Options that have a number; further ones are reached with the arrows."""
YES = ("yes", "y", "true", "1")
NO = ("no", "n", "false", "0")

FieldValue: TypeAlias = str | int | float | bool | list[str] | None


class BadAnswer(ValueError):
    """What the user typed is no answer; `str()` says what would be."""


@record
class Choice:
    """One thing to choose; `keys` are those that choose it at once."""

    value: str
    name: str
    keys: tuple[str, ...] = ()
    allows: bool = False


@record
class Permission:
    """A request for permission: nothing is chosen until the user chooses."""

    asked: Asked
    choices: tuple[Choice, ...]


@record
class FormField:
    """One field of a form; `one` and `many` have choices."""

    name: str
    title: str
    kind: Literal["text", "integer", "number", "boolean", "one", "many"] = "text"
    choices: tuple[Choice, ...] = ()
    required: bool = False


@record
class Form:
    """A question with fields, which are asked one after the other."""

    message: str
    fields: tuple[FormField, ...]


Question: TypeAlias = Permission | Form

CONFIRM = FormField("", "yes or no", "boolean", required=True)
CONFIRMATION = (CONFIRM,)
"""What is asked of a form without fields."""


def read(method: str, params: Json) -> Question:
    """The question in a request of the agent. Raises `Unanswered` for one that cannot be shown."""
    match method:
        case "session/request_permission":
            return _permission(params)
        case "elicitation/create" if params.get("mode", "form") == "form":
            return _form(params)
        case _:
            raise Unanswered(f"This window does not serve {method}.")


def selected(option_id: str) -> Json:
    """The answer to a permission request."""
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


def accepted(form: Form, values: dict[str, FieldValue]) -> Json:
    """The answer to a form that was filled in; a mere confirmation that was denied declines it."""
    if form.fields == CONFIRMATION:
        return {"action": "accept", "content": {}} if values[CONFIRM.name] is True else DECLINED
    return {
        "action": "accept",
        "content": {name: value for name, value in values.items() if value is not None},
    }


DECLINED: Json = {"action": "decline"}
"""The answer to a form that the user does not want to fill in."""


def choice(choices: tuple[Choice, ...], typed: str) -> Choice | None:
    """The choice that a key or a whole typed word names; None when it names none."""
    word = typed.strip()
    exact = (item for item in choices if word in item.keys or word == item.name)
    return next(exact, None) if word else None


def parse(field: FormField, typed: str) -> FieldValue:
    """The value of a field; None when it was left empty and may be. Raises `BadAnswer`."""
    text = typed.strip()
    if not text:
        if field.required:
            raise BadAnswer("This has to be answered; Esc declines the whole question.")
        return None
    match field.kind:
        case "text":
            return typed
        case "integer" | "number":
            return _number(field, text)
        case "boolean":
            return _boolean(text)
        case "one":
            return _picked(field, text).value
        case "many":
            return [_picked(field, part).value for part in text.replace(",", " ").split()]


def _permission(params: Json) -> Permission:
    call = received.members(params.get("toolCall"))
    asked = Asked(
        title=received.text(call.get("title")),
        reason=received.text(received.members(params.get("_meta")).get("reason")),
        content=received.content(call.get("content")),
    )
    return Permission(asked, _choices(params.get("options")))


def _choices(value: object) -> tuple[Choice, ...]:
    found: list[Choice] = []
    free = dict(LETTERS)
    for number, item in enumerate(received.objects(value), 1):
        kind = str(item.get("kind"))
        keys = [str(number)] if number <= NUMBERED else []
        if letter := free.pop(kind, None):
            keys.append(letter)
        name = received.line(item.get("name"))
        found.append(Choice(str(item.get("optionId")), name, tuple(keys), kind.startswith("allow")))
    return tuple(found)


def _form(params: Json) -> Form:
    schema = received.members(params.get("requestedSchema"))
    wanted = received.items(schema.get("required"))
    properties = received.members(schema.get("properties"))
    fields = tuple(_field(name, received.members(item), name in wanted) for name, item in properties.items())
    return Form(received.text(params.get("message")), fields or CONFIRMATION)


def _field(name: str, schema: Json, required: bool) -> FormField:  # noqa: FBT001 (the schema's own flag)
    title = received.line(schema.get("title")) or received.line(name)
    if more := received.line(schema.get("description")):
        title = f"{title}: {more}"
    choices = _values(schema)
    match schema.get("type"):
        case "boolean":
            return FormField(name, title, "boolean", required=required)
        case "integer":
            return FormField(name, title, "integer", required=required)
        case "number":
            return FormField(name, title, "number", required=required)
        case "array":
            return FormField(name, title, "many", _values(received.members(schema.get("items"))), required)
        case _:
            return FormField(name, title, "one" if choices else "text", choices, required)


def _values(schema: Json) -> tuple[Choice, ...]:
    pairs = [(str(item), received.line(str(item))) for item in received.items(schema.get("enum"))]
    listed = [*received.objects(schema.get("oneOf")), *received.objects(schema.get("anyOf"))]
    pairs += [
        (str(item["const"]), received.line(item.get("title")) or received.line(str(item["const"])))
        for item in listed
        if "const" in item
    ]
    return tuple(Choice(value, name, (str(number),)) for number, (value, name) in enumerate(pairs, 1))


def _number(field: FormField, text: str) -> int | float:
    try:
        value = int(text) if field.kind == "integer" else float(text)
    except ValueError as error:
        kind = "a whole number" if field.kind == "integer" else "a number"
        raise BadAnswer(f"This has to be {kind}.") from error
    if not math.isfinite(value):
        raise BadAnswer("This has to be a finite number.")
    return value


def _boolean(text: str) -> bool:
    word = text.casefold()
    if word not in YES + NO:
        raise BadAnswer("Type yes or no.")
    return word in YES


def _picked(field: FormField, text: str) -> Choice:
    found = choice(field.choices, text)
    if found is None:
        raise BadAnswer(f"Type a number from 1 to {len(field.choices)}.")
    return found
