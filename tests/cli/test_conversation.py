"""Conversations as Markdown."""

from __future__ import annotations

from hermes_acp.cli.conversation import markdown
from hermes_acp.content import Diff, ImageBlock, LinkBlock, TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    ContextCompacted,
    Envelope,
    Event,
    MessageCompleted,
    PlanEntry,
    PlanUpdated,
    QuestionAnswered,
    QuestionAsked,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.storage.sessions import SessionRow

ROW = SessionRow("s1", "p", "/code", "/code", (), None, "ask", "a/b", "default", 0.0, 0.0)


def body(*events: Event) -> str:
    """Everything after the head."""
    text = markdown(ROW, [Envelope("s1", seq, "t", 0.0, event) for seq, event in enumerate(events, 1)])
    head, _, rest = text.partition("model a/b\n")
    assert head.startswith("# Untitled\n\ns1, started ")
    return rest


def test_messages_name_their_side_and_attachments_are_mentioned() -> None:
    content = (TextBlock("Look"), LinkBlock("file:///a", "a"), ImageBlock("AAAA", "image/png"))
    assert body(TurnStarted("m1", content), MessageCompleted("m2", "I did."), TurnEnded("end_turn")) == (
        "\n## You\n\nLook\n\n[a](file:///a)\n\n[image, image/png]\n\n## Agent\n\nI did.\n"
    )


def test_imported_messages_name_who_said_them() -> None:
    said = TurnStarted("m1", (TextBlock("Look"),), speaker="Maria \x1b[2J")
    assert body(said, MessageCompleted("m2", "I did.", speaker="John")) == (
        "\n## Maria \N{REPLACEMENT CHARACTER}[2J\n\nLook\n\n## John\n\nI did.\n"
    )


def test_a_tool_call_shows_its_end_and_a_diff_instead_of_its_result() -> None:
    started = ToolCallStarted("c1", "edit_file", "Edit a.py", "edit", "{}")
    finished = ToolCallFinished("c1", "completed", "Edited.", (Diff("/a.py", "x = 2\n", "x = 1\n"),))
    assert body(started, ApprovalRequested("r", "c1", "", "", ()), finished) == (
        "\n**Edit a.py** (completed)\n\n```diff\n--- /a.py\n+++ /a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n```\n"
    )


def test_a_long_result_is_cut_and_cannot_leave_its_block() -> None:
    result = "\n".join(["````", *map(str, range(30))])
    shown = body(ToolCallFinished("c1", "failed", result, title="Run it"))
    assert shown.startswith("\n**Run it** (failed)\n\n`````text\n````\n0\n")
    assert shown.endswith("\n18\n… 11 more lines\n`````\n")


def test_plans_questions_summaries_and_bad_ends_are_told() -> None:
    plan = PlanUpdated((PlanEntry("a", "completed"), PlanEntry("b", "in_progress"), PlanEntry("c")))
    told = body(
        plan,
        QuestionAsked("r", "c", "Which?", ()),
        QuestionAnswered("r", "c", "declined"),
        ContextCompacted("k", "completed", "We talked."),
        TurnEnded("error", "No network."),
        TurnEnded("cancelled"),
    )
    assert told == (
        "\n- [x] a\n- [~] b\n- [ ] c\n\n**Question:** Which?\n\n**Answer:** declined\n\n"
        "_What was said so far was summarised for the model:_\n\nWe talked.\n\n"
        "_The turn ended: No network._\n\n_The turn ended: cancelled._\n"
    )


def test_nothing_in_a_conversation_can_command_the_terminal() -> None:
    assert body(MessageCompleted("m", "a\x1b]0;x\x07b\u009b2J\u202e")) == (
        "\n## Agent\n\na\ufffd]0;x\ufffdb\ufffd2J\ufffd\n"
    )
