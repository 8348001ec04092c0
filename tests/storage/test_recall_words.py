"""Words as the recall index has them."""

from __future__ import annotations

import pytest

from hermes_acp.storage.recall_words import EXTRA_WORDS, extra, match, match_phrase, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words only", ""),
        ("call parseHttpHeader twice", "parse Http Header"),
        ("XMLHttpRequest iPhone2Go", "XML Http Request i Phone2 Go"),
        ("日本語", "日 本 語 日本 本語"),
        ("ok 🚀", "u1f680"),
        ("SHOUTING words", ""),
    ],
)
def test_what_the_tokenizer_would_not_find_is_spelled_out(text: str, expected: str) -> None:
    assert extra(text) == expected


def test_even_a_long_text_without_spaces_has_bounded_extra_words() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 15_000)))
    assert len(extra(text).split()) == EXTRA_WORDS


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("it's a-b_c, d?", ["it", "s", "a", "b", "c", "d"]),
        ("何が日本語?", ["何が", "が日", "日本", "本語"]),
        ("猫 cat 🚀", ["猫", "cat", "u1f680"]),
        ("cafe\u0301", ["café"]),
        ('"\0 *^:(){}', []),
    ],
)
def test_a_question_is_spelled_in_the_same_way(question: str, expected: list[str]) -> None:
    assert words(question) == expected


def test_nothing_in_an_expression_is_syntax() -> None:
    assert match(('a" OR "b', "c\0")) == '{text extra} : ("a  OR  b" OR "c ")'
    assert match_phrase('src/"main".py*') == 'text : "src main py"'
