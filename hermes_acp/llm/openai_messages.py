"""A `Request` as the JSON of the OpenAI chat-completions format; pure, for our own client and for litellm.

Whatever the history looks like (a turn cut short, a model switched), the result is a sequence that
servers accept: each tool call is answered by exactly one tool message right behind it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import cast

from hermes_acp.content import AudioBlock, Block, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import ToolRequest
from hermes_acp.llm import history, opaque
from hermes_acp.llm.base import (
    AssistantMessage,
    Message,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.route import Dialect

AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}

SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
SHORT_ID_LENGTH = 9


def convert(messages: tuple[Message, ...], position: int, dialect: Dialect) -> list[Json]:
    """What is sent for one message of the history; an answer brings the results of its calls along."""
    match messages[position]:
        case UserMessage(content=content):
            return [{"role": "user", "content": _user_content(content, dialect)}]
        case AssistantMessage() as message:
            return _answer(message, history.results(messages, position + 1), dialect)
        case ToolMessage():
            return []  # sent behind the answer that asked for it, or unasked for and unsendable


def finish(system: str, sent: list[Json], dialect: Dialect) -> list[Json]:
    """The converted history behind the system prompt."""
    whole: list[Json] = [{"role": "system", "content": system}] if system else []
    whole += sent
    if dialect.cache_marks and whole:
        whole[0], whole[-1] = _marked(whole[0]), _marked(whole[-1])
    return whole


def _marked(message: Json) -> Json:
    """The message with a mark at its end: what comes before is the same in the next request."""
    content = message["content"]
    parts = [_text(content)] if isinstance(content, str) else cast("list[Json]", content or [])
    if not parts:
        return message
    return message | {"content": [*parts[:-1], parts[-1] | {"cache_control": {"type": "ephemeral"}}]}


def to_tools(tools: Iterable[ToolSpec]) -> list[Json]:
    """The tools as functions."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools
    ]


# --- answers and tool results ----------------------------------------------------------------------


def _answer(message: AssistantMessage, results: dict[str, ToolMessage], dialect: Dialect) -> list[Json]:
    if not message.text and not message.tool_calls:
        return []
    kept = opaque.load(message.opaque, dialect.model)
    sent: Json = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        sent["tool_calls"] = [_call(call, kept.long_ids, dialect) for call in message.tool_calls]
        if dialect.thoughts and message.thought:
            sent["reasoning_content"] = message.thought
    if dialect.blocks and kept.blocks:
        sent[dialect.blocks] = kept.blocks
    return [sent, *_tool_messages(message.tool_calls, results, kept.long_ids, dialect)]


def _call(call: ToolRequest, long_ids: dict[str, str], dialect: Dialect) -> Json:
    return {
        "id": _call_id(call.call_id, long_ids, dialect),
        "type": "function",
        "function": {"name": call.name, "arguments": history.arguments_text(call.arguments)},
    }


def _tool_messages(
    calls: tuple[ToolRequest, ...],
    results: dict[str, ToolMessage],
    long_ids: dict[str, str],
    dialect: Dialect,
) -> list[Json]:
    sent: list[Json] = []
    seen: list[Json] = []
    for call in calls:
        result = results.get(call.call_id)
        call_id = _call_id(call.call_id, long_ids, dialect)
        sent.append({"role": "tool", "tool_call_id": call_id, "content": history.result_text(result)})
        if result is not None and result.images:
            seen.append(_text(f"Images returned by {result.name}:"))
            seen += [_image(image, dialect) for image in result.images]
    # Tool messages cannot carry images on most servers, so a user message shows them.
    return [*sent, {"role": "user", "content": seen}] if seen else sent


def _call_id(call_id: str, long_ids: dict[str, str], dialect: Dialect) -> str:
    if dialect.short_call_ids and not SHORT_ID.fullmatch(call_id):
        return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:SHORT_ID_LENGTH]
    return long_ids.get(call_id, call_id)


# --- what the user said ----------------------------------------------------------------------------


def _user_content(blocks: tuple[Block, ...], dialect: Dialect) -> str | list[Json]:
    """A plain string where possible: many local servers know nothing else."""
    parts = [_part(block, dialect) for block in blocks]
    parts = [part for part in parts if part.get("text") != ""]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(cast("str", part["text"]) for part in parts) or history.NO_WORDS
    return parts


def _part(block: Block, dialect: Dialect) -> Json:
    match block:
        case TextBlock():
            return _text(block.text)
        case ImageBlock():
            return _image(block, dialect)
        case AudioBlock():
            return _audio(block)
        case LinkBlock():
            return _text(history.link_text(block))
        case ResourceBlock():
            return _resource(block, dialect)


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _image(image: ImageBlock, dialect: Dialect) -> Json:
    if not dialect.images:
        return _text(history.NO_SIGHT)
    url = history.image_url(image) or f"data:{image.mime_type};base64,{image.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _audio(audio: AudioBlock) -> Json:
    sound = AUDIO_FORMATS.get(audio.mime_type.partition(";")[0].strip().lower())
    if sound is None:
        return _text(history.sound_text(audio, "only wav and mp3"))
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": sound}}


def _resource(resource: ResourceBlock, dialect: Dialect) -> Json:
    if (image := history.resource_image(resource)) is not None:
        return _image(image, dialect)
    return _text(history.resource_text(resource))
