"""Conversations for the scripted model, written beside the tests that play them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Script = Mapping[str, Sequence[Json]]
"""By the prompt (a colon and more may follow it): the first answer, then those to its tool results.

An answer to a result may say which (`when`); without that it fits every result of this prompt.
"""


def says(text: str, **how: Any) -> Json:
    """An answer that is only text; `how` are members of a text step, `finish` why it ends."""
    finish = how.pop("finish", None)
    answer: Json = {"parts": [{"text": text, **how}]}
    return answer if finish is None else answer | {"finish": finish}


def calls(tool: str, /, **arguments: Any) -> Json:
    """An answer that calls one tool."""
    return {"parts": [{"tool": tool, "arguments": arguments}]}


def parts(*steps: Json, finish: str | None = None) -> Json:
    """An answer of several steps."""
    answer: Json = {"parts": list(steps)}
    return answer if finish is None else answer | {"finish": finish}


def after(result: str, answer: Json) -> Json:
    """The answer to a tool result that matches."""
    return answer | {"when": {"result": result}}


def write(file: Path, script: Script, *, context_window: int = 128_000) -> None:
    """Write a script file."""
    lines: list[Json] = [{"context_window": context_window}]
    for prompt, answers in script.items():
        user = rf"\A{re.escape(prompt)}(?=[\n:]|\Z)"
        lines.append({**answers[0], "when": {"user": user}})
        lines += [
            {**answer, "when": {"user": user, "result": answer.get("when", {}).get("result", "")}}
            for answer in answers[1:]
        ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
