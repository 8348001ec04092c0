"""The audit itself: it blames what breaks a rule, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acp import schema
from tests.acp.audit import Audit

Json = dict[str, Any]

NEW: Json = {"id": 1, "method": "session/new", "params": {"cwd": "/p", "mcpServers": []}}
OPENED: Json = {"id": 1, "result": {"sessionId": "s"}}
PROMPT: Json = {"id": 2, "method": "session/prompt", "params": {"sessionId": "s", "prompt": []}}
ENDED: Json = {"id": 2, "result": {"stopReason": "end_turn"}}


def update(kind: str, **members: Any) -> Json:
    params = {"sessionId": "s", "update": {"sessionUpdate": kind, **members}}
    return {"method": "session/update", "params": params}


def said(text: str) -> Json:
    return update("agent_message_chunk", content={"type": "text", "text": text})


def call(kind: str, status: str, **members: Any) -> Json:
    return update(
        kind, toolCallId="c", status=status, **({"title": "T"} if kind == "tool_call" else {}), **members
    )


def asked(call_id: str) -> Json:
    params = {"sessionId": "s", "toolCall": {"toolCallId": call_id}, "options": []}
    return {"id": 7, "method": "session/request_permission", "params": params}


def problems(*lines: Json) -> list[str]:
    """What the audit finds; a line with a method and an id that is not a permission request is ours."""
    audit = Audit()
    for line in lines:
        ours = line.get("method") in ("session/new", "session/prompt") or "outcome" in str(line.get("result"))
        (audit.sent if ours else audit.received)({"jsonrpc": "2.0", **line})
    audit.finish()
    return audit.problems


def test_a_proper_conversation_is_not_blamed() -> None:
    answer = {"id": 7, "result": {"outcome": {"outcome": "cancelled"}}}
    opened, closed = call("tool_call", "pending"), call("tool_call_update", "failed")
    assert problems(NEW, OPENED, PROMPT, said("a"), opened, asked("c"), answer, closed, ENDED) == []


@pytest.mark.parametrize(
    ("lines", "blame"),
    [
        ([NEW, said("early"), OPENED], "before it was opened"),
        ([NEW, OPENED, PROMPT, ENDED, said("late")], "turn that is over"),
        ([NEW, OPENED, PROMPT], "never answered"),
        ([NEW, OPENED, OPENED], "not waiting"),
        ([NEW, OPENED, PROMPT, call("tool_call", "pending"), ENDED], "stays pending"),
        ([NEW, OPENED, PROMPT, call("tool_call_update", "completed"), ENDED], "not announced"),
        ([NEW, OPENED, PROMPT, *[call("tool_call", "failed")] * 2, ENDED], "announced twice"),
        (
            [NEW, OPENED, PROMPT, call("tool_call", "failed"), call("tool_call_update", "failed"), ENDED],
            "had ended",
        ),
        ([NEW, OPENED, PROMPT, asked("c"), ENDED], "not open"),
        ([NEW, OPENED, PROMPT, call("tool_call", "failed"), asked("c"), ENDED], "not open"),
        (
            [NEW, OPENED, PROMPT, call("tool_call", "failed", locations=[{"path": "a.py"}]), ENDED],
            "relative path",
        ),
    ],
)
def test_each_broken_rule_is_named(lines: list[Json], blame: str) -> None:
    assert any(blame in problem for problem in problems(*lines))


@pytest.mark.parametrize(
    "bad",
    [
        {"id": 1, "result": {"session": "s"}},
        {"id": 1, "error": {"code": "x", "message": "m"}},
        {"id": 1, "error": {"code": 1}},
        {"method": "session/update", "params": {"sessionId": "s", "update": {"sessionUpdate": "made_up"}}},
        update("agent_message_chunk", content={"type": "txt"}),
        update("usage_update", used=-1, size=1),
        update("plan", entries=[{"content": "x"}]),
        update("session_info_update", titel="x"),
    ],
)
def test_lines_that_the_schema_forbids_are_named(bad: Json) -> None:
    if schema.schema() is None:
        pytest.skip(f"there is no schema: set {schema.OVERRIDE}")
    assert any("not a valid" in problem or "does not know" in problem for problem in problems(NEW, bad))
