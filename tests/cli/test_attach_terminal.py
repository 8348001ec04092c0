"""`hermes-editor attach` in a real terminal: keys are typed and the screen is read."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermes_acp import config
from tests.cli.pane import Pane

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "hermes_acp"]
CTRL_C, CTRL_D, CTRL_T, CTRL_S = "\x03", "\x04", "\x14", "\x13"
CHOOSE = "Press a key. Enter alone chooses nothing"
EDIT = {"tool": "write_file", "arguments": {"path": "new.txt", "content": "one\ntwo\n"}}
HELLO = {
    "when": {"user": "hello"},
    "parts": [{"thought": "A greeting.\nI answer."}, {"text": "# Hi\n\nIt is **bold**.\n\n- a\n- b"}],
}
WRITE = {"when": {"user": "write"}, "parts": [{"text": "I write."}, EDIT]}
AFTER = {"when": {"result": "."}, "parts": [{"text": "So it is."}]}
SLOW = {"when": {"user": "slow"}, "parts": [{"text": "word ", "repeat": 3000, "delay": 0.1}]}
ANY = {"when": {"user": "."}, "parts": [{"text": "Fine."}]}


@dataclass(frozen=True)
class Place:
    """A project, and a home with a script for the model."""

    project: Path
    home: Path

    def env(self, term: str = "xterm-256color", **more: str) -> dict[str, str]:
        kept = {"PATH": config.environment()["PATH"], "LANG": "C.UTF-8", "PYTHONUTF8": "1"}
        own = {
            "HERMES_EDITOR_HOME": str(self.home),
            "HERMES_EDITOR_MODEL": f"scripted/{self.home / 'script.jsonl'}",
            "HERMES_EDITOR_SERVER_IDLE": "2",
            "HOME": str(self.home),
            "TERM": term,
        }
        return kept | own | more

    def plays(self, *answers: dict[str, Any]) -> None:
        (self.home / "script.jsonl").write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))

    def pane(self, *words: str, size: tuple[int, int] = (80, 24), **env: str) -> Pane:
        return Pane([*PROGRAM, "attach", *words], self.env(**env), self.project, size)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "project").mkdir()
    (tmp_path / "home").mkdir()
    place = Place(tmp_path / "project", tmp_path / "home")
    place.plays(HELLO, WRITE, AFTER, SLOW, ANY)
    yield place
    subprocess.run([*PROGRAM, "server", "stop", "--force"], env=place.env(), capture_output=True, check=False)


def test_a_new_session_is_prompted_left_chosen_again_and_shown_again(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask · script.jsonl")
        pane.type("hello\r")
        first = pane.until("It is bold.", " • b", ">\nask", without="working")
        assert "· A greeting. (+1 lines, Ctrl-T)" in first
        pane.type(CTRL_T)
        pane.until("I answer.")
        pane.type(CTRL_D)
        assert pane.end() == 0
        assert "Detached; the session goes on." in pane.text
    history = place.home / "state" / "attach-history.jsonl"
    assert (history.read_text(), stat.S_IMODE(history.stat().st_mode)) == ('"hello"\n', 0o600)
    with place.pane() as pane:
        pane.until("hello", "new session in", "search:")
        pane.type("nothing like it")
        pane.until("nothing like it", without=">    now  hello")
        pane.type("\x15hel")
        pane.until("search: hel", "now  hello")
        pane.type("\r")
        pane.until("> hello", "It is bold.", " • b", "ask · script.jsonl")
        pane.type("\x1b[A")
        pane.until("> hello\nask")


def test_a_permission_is_given_by_a_key_and_never_by_enter_alone(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("write it\r")
        asked = pane.until("May the agent do this? Create new.txt", "1 + one", "2 + two", CHOOSE)
        assert "1 y  Allow once" in asked
        pane.type("\r")
        pane.until("Nothing was chosen")
        pane.type("x\r\r")
        assert list(place.project.iterdir()) == []
        pane.type("y")
        pane.until("✓ Write new.txt", "So it is.")
    assert (place.project / "new.txt").read_text() == "one\ntwo\n"


def test_what_is_being_typed_when_a_question_comes_answers_nothing(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("write it\ry1")
        pane.until(CHOOSE)
        assert list(place.project.iterdir()) == []
        pane.type("n")
        pane.until("(refused)", "> y1")
    assert list(place.project.iterdir()) == []


def test_ctrl_c_cancels_the_turn_and_what_waits_and_the_next_prompt_works(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("slow\r")
        pane.until("word word", "Ctrl-C stops it")
        pane.type("later\r")
        pane.until("> later (waits)", "1 waiting")
        pane.type(CTRL_C)
        pane.until("Not sent: later", "Cancelled.", without="working")
        pane.type("again\r")
        pane.until("Fine.", without="working")
        pane.type(CTRL_C)
        pane.until("Ctrl-D detaches; the session goes on.")


def test_several_lines_are_typed_or_pasted_and_sent_as_one_prompt(place: Place) -> None:
    place.plays({"when": {"user": r"^one\ntwo\nthree\nfour$"}, "parts": [{"text": "Four lines."}]})
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("one\x1b\rtwo\n\x1b[200~three\rfour\x1b[201~")
        pane.until("> one\n  two\n  three\n  four")
        pane.type("\r")
        pane.until("Four lines.")


def test_a_form_is_filled_in_field_by_field_and_declined_with_escape(place: Place) -> None:
    ask = {"tool": "ask_user", "arguments": {"question": "Which colour?", "choices": ["red", "green"]}}
    place.plays(
        {"when": {"user": "ask"}, "parts": [ask]},
        {"when": {"result": "green"}, "parts": [{"text": "Green it is."}]},
        {"when": {"result": "declined"}, "parts": [{"text": "Never mind."}]},
    )
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("ask me\r")
        pane.until("? Which colour?", "1    red", "2    green", "Enter answers, Esc declines.")
        pane.type("7\r")
        pane.until("Type a number from 1 to 2.")
        pane.type("2\r")
        pane.until("Green it is.", without="working")
        pane.type("ask again\r")
        pane.until("Enter answers, Esc declines.")
        pane.type("\x1b")
        pane.until("Never mind.")


def test_the_output_of_a_command_is_shown_while_it_runs(place: Place) -> None:
    lines = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done"
    command = f"touch begun; {lines}; while [ ! -e go ]; do sleep 0.05; done; echo end"
    run = {"tool": "run_command", "arguments": {"command": command}}
    place.plays({"when": {"user": "run"}, "parts": [run]}, AFTER)
    with place.pane("--new", size=(60, 24)) as pane:
        pane.until("ask ·")
        pane.type("run it\r")
        pane.until(CHOOSE)
        pane.type("y")
        pane.until("│ line 4", "│ line 9", "working", without="line 3")
        (place.project / "go").touch()
        pane.until("✓ touch begun", "│ line 1", "│ end", "So it is.")


def test_ctrl_s_says_something_into_the_running_turn(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("slow\r")
        pane.until("word word")
        pane.type("hurry up" + CTRL_S)
        pane.until("> (meanwhile) hurry up")


def test_it_fits_into_60_columns_and_follows_the_window(place: Place) -> None:
    place.plays({"parts": [{"text": "many words " * 30}]})
    with place.pane("--new", size=(60, 20)) as pane:
        pane.until("ask ·")
        pane.type("hello there\r")
        pane.until("many words many words", ">\nask", without="working")
        assert max(map(len, pane.lines)) <= 60
        pane.resize(100, 20)
        pane.type("/mo")
        pane.until("/mode", "/model", "show the models, or switch")


def test_files_and_commands_are_completed(place: Place) -> None:
    (place.project / "some file.txt").write_text("text")
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("see @some")
        pane.until("some file.txt")
        pane.type("\t")
        pane.until('> see @"some file.txt"')
        pane.type("\x15/mode acc")
        pane.until("accept_edits")
        pane.type("\t\r")
        pane.until("The mode is now accept_edits.", "accept_edits · script.jsonl")
        pane.type("/mdoe\r")
        pane.until("There is no command /mdoe: did you mean /mode?")


def test_a_second_window_sees_the_prompt_the_text_and_the_answer_of_the_first(place: Place) -> None:
    with place.pane("--new") as one:
        one.until("ask ·")
        one.type("hello\r")
        one.until("It is bold.", without="working")
        listed = subprocess.run(
            [*PROGRAM, "sessions", "list", "--json"], env=place.env(), capture_output=True, check=True
        )
        session_id = json.loads(listed.stdout)[0]["session_id"]
        with place.pane(session_id[:12]) as two:
            two.until("It is bold.", "ask ·")
            one.type("write it\r")
            one.until(CHOOSE)
            two.until("] write it", "I write.", CHOOSE)
            two.type("n")
            two.until("(refused)", "So it is.", without="working")
            one.until("(refused)", "So it is.", without="working")
            assert re.search(r"hermes-editor-attach-\w+: reject", one.text)


def test_escape_sequences_of_the_model_never_reach_the_terminal(place: Place) -> None:
    place.plays({"parts": [{"text": "a\x1b]0;owned\x07b\x1b[2Jc\u202ed"}]})
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("go\r")
        pane.until("abc�d")
        assert b"owned" not in pane.raw
        assert b"\x1b[2J" not in pane.raw


def test_without_colours_no_colour_is_used(place: Place) -> None:
    with place.pane("--new", NO_COLOR="1") as pane:
        pane.until("ask ·")
        pane.type("write it\r")
        pane.until(CHOOSE)
        colours = [
            code
            for found in re.findall(rb"\x1b\[([0-9;]*)m", pane.raw)
            for code in found.split(b";")
            if re.fullmatch(rb"[349][0-7]", code)
        ]
        assert colours == []


def test_a_dumb_terminal_gets_plain_lines(place: Place) -> None:
    with place.pane("--new", term="dumb") as pane:
        pane.type("hello\r")
        pane.until("It is bold.", " • b")
        pane.type("write it\r")
        pane.until("1 y  Allow once")
        pane.type("\r")
        pane.until("Nothing was chosen")
        pane.type("y\r")
        pane.until("So it is.")
        pane.type(CTRL_D)
        assert pane.end() == 0
        assert b"\x1b" not in pane.raw


def test_when_the_server_ends_it_says_so_and_the_exit_code_too(place: Place) -> None:
    with place.pane("--new") as pane:
        pane.until("ask ·")
        pane.type("hello\r")
        pane.until("It is bold.", without="working")
        subprocess.run([*PROGRAM, "server", "stop", "--force"], env=place.env(), check=True)
        assert pane.end() == 69
        assert "server" in pane.text and "has ended" in pane.text
