"""How events become passages."""

from __future__ import annotations

import orjson
import pytest

from hermes_acp.content import ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import (
    ContextCompacted,
    Event,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    ToolCallFinished,
    ToolCallStarted,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.storage.recall_passages import ASKS, PASSAGE_CHARS, TELLS_TIME, TOOL_CHARS, Passage, passages


def cut(event: Event) -> list[Passage]:
    return list(passages(orjson.dumps(event).decode()))


def test_a_message_is_a_passage_with_its_speaker_and_what_it_does() -> None:
    event = TurnStarted("m1", (TextBlock("Did you come last week?"),), speaker="Maria")
    assert cut(event) == [Passage("user", "Maria", "m1", 5, ASKS | TELLS_TIME, "Did you come last week?", "")]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            TurnStarted(
                "m",
                (LinkBlock("file:///a.py", "a.py"), ImageBlock("AAAA", "x/y"), ResourceBlock("u", "text")),
            ),
            ("user", "m", "a.py file:///a.py\nu\ntext"),
        ),
        (MessageCompleted("m", "text", "a thought"), ("agent", "m", "text")),
        (
            ToolCallStarted("c", "run", "Run it", "execute", '{"command": "make", "timeout": 5}'),
            ("call", "c", "Run it\nmake\n5"),
        ),
        (ToolCallStarted("c", "run", "Run it", "execute", '{"comm'), ("call", "c", 'Run it\n{"comm')),
        (ToolCallFinished("c", "failed", "no such file"), ("result", "c", "no such file")),
        (QuestionAsked("r", "c", "Which one?", ()), ("agent", "r", "Which one?")),
        (QuestionAnswered("r", "c", "answered", '{"one": "two"}'), ("user", "r", "two")),
    ],
)
def test_what_is_said_in_an_event_has_its_kind_and_the_id_of_its_source(
    event: Event, expected: tuple[str, str, str]
) -> None:
    [item] = cut(event)
    assert (item.kind, item.source, item.text) == expected


@pytest.mark.parametrize(
    "event",
    [
        TurnEnded("end_turn"),
        MessageCompleted("m", " \n"),
        TurnStarted("m", ()),
        TurnStarted("m", (TextBlock("/undo"),), aside=True),
        QuestionAnswered("r", "c", "unanswered"),
        ContextCompacted("k", "completed", "what was said is there already"),
    ],
)
def test_where_nothing_is_said_there_is_no_passage(event: Event) -> None:
    assert cut(event) == []


def test_a_long_message_is_cut_where_lines_or_words_end_and_nothing_is_lost() -> None:
    text = "\n".join("word " * 20 for _ in range(100)) + "x" * 5_000
    found = [item.text for item in cut(MessageCompleted("m", text))]
    assert "".join(found) == text
    assert max(map(len, found)) <= PASSAGE_CHARS
    assert all(item.endswith(("\n", " ")) for item in found[:-3])


def test_of_what_a_tool_prints_the_beginning_and_the_end_are_kept() -> None:
    found = "".join(item.text for item in cut(ToolCallFinished("c", "completed", "a" * 50_000 + "z")))
    assert found.startswith("aaa") and found.endswith("z") and len(found) == TOOL_CHARS + 3
