"""What transcripts of each format say, and which of their lines say nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from hermes_acp.memory.importing.formats import LINE_BYTES, Format, Skipped, read
from hermes_acp.memory.importing.records import Called, Record, Returned, Said

AT = 1_683_546_960.0
TIME = "2023-05-08T11:56:00Z"


def records(form: Format, *lines: object) -> list[Record]:
    """The records of one file, in which no line may be bad."""
    transcript = read(encoded(lines), form)
    assert transcript.skipped == []
    return [record for session in transcript.sessions.values() for record in session]


def encoded(lines: Iterable[object]) -> list[bytes]:
    return [json.dumps(line).encode() + b"\n" for line in lines]


# --- our own form --------------------------------------------------------------------------------


def line(**members: object) -> dict[str, object]:
    return {"session": "s", "at": TIME, "role": "user", "text": "hello", "id": "1", **members}


def test_a_line_is_a_message_of_its_speaker() -> None:
    assert records("jsonl", line(), line(id=2, role="assistant", speaker="Maria", at=AT)) == [
        Said("s", AT, "1", "user", "hello"),
        Said("s", AT, "2", "agent", "hello", "Maria"),
    ]


def test_what_a_tool_said_is_a_call_and_its_result() -> None:
    assert records("jsonl", line(role="tool", speaker="make")) == [
        Called("s", AT, "1", "make", "{}"),
        Returned("s", AT, "1", "hello"),
    ]


def test_messages_without_an_id_get_one_that_is_the_same_each_time_and_differs_within_a_file() -> None:
    same = [line(id=None), line(id=None), line(id="")]
    first, again = records("jsonl", *same), records("jsonl", *same)
    assert first == again
    assert len({record.id for record in first}) == 3


def test_bad_lines_are_named_and_the_others_are_read() -> None:
    lines = [
        b"\xef\xbb\xbf" + json.dumps(line()).encode() + b"\r\n",
        b"\n",
        b"{nonsense\n",
        b"[]\n",
        b"\xff\xfe\n",
        *encoded(
            [
                line(session=None),
                line(text=5),
                line(at="soon"),
                line(at=None),
                line(role="cook"),
                line(id=True),
            ]
        ),
        *encoded([line(session="x" * 300), line(id="2")]),
    ]
    transcript = read(lines, "jsonl")
    assert [record.id for record in transcript.sessions["s"]] == ["1", "2"]
    assert [item.line for item in transcript.skipped] == list(range(3, 13))
    assert transcript.skipped[3] == Skipped(6, "it has no `session`")
    assert "its `at` is no time: 'soon'" in transcript.skipped[5].reason


def test_a_line_that_is_too_long_is_refused_unread() -> None:
    assert [item.line for item in read([b" " * LINE_BYTES + b"{}"], "jsonl").skipped] == [1]


# --- Claude Code ---------------------------------------------------------------------------------


def entry(kind: str, content: object, **members: object) -> dict[str, object]:
    base = {"type": kind, "sessionId": "s", "timestamp": TIME, "uuid": "u"}
    return {**base, "message": {"role": kind, "content": content}, **members}


def test_messages_calls_and_results_of_claude_code_are_read() -> None:
    assert records(
        "claude-code",
        {"type": "summary", "summary": "A title"},
        entry("user", "fix it"),
        entry(
            "assistant",
            [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
            ],
        ),
        entry("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "a.py", "is_error": True}]),
        entry(
            "user",
            [{"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "b.py"}]}],
        ),
        entry("user", "a caveat", isMeta=True),
        entry("assistant", None),
        {"type": "file-history-snapshot"},
    ) == [
        Said("s", AT, "u", "user", "fix it"),
        Said("s", AT, "u", "agent", "I look."),
        Called("s", AT, "t1", "Bash", '{"command":"ls"}'),
        Returned("s", AT, "t1", "a.py", failed=True),
        Returned("s", AT, "t2", "b.py"),
    ]


def test_the_branch_of_a_conversation_is_read_from_each_format() -> None:
    [own] = records("jsonl", line(branch="feature/x"))
    [claude] = records("claude-code", entry("user", "fix it", gitBranch="feature/x"))
    meta = {**META, "payload": {"id": "s", "git": {"branch": "feature/x"}}}
    [codex] = records("codex", meta, item(type="message", role="user", content="fix it"))
    assert own.branch == claude.branch == codex.branch == "feature/x"
    [strange] = records("claude-code", entry("user", "fix it", gitBranch=["no"]))
    assert strange.branch == ""


def test_a_message_of_claude_code_without_its_session_is_bad() -> None:
    bad = entry("user", "x", sessionId=None)
    assert read(encoded([bad]), "claude-code").skipped == [
        Skipped(1, "it is a message without `sessionId` or `timestamp`")
    ]


# --- Codex ---------------------------------------------------------------------------------------


def item(**payload: object) -> dict[str, object]:
    return {"timestamp": TIME, "type": "response_item", "payload": payload}


META = {"timestamp": TIME, "type": "session_meta", "payload": {"id": "s", "cwd": "/code"}}
SPOKEN = [
    {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "<environment_context>"}],
    },
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]},
    {"type": "reasoning", "summary": []},
    {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"command":["ls"]}'},
    {"type": "function_call_output", "call_id": "c1", "output": '{"output":"a.py","metadata":{}}'},
    {"type": "function_call_output", "call_id": "c2", "output": {"content": "b.py", "success": True}},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
    {"type": "message", "role": "developer", "content": []},
]


def without_made_ids(found: list[Record]) -> list[Record]:
    return [replace(record, id="") if isinstance(record, Said) else record for record in found]


@pytest.mark.parametrize(
    "lines",
    [
        [
            META,
            *(item(**spoken) for spoken in SPOKEN),
            {"timestamp": TIME, "type": "event_msg", "payload": {}},
        ],
        [{"id": "s", "timestamp": TIME, "instructions": None}, *SPOKEN, {"record_type": "state"}],
    ],
)
def test_messages_calls_and_results_of_codex_are_read_in_both_of_its_forms(lines: list[object]) -> None:
    found = records("codex", *lines)
    assert found == records("codex", *lines)
    assert without_made_ids(found) == [
        Said("s", AT, "", "user", "fix it"),
        Called("s", AT, "c1", "shell", '{"command":["ls"]}'),
        Returned("s", AT, "c1", "a.py"),
        Returned("s", AT, "c2", "b.py"),
        Said("s", AT, "", "agent", "Done."),
    ]


def test_an_item_of_codex_before_its_session_is_bad() -> None:
    [skipped] = read(encoded([item(**SPOKEN[1])]), "codex").skipped
    assert skipped.line == 1
