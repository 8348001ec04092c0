"""The script that the conversations follow: the first word of a prompt says what the model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ANSWERS: tuple[tuple[str, list[dict[str, Any]]], ...] = (
    (
        "hello",
        [
            {"thought": "A greeting.", "chunks": 2},
            {"text": "Hello, how are you?", "chunks": 5},
            {"usage": {"input": 40, "output": 8, "cost": 0.5}},
        ],
    ),
    ("read", [{"tool": "read_file", "arguments": {"path": "notes.txt"}}]),
    (
        "edit",
        [
            {
                "tool": "edit_file",
                "arguments": {"path": "notes.txt", "edits": [{"old": "milk", "new": "bread"}]},
            }
        ],
    ),
    ("write", [{"tool": "write_file", "arguments": {"path": "fresh.txt", "content": "new\n"}}]),
    ("run", [{"tool": "run_command", "arguments": {"command": "touch ran.txt; echo one; echo two; exit 3"}}]),
    ("sleep", [{"tool": "run_command", "arguments": {"command": "echo pid $$ end; sleep 300"}}]),
    ("stream", [{"text": "and on ", "repeat": 10_000, "delay": 0.01}]),
    (
        "plan",
        [
            {
                "tool": "plan",
                "arguments": {
                    "entries": [
                        {"content": "Look", "status": "completed"},
                        {"content": "Change", "status": "in_progress", "priority": "high"},
                    ]
                },
            }
        ],
    ),
    (
        "choose",
        [{"tool": "ask_user", "arguments": {"question": "Which colour?", "choices": ["red", "blue"]}}],
    ),
    ("also", [{"text": "I heard you."}]),
)
AFTER_TOOL = "Finished."
GREETING = "Hello, how are you?"


def write(path: Path) -> Path:
    """Write the script file."""
    lines = [{"when": {"user": f"^{word}"}, "parts": parts} for word, parts in ANSWERS]
    lines.append({"when": {"result": ""}, "parts": [{"text": AFTER_TOOL}]})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path
