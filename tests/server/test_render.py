"""Events to updates: pure, so plain equality says everything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.content import (
    AudioBlock,
    Block,
    Diff,
    ImageBlock,
    LinkBlock,
    Location,
    ResourceBlock,
    TerminalRef,
    TextBlock,
)
from hermes_acp.events import (
    ApprovalResolved,
    Command,
    CommandsChanged,
    CompactionStarted,
    ContextCompacted,
    Envelope,
    Event,
    ExitStatus,
    MessageCompleted,
    Notice,
    Option,
    OptionsChanged,
    OptionValue,
    PlanEntry,
    PlanUpdated,
    QuestionAnswered,
    SessionEnded,
    Steered,
    StepStarted,
    SummaryDelta,
    TextDelta,
    ThoughtDelta,
    TitleChanged,
    ToolCallAnnounced,
    ToolCallFinished,
    ToolCallProgress,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
    UsageUpdated,
)
from hermes_acp.server.acp.render.content import block, fenced
from hermes_acp.server.acp.render.renderer import Abilities, Renderer
from tests.acp import schema

Json = dict[str, Any]
ME = "me-1"
CALL = ToolCallStarted("c1", "read_file", "Read a.py", "read", '{"path": "a.py"}', (Location("/p/a.py", 3),))
EDIT = ToolCallStarted("c2", "write_file", "Write a.py", "edit", "{}")


def shown(*events: Event, abilities: Abilities | None = None, label: str | None = ME) -> list[Json]:
    """The updates that one renderer makes of these events."""
    renderer = Renderer("s1", abilities or Abilities())
    lines = b"".join(renderer.render(Envelope("s1", None, "t1", 0.0, event), label=label) for event in events)
    messages = [json.loads(line) for line in lines.splitlines()]
    for message in messages:
        assert schema.problem("SessionNotification", message["params"]) is None
        assert (message["method"], message["params"]["sessionId"]) == ("session/update", "s1")
    return [message["params"]["update"] for message in messages]


def by(**members: str) -> Json:
    return {"_meta": {"hermes": members}}


def text(kind: str, said: str, message_id: str = "m1") -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": said}, "messageId": message_id}


def test_a_message_follows_its_deltas_with_only_what_they_left_out() -> None:
    assert shown(
        ThoughtDelta("m1", "Let ", 0),
        TextDelta("m1", "Hel", 0),
        MessageCompleted("m1", "Hello", "Let me"),
    ) == [
        text("agent_thought_chunk", "Let "),
        text("agent_message_chunk", "Hel"),
        text("agent_thought_chunk", "me"),
        text("agent_message_chunk", "lo"),
    ]


def test_imported_messages_begin_with_who_said_them() -> None:
    said = TurnStarted("m1", (TextBlock("Is it done?"),), speaker="Maria")
    assert shown(said, MessageCompleted("m2", "It is.", speaker="John"), label=None) == [
        text("user_message_chunk", "Maria: "),
        text("user_message_chunk", "Is it done?"),
        text("agent_message_chunk", "John: It is.", "m2"),
    ]


def test_deltas_that_do_not_follow_what_was_sent_are_left_to_the_whole_message() -> None:
    assert shown(TextDelta("m1", "lo", 3), MessageCompleted("m1", "Hello")) == [
        text("agent_message_chunk", "Hello")
    ]


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_text_is_exact_whatever_deltas_were_lost_or_repeated(
    whole: str, spans: list[tuple[int, int]]
) -> None:
    deltas = [TextDelta("m1", whole[start:end], start) for start, end in spans if whole[start:end]]
    updates = shown(*deltas, MessageCompleted("m1", whole))
    said = "".join(update["content"]["text"] for update in updates)
    assert said == whole.encode("utf-8", "replace").decode()


def test_own_messages_are_shown_only_in_a_replay_and_those_of_others_always() -> None:
    mine = TurnStarted("m1", (TextBlock("hi"),), ME)
    joined = Steered("m2", (TextBlock("left"),), "other-2")
    own = text("user_message_chunk", "hi") | by(client=ME)
    other = text("user_message_chunk", "left", "m2") | by(client="other-2")
    assert shown(mine, joined) == [other]
    assert shown(mine, joined, label=None) == [own, other]


def test_who_answered_is_shown_to_the_others_while_it_happens() -> None:
    chosen = ApprovalResolved("r1", "c1", "allow_once", "other-2")
    said = QuestionAnswered("r2", "c1", "declined", None, "other-2")
    nobody = ApprovalResolved("r3", "c1", None)
    update = {"sessionUpdate": "tool_call_update", "toolCallId": "c1"}
    assert shown(chosen, said, nobody) == [
        update | by(resolvedBy="other-2", optionId="allow_once"),
        update | by(resolvedBy="other-2", outcome="declined"),
    ]
    assert shown(chosen, said, nobody, label="other-2") == []
    assert shown(chosen, said, nobody, label=None) == []


def test_a_terminal_is_shown_only_where_it_runs() -> None:
    progress = ToolCallProgress("c2", shown=(TerminalRef("other-2/term-1"),))
    finished = ToolCallFinished("c2", "completed", "the output", (TerminalRef("other-2/term-1"),))
    begun, ended = shown(progress, finished)
    assert begun == {"sessionUpdate": "tool_call_update", "toolCallId": "c2", "status": "in_progress"}
    assert ended["content"] == [{"type": "content", "content": {"type": "text", "text": "the output"}}]
    (there, _) = shown(progress, finished, label="other-2")
    assert there["content"] == [{"type": "terminal", "terminalId": "term-1"}]


def thought(message_id: str, text: str) -> dict[str, object]:
    content = {"type": "text", "text": text}
    return {"sessionUpdate": "agent_thought_chunk", "messageId": message_id, "content": content}


def test_the_end_of_a_session_is_a_notice_for_the_windows_that_did_not_want_it() -> None:
    deleted = SessionEnded("This session was deleted.", "other-2")
    notice = {"sessionUpdate": "notice", "severity": "warning", "title": "This session was deleted."}
    assert shown(deleted, abilities=Abilities(notices=True)) == [notice]
    assert shown(deleted, abilities=Abilities(notices=True), label="other-2") == []
    assert shown(deleted) == []
    assert shown(SessionEnded(), abilities=Abilities(notices=True)) == []


@pytest.mark.parametrize(
    ("item", "content"),
    [
        (TextBlock("t"), {"type": "text", "text": "t"}),
        (ImageBlock("AA==", "image/png"), {"type": "image", "data": "AA==", "mimeType": "image/png"}),
        (
            ImageBlock("AA==", "image/png", "file:///a"),
            {"type": "image", "data": "AA==", "mimeType": "image/png", "uri": "file:///a"},
        ),
        (AudioBlock("AA==", "audio/wav"), {"type": "audio", "data": "AA==", "mimeType": "audio/wav"}),
        (LinkBlock("file:///a", "a"), {"type": "resource_link", "uri": "file:///a", "name": "a"}),
        (
            LinkBlock("file:///a", "a", "A", "d", "text/plain", 0),
            {
                "type": "resource_link",
                "uri": "file:///a",
                "name": "a",
                "title": "A",
                "description": "d",
                "mimeType": "text/plain",
                "size": 0,
            },
        ),
        (
            ResourceBlock("file:///a", ""),
            {"type": "resource", "resource": {"uri": "file:///a", "text": ""}},
        ),
        (
            ResourceBlock("file:///a", blob="AA==", mime_type="x/y"),
            {"type": "resource", "resource": {"uri": "file:///a", "blob": "AA==", "mimeType": "x/y"}},
        ),
    ],
)
def test_content_blocks(item: Block, content: Json) -> None:
    assert block(item) == content
    assert schema.problem("ContentBlock", content) is None


def test_a_call_is_opened_once_and_closed_under_its_id() -> None:
    updates = shown(
        ToolCallAnnounced("c1", "read_file", "read"),
        CALL,
        ToolCallFinished("c1", "completed", "text", (TextBlock("shown"),), (Location("/p/a.py"),)),
    )
    assert [item["sessionUpdate"] for item in updates] == [
        "tool_call",
        "tool_call_update",
        "tool_call_update",
    ]
    assert [item["status"] for item in updates] == ["pending", "in_progress", "completed"]
    assert updates[1]["locations"] == [{"path": "/p/a.py", "line": 3}]
    assert updates[2]["content"] == [{"type": "content", "content": {"type": "text", "text": "shown"}}]
    assert {item["toolCallId"] for item in updates} == {"c1"}


@pytest.mark.parametrize("outcome", ["failed", "refused", "cancelled", "unknown"])
def test_every_other_outcome_is_a_failure(outcome: Any) -> None:
    assert shown(EDIT, ToolCallFinished("c2", outcome, "why"))[-1]["status"] == "failed"


def test_an_edit_stays_pending_until_it_runs_and_shows_its_diff() -> None:
    updates = shown(
        EDIT,
        ToolCallProgress("c2"),
        ToolCallProgress("c2"),
        ToolCallFinished("c2", "completed", "ok", (Diff("/p/a.py", "new", None), Diff("/p/b.py", "n", "o"))),
    )
    assert [item["status"] for item in updates] == ["pending", "in_progress", "completed"]
    assert updates[-1]["content"] == [
        {"type": "diff", "path": "/p/a.py", "oldText": None, "newText": "new"},
        {"type": "diff", "path": "/p/b.py", "oldText": "o", "newText": "n"},
    ]


def test_output_is_content_that_grows_for_clients_without_terminals() -> None:
    updates = shown(EDIT, ToolCallProgress("c2", "one\n"), ToolCallProgress("c2", "two\n"))
    assert [item["content"][0]["content"]["text"] for item in updates[1:]] == [
        "```\none\n\n```",
        "```\none\ntwo\n\n```",
    ]


def test_output_is_terminal_data_for_clients_that_show_it() -> None:
    updates = shown(
        EDIT,
        ToolCallProgress("c2", "one\n"),
        ToolCallProgress("c2", "two\n"),
        ToolCallFinished("c2", "failed", "r", exit=ExitStatus(None, "SIGKILL")),
        abilities=Abilities(terminal_output=True),
    )
    assert [item.get("_meta") for item in updates] == [
        None,
        {
            "terminal_info": {"terminal_id": "c2"},
            "terminal_output": {"terminal_id": "c2", "data": "one\n"},
        },
        {"terminal_output": {"terminal_id": "c2", "data": "two\n"}},
        {"terminal_exit": {"terminal_id": "c2", "exit_code": None, "signal": "SIGKILL"}},
    ]
    assert "content" not in updates[-1]


def test_a_terminal_of_the_client_stays_embedded_when_the_call_ends() -> None:
    updates = shown(
        EDIT,
        ToolCallProgress("c2", shown=(TerminalRef(f"{ME}/term-1"),)),
        ToolCallFinished("c2", "completed", "r", (TerminalRef(f"{ME}/term-1"),)),
    )
    assert updates[1]["content"] == [{"type": "terminal", "terminalId": "term-1"}]
    assert "content" not in updates[2]


def test_a_terminal_of_an_earlier_client_is_text_in_a_replay() -> None:
    updates = shown(
        EDIT, ToolCallFinished("c2", "completed", "the output", (TerminalRef(f"{ME}/term-1"),)), label=None
    )
    assert updates[-1]["content"] == [{"type": "content", "content": {"type": "text", "text": "the output"}}]


def test_malformed_arguments_are_shown_as_they_are() -> None:
    started = ToolCallStarted("c3", "read_file", "read_file", "read", '{"path": "a')
    assert shown(started)[0]["rawInput"] == '{"path": "a'


def test_plan_usage_title_and_commands() -> None:
    assert shown(
        PlanUpdated((PlanEntry("Look", "in_progress", "high"),)),
        UsageUpdated(10, 100),
        UsageUpdated(10, 100, 0.25),
        TitleChanged("T"),
        CommandsChanged((Command("help", "Help"), Command("title", "Name", "the title"))),
    ) == [
        {
            "sessionUpdate": "plan",
            "entries": [{"content": "Look", "priority": "high", "status": "in_progress"}],
        },
        {"sessionUpdate": "usage_update", "used": 10, "size": 100},
        {
            "sessionUpdate": "usage_update",
            "used": 10,
            "size": 100,
            "cost": {"amount": 0.25, "currency": "USD"},
        },
        {"sessionUpdate": "session_info_update", "title": "T"},
        {
            "sessionUpdate": "available_commands_update",
            "availableCommands": [
                {"name": "help", "description": "Help"},
                {"name": "title", "description": "Name", "input": {"hint": "the title"}},
            ],
        },
    ]


def test_options_and_mode_are_told_together() -> None:
    values = (OptionValue("ask", "Ask", "asks"), OptionValue("plan", "Plan"))
    changed = OptionsChanged((Option("mode", "Mode", "mode", "plan", values, "What it may do"),))
    assert shown(changed) == [
        {
            "sessionUpdate": "config_option_update",
            "configOptions": [
                {
                    "id": "mode",
                    "name": "Mode",
                    "description": "What it may do",
                    "category": "mode",
                    "type": "select",
                    "currentValue": "plan",
                    "options": [
                        {"value": "ask", "name": "Ask", "description": "asks"},
                        {"value": "plan", "name": "Plan"},
                    ],
                }
            ],
        },
        {"sessionUpdate": "current_mode_update", "currentModeId": "plan"},
    ]


def test_compactions_only_for_clients_that_show_them_and_warnings_beside_the_answer_for_others() -> None:
    events = (
        Notice("warning", "Careful", "why"),
        CompactionStarted("r1"),
        SummaryDelta("r1", "sho", 0),
        ContextCompacted("r1", "completed", "short"),
        ContextCompacted("r2", "failed", error="no"),
    )
    began = TurnStarted("m1", (), "me")
    assert shown(*events) == []
    assert shown(began, *events, label="me") == [thought("notice-1", "Careful. why")]
    assert shown(events[0], began, label="me") == [thought("notice-1", "Careful. why")]
    assert shown(Notice("info", "Nothing to worry about")) == []
    assert shown(*events, abilities=Abilities(notices=True, compaction=True)) == [
        {"sessionUpdate": "notice", "severity": "warning", "title": "Careful", "description": "why"},
        {"sessionUpdate": "compaction_update", "compactionId": "r1", "status": "in_progress"},
        {
            "sessionUpdate": "compaction_summary_chunk",
            "compactionId": "r1",
            "content": {"type": "text", "text": "sho"},
        },
        {
            "sessionUpdate": "compaction_update",
            "compactionId": "r1",
            "status": "completed",
            "summary": [{"type": "text", "text": "short"}],
        },
        {
            "sessionUpdate": "compaction_update",
            "compactionId": "r2",
            "status": "failed",
            "summary": [],
            "error": "no",
        },
    ]


def test_an_interrupted_turn_says_so_and_other_ends_only_touch_the_session() -> None:
    interrupted = shown(TurnEnded("interrupted"), label=None)
    assert "interrupted" in interrupted[0]["content"]["text"]
    touched = {"sessionUpdate": "session_info_update", "updatedAt": "1970-01-01T00:00:00.000+00:00"}
    cancelled, failed = TurnEnded("cancelled", client="other-2"), TurnEnded("error", "The key is wrong.")
    assert shown(TurnEnded("end_turn"), cancelled, failed) == [
        touched | by(stopReason="end_turn"),
        touched | by(stopReason="cancelled", cancelledBy="other-2"),
        touched | by(stopReason="error", error="The key is wrong."),
    ]
    assert shown(TurnEnded("end_turn"), StepStarted(1, "m"), label=None) == []


@pytest.mark.parametrize("said", ["x", "```", "a\n````\nb", "`" * 20])
def test_a_code_block_cannot_be_broken_out_of(said: str) -> None:
    fence, *lines, last = fenced(said).split("\n")
    assert fence == last
    assert all(not line.startswith(fence) for line in lines)
