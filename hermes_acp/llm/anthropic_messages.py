"""A `Request` as the JSON of Anthropic's Messages API; pure.

Whatever the history looks like (a turn cut short, a model switched), the result is a sequence that the
API accepts: it begins with the user, and the results of all calls of an answer follow right behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import cast

from hermes_acp.content import AudioBlock, Block, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import ToolRequest
from hermes_acp.llm import history, opaque
from hermes_acp.llm.base import AssistantMessage, Message, ToolMessage, ToolSpec, UserMessage
from hermes_acp.llm.loose_json import Json, as_count, as_text
from hermes_acp.llm.route import Dialect

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
SENDABLE = "JPEG, PNG, GIF and WebP"
PDF = "application/pdf"
CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
HASHED_ID_LENGTH = 24

MARK: Json = {"cache_control": {"type": "ephemeral"}}
"""The provider caches the prompt up to places that carry this: what comes before stays the same."""


def convert(messages: tuple[Message, ...], position: int, dialect: Dialect) -> list[Json]:
    """What is sent for one message of the history; an answer brings the results of its calls along."""
    match messages[position]:
        case UserMessage(content=content):
            return [{"role": "user", "content": _user_content(content, dialect)}]
        case AssistantMessage() as message:
            return _answer(message, history.results(messages, position + 1), dialect)
        case ToolMessage():
            return []  # sent behind the answer that asked for it, or unasked for and unsendable


def finish(sent: Sequence[Json]) -> list[Json]:
    """The converted history with the roles taking turns, marked for the cache where requests end.

    The end of this request is marked for the next one, and the end of the request before, because the
    provider looks back over a few blocks only: an answer with many calls would hide it.
    """
    whole = _taking_turns(sent)
    ends = [place for place, message in enumerate(whole) if message["role"] == "user"][-2:]
    for place in ends:
        content = cast("list[Json]", whole[place]["content"])
        whole[place] = whole[place] | {"content": marked(content)}
    return whole


def marked(blocks: list[Json]) -> list[Json]:
    """The blocks with a mark on the last."""
    return [*blocks[:-1], blocks[-1] | MARK]


def to_tools(tools: Iterable[ToolSpec]) -> list[Json]:
    """The tools with their schemas."""
    return [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in tools
    ]


def continues_thoughtless(messages: tuple[Message, ...], dialect: Dialect) -> bool:
    """Whether the request goes on with a turn whose first answer left no thoughts that could go back.

    Models that think within a budget then refuse to think.
    """
    first: AssistantMessage | None = None
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            break
        first = message if isinstance(message, AssistantMessage) else first
    return first is not None and not opaque.load(first.opaque, dialect.model).blocks


def _taking_turns(sent: Sequence[Json]) -> list[Json]:
    whole: list[Json] = []
    if not sent or sent[0]["role"] != "user":
        whole.append({"role": "user", "content": [_text(history.NO_WORDS)]})
    for message in sent:
        if whole and whole[-1]["role"] == message["role"]:
            before = cast("list[Json]", whole[-1]["content"])
            whole[-1] = message | {"content": before + cast("list[Json]", message["content"])}
        else:
            whole.append(message)
    return whole


# --- answers and tool results ----------------------------------------------------------------------


def _answer(message: AssistantMessage, results: dict[str, ToolMessage], dialect: Dialect) -> list[Json]:
    if not message.text.strip() and not message.tool_calls:
        return []
    kept = opaque.load(message.opaque, dialect.model).blocks
    answer: Json = {"role": "assistant", "content": _in_order(message, kept)}
    if not message.tool_calls:
        return [answer]
    given = [_result(call, results.get(call.call_id), dialect) for call in message.tool_calls]
    return [answer, {"role": "user", "content": given}]


def _in_order(message: AssistantMessage, kept: list[Json]) -> list[Json]:
    """Thoughts, text and calls in the order in which they came; see `anthropic_events.EventReader`."""
    calls = {call.call_id: call for call in message.tool_calls}
    content: list[Json] = []
    said = 0
    for block in kept:
        if block.get("type") == "text":
            end = said + as_count(block.get("size"))
            content.append(_text(message.text[said:end]))
            said = end
        elif block.get("type") == "tool_use":
            call = calls.pop(as_text(block.get("id")), None)
            content += [] if call is None else [_call(call)]
        else:
            content.append(block)
    content.append(_text(message.text[said:]))
    content += [_call(call) for call in calls.values()]
    # Text of nothing but white space is refused.
    return [block for block in content if block["type"] != "text" or as_text(block["text"]).strip()]


def _call(call: ToolRequest) -> Json:
    return {
        "type": "tool_use",
        "id": _call_id(call.call_id),
        "name": call.name,
        "input": history.arguments(call.arguments),
    }


def _result(call: ToolRequest, result: ToolMessage | None, dialect: Dialect) -> Json:
    text = history.result_text(result)
    images = [] if result is None else [_image(image, dialect) for image in result.images]
    content = [_text(text), *images] if images else text
    return {"type": "tool_result", "tool_use_id": _call_id(call.call_id), "content": content}


def _call_id(call_id: str) -> str:
    """The id, or what stands for one that another provider made and this one would refuse."""
    if CALL_ID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()
    return f"call_{digest[:HASHED_ID_LENGTH]}"


# --- what the user said ----------------------------------------------------------------------------


def _user_content(blocks: tuple[Block, ...], dialect: Dialect) -> list[Json]:
    parts = [_part(block, dialect) for block in blocks]
    said = [part for part in parts if part["type"] != "text" or as_text(part["text"]).strip()]
    return said or [_text(history.NO_WORDS)]


def _part(block: Block, dialect: Dialect) -> Json:
    match block:
        case TextBlock():
            return _text(block.text)
        case ImageBlock():
            return _image(block, dialect)
        case AudioBlock():
            return _text(history.sound_text(block, "only text, images and PDF"))
        case LinkBlock():
            return _text(history.link_text(block))
        case ResourceBlock():
            return _resource(block, dialect)


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _image(image: ImageBlock, dialect: Dialect) -> Json:
    if not dialect.images:
        return _text(history.NO_SIGHT)
    if url := history.image_url(image):
        return {"type": "image", "source": {"type": "url", "url": url}}
    mime_type = image.mime_type.partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if mime_type not in IMAGE_TYPES:
        return _text(f"[An image of type {image.mime_type} was left out: only {SENDABLE} can be sent.]")
    return {"type": "image", "source": _base64(mime_type, image.data)}


def _resource(resource: ResourceBlock, dialect: Dialect) -> Json:
    if (image := history.resource_image(resource)) is not None:
        return _image(image, dialect)
    if resource.mime_type == PDF and resource.text is None and resource.blob:
        return {"type": "document", "source": _base64(PDF, resource.blob), "title": resource.uri}
    return _text(history.resource_text(resource))


def _base64(mime_type: str, data: str) -> Json:
    return {"type": "base64", "media_type": mime_type, "data": data}
