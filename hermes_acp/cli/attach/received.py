"""Members of protocol messages as pieces: pure, lenient, and the place where foreign text becomes safe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from hermes_acp.cli.attach.pieces import (
    STATUSES,
    Change,
    Command,
    Content,
    Option,
    Shown,
    Step,
    Usage,
    Value,
)
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.server.messages import Json
from hermes_acp.tools.terminal_text import plain

FENCED = re.compile(r"\s*(`{3,})[^\n`]*\n(?P<text>.*?)\n?\1\s*", re.DOTALL)


def text(value: object) -> str:
    """Safe text of several lines; empty when it is none."""
    return safe(plain(value)) if isinstance(value, str) else ""


def line(value: object) -> str:
    """Safe text of one bounded line."""
    return one_line(plain(value)) if isinstance(value, str) else ""


def members(value: object) -> Json:
    """An object, empty when it is none."""
    return cast("Json", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """The items of a list, none when it is none."""
    return cast("list[object]", value) if isinstance(value, list) else []


def objects(value: object) -> Iterator[Json]:
    """The objects of a list."""
    yield from (cast("Json", item) for item in items(value) if isinstance(item, dict))


def block(value: object) -> str:
    """A content block as text."""
    match members(value):
        case {"type": "text", "text": str() as found}:
            return text(found)
        case {"type": "resource_link", "name": str() as name}:
            return f"@{line(name)}"
        case {"type": "resource", "resource": {"uri": str() as uri}}:
            return f"@{line(uri)}"
        case {"type": str() as kind}:
            return f"[{line(kind)}]"
        case _:
            return ""


def content(value: object) -> tuple[Content, ...]:
    """What a tool call shows; terminals are shown by their output."""
    return tuple(found for item in objects(value) if (found := _content(item)) is not None)


def _content(item: Json) -> Content | None:
    match item:
        case {"type": "diff", "path": str() as path, "newText": str() as after}:
            before = item.get("oldText")
            return Change(line(path), text(before) if isinstance(before, str) else None, text(after))
        case {"type": "content", "content": inner}:
            shown = block(inner)
            fenced = FENCED.fullmatch(shown)
            return Shown(fenced["text"] if fenced else shown)
        case _:
            return None


def steps(value: object) -> tuple[Step, ...]:
    """The entries of a plan."""
    return tuple(
        Step(line(item.get("content")), STATUSES.get(str(item.get("status")), "pending"))
        for item in objects(value)
    )


def options(value: object) -> tuple[Option, ...]:
    """The configuration options of a session."""
    return tuple(
        Option(
            str(item.get("id")),
            str(item.get("category") or "other"),
            line(item.get("currentValue")),
            tuple(
                Value(line(each.get("value")), line(each.get("name")), line(each.get("description")))
                for each in objects(item.get("options"))
            ),
        )
        for item in objects(value)
    )


def commands(value: object) -> tuple[Command, ...]:
    """The agent's slash commands."""
    return tuple(
        Command(
            line(item.get("name")),
            line(item.get("description")),
            line(members(item.get("input")).get("hint")),
        )
        for item in objects(value)
    )


def usage(update: Json) -> Usage | None:
    """The usage, None when it is not one."""
    match update:
        case {"used": int() as used, "size": int() as size}:
            amount = members(update.get("cost")).get("amount")
            return Usage(used, size, float(amount) if isinstance(amount, int | float) else None)
        case _:
            return None
