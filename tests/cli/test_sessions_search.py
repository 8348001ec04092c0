"""`hermes-editor sessions search`: what is found and how it is shown."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from hermes_acp.cli.sessions.search import CONTEXT_CHARS, context, marked
from hermes_acp.storage.words import Words
from tests.cli.sessions_home import Home, row, turn

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def line(text: str, *typed: str) -> str:
    """The line of a text that is shown, its words between brackets."""
    words = Words.of(typed)
    return marked(context(text, words), ("[", "]"))


def test_a_hit_is_its_session_and_a_line_of_what_was_said(home: Home, capsys: Captured) -> None:
    home.hold(row(1, "A plan"), said=turn("Where is\nthe lock?", "In the server"))
    home.hold(row(2, "The lock"), said=turn("Hello", "Bye"))
    assert home.run("search", "LOCK") == 0
    newer, older, said = capsys.readouterr().out.splitlines()
    assert newer.startswith("s2  1970-01-12 ") and newer.endswith("  The lock")
    assert older.startswith("s1  1970-01-12 ") and older.endswith("  A plan")
    assert said == "    You: Where is the lock?"


def test_for_programs_each_hit_is_a_line_of_json(home: Home, capsys: Captured) -> None:
    home.hold(row(1, "A plan"), row(2, "é\x1b[2J"), said=turn("Where is the lock?", "Lock\x1b[2J 🙂"))
    assert home.run("search", "lock", "--json") == 0
    found = [json.loads(item) for item in capsys.readouterr().out.splitlines()]
    told = {"cwd": "/code", "matches": 2, "speaker": "user", "seq": 2, "context": "Where is the lock?"}
    assert found == [
        {"session_id": "s2", "title": "é\x1b[2J", "updated_at": 1_000_002.0, **told},
        {"session_id": "s1", "title": "A plan", "updated_at": 1_000_001.0, **told},
    ]
    assert home.run("search", "nowhere", "--json") == 0
    assert capsys.readouterr().out == ""


def test_a_folder_and_a_number_narrow_what_is_found(
    home: Home, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.hold(row(1), row(2), row(3, cwd=str(home.path)))
    assert home.run("search", "hello", "--limit", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["session_id"] == "s3"
    monkeypatch.chdir(home.path)
    assert home.run("search", "hello", "--cwd", ".", "--json") == 0
    assert json.loads(capsys.readouterr().out)["session_id"] == "s3"


@pytest.mark.parametrize("typed", [[""], [" \n"], [str(number) for number in range(33)]])
def test_nothing_or_too_much_to_look_for_is_bad_usage(home: Home, capsys: Captured, typed: list[str]) -> None:
    assert home.run("search", *typed) == 2
    assert "to look for" in capsys.readouterr().err


def test_the_words_are_marked_on_a_terminal_and_nothing_else_can_command_it(home: Home) -> None:
    home.hold(row(1, "\x1b[2JThe lock"), said=turn("The LOCK\x1b]0;x\x07", "Bye"))
    command = [sys.executable, "-m", "hermes_acp", "sessions", "search", "lock"]
    assert b"The \x1b[1mlock\x1b[0m\r\n    You: The \x1b[1mLOCK\x1b[0m\xef\xbf\xbd" in _on_terminal(
        home, command
    )


def test_the_line_has_the_most_words_and_is_cut_at_both_sides() -> None:
    assert line("one two three", "two") == "one [two] three"
    assert line("Straße STRASSE", "strasse") == "[Straße] [STRASSE]"
    assert line("abcd", "abc", "bcd", "ab") == "[abc][d]"
    assert line("a\n\n b\tc", "b") == "a [b] c"
    assert line("", "b") == ""
    far = "red " + "x" * 500 + " the red fox " + "y" * 500
    shown = line(far, "red", "fox")
    assert shown.startswith("…xxx") and shown.endswith("yyy…") and "the [red] [fox] y" in shown
    assert len(shown) == CONTEXT_CHARS + len("…[][]…")


def test_even_a_word_that_is_longer_than_a_line_is_shown() -> None:
    assert line("a" * 1_000, "a" * 1_000) == f"[{'a' * 1_000}]"


def test_a_text_of_a_megabyte_with_a_word_everywhere_has_one_line() -> None:
    assert line("ab " * 300_000, "ab", "b").startswith("[ab] [ab] ")


def _on_terminal(home: Home, command: list[str]) -> bytes:
    """What a command writes on a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, {**home.env, "PYTHONUTF8": "1"})
    shown = b""
    try:
        while data := os.read(terminal, 65_536):
            shown += data
    except OSError:
        # The end of a terminal is an error on Linux.
        pass
    finally:
        os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, shown
    return shown
