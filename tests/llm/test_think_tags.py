import pytest

from hermes_acp.llm.base import TextPart, ThoughtPart
from hermes_acp.llm.think_tags import ThinkTags

CASES = [
    ("plain text", "", "plain text"),
    ("<think>why</think>answer", "why", "answer"),
    ("\n <think>\nwhy\n</think>\n\nanswer\n", "\nwhy\n", "answer\n"),
    ("<think>a</think> <think>b</think>\n c < d", "ab", "c < d"),
    ("  leading space stays", "", "  leading space stays"),
    ("use <think> as a tag </think>", "", "use <think> as a tag </think>"),
    ("<think>a < b </ c</think>done", "a < b </ c", "done"),
    ("<think>cut in the middle </thi", "cut in the middle </thi", ""),
    ("<thinker>", "", "<thinker>"),
    ("<thi", "", "<thi"),
    ("   ", "", "   "),
    ("<think></think>\n", "", ""),
    ("", "", ""),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(("answer", "thought", "text"), CASES)
def test_thoughts_and_text_are_told_apart_however_they_are_cut(
    answer: str, thought: str, text: str, size: int
) -> None:
    tags = ThinkTags()
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    parts = [part for piece in pieces for part in tags.feed(piece)] + tags.finish()
    assert "".join(part.text for part in parts if isinstance(part, ThoughtPart)) == thought
    assert "".join(part.text for part in parts if isinstance(part, TextPart)) == text
    assert all(part.text for part in parts)


def test_text_is_not_held_back_once_the_answer_has_begun() -> None:
    tags = ThinkTags()
    assert tags.feed("The") == [TextPart("The")]
    assert tags.feed(" <") == [TextPart(" <")]
