"""A `Request` as the JSON of the OpenAI chat-completions format; pure, used on both model paths.

Whatever the history looks like (a turn cut short, a model switched), the result is a sequence that
servers accept: each tool call is answered by exactly one tool message right behind it.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable
from typing import cast

import orjson

from hermes_acp.events import (
    AudioBlock,
    Block,
    ImageBlock,
    LinkBlock,
    ResourceBlock,
    TextBlock,
    ToolRequest,
)
from hermes_acp.llm import opaque
from hermes_acp.llm.base import (
    AssistantMessage,
    Message,
    Request,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from hermes_acp.llm.loose_json import Json
from hermes_acp.llm.route import Dialect

NO_RESULT = "No result: the call was interrupted before it finished."
NO_OUTPUT = "(no output)"
NO_WORDS = "(empty message)"
NO_SIGHT = "[An image was left out: this model cannot see images.]"

AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}

SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
SHORT_ID_LENGTH = 9


def to_messages(request: Request, dialect: Dialect) -> list[Json]:
    """The system prompt and the whole history."""
    sent: list[Json] = []
    for position in range(len(request.messages)):
        sent += convert(request.messages, position, dialect)
    return finish(request.system, sent, dialect)


def convert(messages: tuple[Message, ...], position: int, dialect: Dialect) -> list[Json]:
    """What is sent for one message of the history; an answer brings the results of its calls along."""
    match messages[position]:
        case UserMessage(content=content):
            return [{"role": "user", "content": _user_content(content, dialect)}]
        case AssistantMessage() as message:
            return _answer(message, _results(messages, position + 1), dialect)
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


def has_images(request: Request) -> bool:
    """Whether the history holds an image."""
    for message in request.messages:
        if isinstance(message, ToolMessage) and message.images:
            return True
        if isinstance(message, UserMessage) and any(_is_image(block) for block in message.content):
            return True
    return False


def encode(body: Json) -> bytes:
    """The body as UTF-8; halves of surrogate pairs, which UTF-8 cannot carry, become `?`."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


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
        "function": {"name": call.name, "arguments": _arguments(call.arguments)},
    }


def _arguments(text: str) -> str:
    """The arguments as they were when they are a JSON object: servers choke on anything else."""
    try:
        if isinstance(orjson.loads(text), dict):
            return text
    except orjson.JSONDecodeError:
        pass
    return json.dumps({"malformed_arguments": text}) if text.strip() else "{}"


def _results(messages: tuple[Message, ...], start: int) -> dict[str, ToolMessage]:
    """The results between an answer and the next one, by call; the first of each call counts."""
    found: dict[str, ToolMessage] = {}
    for position in range(start, len(messages)):
        message = messages[position]
        if isinstance(message, AssistantMessage):
            break
        if isinstance(message, ToolMessage):
            found.setdefault(message.call_id, message)
    return found


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
        text = NO_RESULT if result is None else result.text or NO_OUTPUT
        call_id = _call_id(call.call_id, long_ids, dialect)
        sent.append({"role": "tool", "tool_call_id": call_id, "content": text})
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
        return "\n".join(cast("str", part["text"]) for part in parts) or NO_WORDS
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
            return _text(_link(block))
        case ResourceBlock():
            return _resource(block, dialect)


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _image(image: ImageBlock, dialect: Dialect) -> Json:
    if not dialect.images:
        return _text(NO_SIGHT)
    is_remote = not image.data and (image.uri or "").startswith(("http://", "https://"))
    url = image.uri if is_remote else f"data:{image.mime_type};base64,{image.data}"
    return {"type": "image_url", "image_url": {"url": url}}


def _is_image(block: Block) -> bool:
    if isinstance(block, ResourceBlock):
        return block.text is None and (block.mime_type or "").startswith("image/")
    return isinstance(block, ImageBlock)


def _audio(audio: AudioBlock) -> Json:
    sound = AUDIO_FORMATS.get(audio.mime_type.partition(";")[0].strip().lower())
    if sound is None:
        return _text(f"[A sound of type {audio.mime_type} was left out: only wav and mp3 can be sent.]")
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": sound}}


def _link(link: LinkBlock) -> str:
    facts = [fact for fact in (link.title, link.description, link.mime_type) if fact]
    if link.size is not None:
        facts.append(f"{link.size} bytes")
    return f"[{link.name}]({link.uri})" + (f" ({'; '.join(facts)})" if facts else "")


def _resource(resource: ResourceBlock, dialect: Dialect) -> Json:
    if resource.text is not None:
        uri = html.escape(resource.uri)
        return _text(f'<resource uri="{uri}">\n{resource.text}\n</resource>')
    mime_type = resource.mime_type or "application/octet-stream"
    if mime_type.startswith("image/") and resource.blob:
        return _image(ImageBlock(resource.blob, mime_type), dialect)
    return _text(f"[The binary resource {resource.uri} of type {mime_type} was left out.]")
