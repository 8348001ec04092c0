"""Where growing Markdown is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies

from hermes_acp.cli.attach.blocks import BLOCK_CHARS, split


@pytest.mark.parametrize(
    ("text", "done", "rest"),
    [
        ("", "", ""),
        ("one", "", "one"),
        ("one\n\n", "", "one\n\n"),
        ("one\n\ntwo", "one\n\n", "two"),
        ("- one\n\n  still one\n\n- two", "- one\n\n  still one\n\n", "- two"),
        ("```\na\n\nb\n", "", "```\na\n\nb\n"),
        ("```\na\n\nb\n```\n\nc", "```\na\n\nb\n```\n\n", "c"),
        ("````\n```\n\na\n````\n\nb", "````\n```\n\na\n````\n\n", "b"),
        ("~~~\n```\n\na", "", "~~~\n```\n\na"),
    ],
)
def test_it_is_cut_between_blocks_and_never_inside_one(text: str, done: str, rest: str) -> None:
    assert split(text) == (done, rest)


def test_a_long_block_is_cut_at_a_line_and_code_is_opened_again() -> None:
    line = "x" * 99 + "\n"
    code = "```python\n" + line * (BLOCK_CHARS // 100 + 1)
    assert split(code + "half") == (code + "```\n", "```python\nhalf")
    plain = line * (BLOCK_CHARS // 100 + 1)
    assert split(plain + "half") == (plain, "half")
    assert split("y" * (BLOCK_CHARS + 1)) == ("y" * (BLOCK_CHARS + 1), "")


@given(strategies.lists(strategies.sampled_from(["a", "\n", "\n\n", "```", "~~~", "  b", "- c", " "])))
def test_nothing_is_lost_however_it_arrives(parts: list[str]) -> None:
    done, rest = "", ""
    for part in parts:
        more, rest = split(rest + part)
        done += more
    assert done + rest == "".join(parts)
