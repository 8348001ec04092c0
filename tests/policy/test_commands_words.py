"""Words as the shell reads them: compared with bash itself where their meaning is certain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hermes_acp.policy.commands.words import Field, Word, read

BASH = shutil.which("bash")


def plain(word: Word) -> bool:
    """Whether the word means the same everywhere."""
    return not word.problem and not any(
        field.pattern or field.home or field.variable or field.stream for field in word.fields
    )


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("a", ["a"]),
        ("'a b'\"c d\"e\\ f", ["a bc de f"]),
        ("''", [""]),
        ('"\\$x \\a \\" \\\\"', ['$x \\a " \\']),
        ("$'a\\n\\'b'", ["a\n'b"]),
        ("a{b,c}d", ["abd", "acd"]),
        ("{a,b}{1..3}", ["a1", "a2", "a3", "b1", "b2", "b3"]),
        ("{}", ["{}"]),
        ("HEAD^{tree}", ["HEAD^{tree}"]),
        ("'{a,b}'", ["{a,b}"]),
        ("{'a,b',c}", ["a,b", "c"]),
        ('"s$"', ["s$"]),
        ("a#b", ["a#b"]),
    ],
)
def test_quotes_and_braces_are_removed(source: str, texts: list[str]) -> None:
    word = read(source)
    assert (plain(word), [field.text for field in word.fields]) == (True, texts)


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("*.py", Field("*.py", pattern="*.py")),
        ("'*'?", Field("*?", pattern="\\*?")),
        ("~/x", Field("~/x", home=True)),
        ("'~/x'", Field("~/x")),
        ("$x", Field("$", variable=True, split=True)),
        ('a"$x"', Field("a$", variable=True)),
        ('"$?"', Field("$", variable=True)),
    ],
)
def test_what_depends_on_the_surroundings_is_marked(source: str, field: Field) -> None:
    assert read(source).fields == (field,)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "a b",
            "a;b",
            "a|b",
            "a&",
            "(a",
            "a>b",
            "`a`",
            "$(a)",
            "${a}",
            "$((1))",
            "$[1]",
            '"$(a)"',
            '"`a`"',
            "'a",
            '"a',
        ),
        *(
            "a\\",
            "a\\\nb",
            "$'\\x41'",
            '$"a"',
            "{a,{b,c}}",
            "{1..1000}",
            "{01..03}",
            "{,}",
            '{"",a}',
            "x=~/a",
            "#a",
            "{a,b,c,d}" * 5,
        ),
    ],
)
def test_everything_else_is_not_understood(source: str) -> None:
    assert read(source).problem


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(alphabet="ab1{},.'\"\\ ~=-#!*", min_size=1, max_size=12), min_size=20, max_size=60))
def test_a_word_that_is_understood_means_what_bash_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, sources: list[str]
) -> None:
    # Nothing in this alphabet can run a command: there is neither `$` nor an operator.
    words = [word for word in map(read, sources) if plain(word)]
    assume(words)
    script = "".join(f"printf '%s\\0' {word.source}; printf '\\n\\0'\n" for word in words)
    empty: Path = tmp_path_factory.mktemp("empty")
    done = subprocess.run([BASH or "", "-c", script], cwd=empty, capture_output=True, check=True)
    lines = done.stdout.decode().split("\n\0")[:-1]
    assert [line.removesuffix("\0").split("\0") for line in lines] == [
        [field.text for field in word.fields] for word in words
    ]
