"""What words, commands and files say about the user, and what they do not."""

from __future__ import annotations

import pytest

from hermes_acp.memory.user_model import questions


def wishes(sentence: str) -> list[str]:
    return [answer.text for answer, words in questions.of_sentence(sentence) if words in sentence]


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("don't add comments everywhere", "Wants few comments in code."),
        ("please add comments to the parser", "Wants code to be commented."),
        ("Add tests for the parser.", "Asks for tests along with changes."),
        ("do not write tests for that", "Wants no tests unless asked."),
        ("this is too big, split it", "Prefers small changes."),
        ("make smaller commits", "Prefers small changes."),
        ("that was too verbose", "Wants short answers."),
        ("explain why in more detail", "Wants detailed explanations."),
        ("use type hints", "Wants type annotations."),
        ("No emojis please.", "Wants no emojis."),
    ],
)
def test_a_wish_is_recognised(sentence: str, text: str) -> None:
    assert wishes(sentence) == [text]


@pytest.mark.parametrize("sentence", ["Fix the parser.", "The tests fail.", "Rename the commit hook."])
def test_no_wish_is_seen_where_there_is_none(sentence: str) -> None:
    assert wishes(sentence) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("please fix the parser, it is not in the list of tests", "English"),
        ("bitte mach das noch mit einem Test, und nicht so lang", "German"),
        ("il faut que je puisse lire les fichiers dans une liste", "French"),
        ("por favor arregla el error para que no se repita con los tests", "Spanish"),
        ("テストを直してください", "Japanese"),
        ("请修复这个测试", "Chinese"),
        ("исправь тест, пожалуйста", "Russian"),
        ("виправ тести і їхні імена, її ґанок є", "Ukrainian"),
    ],
)
def test_the_language_of_a_message(text: str, language: str) -> None:
    answer = questions.of_text(text)
    assert answer is not None
    assert answer.text == f"Writes in {language}."


@pytest.mark.parametrize("text", ["", "ok", "def f(): return 1", "npm test", "de la"])
def test_too_little_text_has_no_language(text: str) -> None:
    assert questions.of_text(text) is None


def test_programs_by_path_and_alias_are_known_and_words_of_speech_are_not() -> None:
    assert questions.of_command("./node_modules/.bin/vitest") == questions.of_word("Vitest")
    assert questions.of_command("pip3") == questions.of_command("pip")
    assert questions.of_command("make") is not None
    assert questions.of_word("make") is None
    assert questions.of_word("parser") is None


def test_each_answer_fits_into_a_fact_and_a_text_is_never_of_two_questions() -> None:
    suffixes = (".py", ".R", ".tsx", ".nonsense")
    answers = [answer for suffix in suffixes if (answer := questions.of_suffix(suffix))]
    assert [answer.key for answer in answers] == [
        "profile: language python",
        "profile: language r",
        "profile: language typescript",
    ]
