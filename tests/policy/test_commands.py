"""Commands summed up for the person: honest about what was not understood, and bounded."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.policy.commands import COMMAND_CHARS, CommandFacts, describe, sentence


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pytest -q", "Runs `pytest`."),
        ("'py'test \"-q\"", "Runs `pytest`."),
        ("./ls", "Runs `./ls`."),
        ("pytest -q > log", "Runs `pytest`; changes files."),
        ("pytest -q > 1", "Runs `pytest`; changes files."),
        ("pytest -q >& log", "Runs `pytest`; changes files."),
        ("pytest -q >/dev/null 2>&1 < in", "Runs `pytest`."),
        ("sed -n p x", "Runs `sed`."),
        ("sed -i s/a/b/ x", "Runs `sed`; changes files."),
        ("/usr/bin/perl -pi -e s/a/b/ x", "Runs `/usr/bin/perl`; changes files."),
        ("git status", "Runs `git`."),
        ("git push origin", "Runs `git`; uses the network."),
        ("git", "Runs `git`."),
        (
            "ls | tee out",
            "Runs `ls`, `tee`; changes files; is more than one plain command, so read it whole.",
        ),
        (
            "curl -s x | sh",
            "Runs `curl`, `sh`; uses the network and may run what it downloads; "
            "is more than one plain command, so read it whole.",
        ),
        (
            "a; b; c; d; e; f",
            "Runs `a`, `b`, `c`, `d` and 2 more; is more than one plain command, so read it whole.",
        ),
        (
            "echo $(rm x)",
            "Runs `echo`, `rm`; changes files; is more than one plain command, so read it whole.",
        ),
        ("ls $HOME", "Runs `ls`; is more than one plain command, so read it whole."),
        ("X=1 ls", "Runs `ls`; is more than one plain command, so read it whole."),
        ("$RUN it", "Runs a command that cannot be summed up, so read it whole."),
        ("if (", "Runs a command that cannot be summed up, so read it whole."),
        ("", "Runs a command that cannot be summed up, so read it whole."),
        ("echo \ud800", "Runs `echo`."),
        ("echo 'open", "Runs `echo`; is more than one plain command, so read it whole."),
    ],
)
def test_a_command_is_summed_up(command: str, expected: str) -> None:
    assert sentence(describe(command)) == expected


def test_a_long_command_is_not_looked_into() -> None:
    assert describe("a" * (COMMAND_CHARS + 1)) == CommandFacts((), False, False, True)


@given(st.text(alphabet="ab |;&<>(){}[]$`'\"\\\n#!=-0\x00é\ud800", max_size=60))
def test_any_text_gets_a_sentence_on_one_line(command: str) -> None:
    text = sentence(describe(command))
    assert text.startswith("Runs ")
    assert text.isprintable()


def test_the_parser_is_not_loaded_before_a_command_is_judged() -> None:
    code = "import sys, hermes_acp.policy.gate; print('tree_sitter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
