"""`hermes-editor run` as a script starts it: outputs, exit codes, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hermes_acp import config

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "hermes_acp", "run"]
SECONDS = 60
EDIT = {"tool": "write_file", "arguments": {"path": "new.txt", "content": "made\n"}}


@dataclass(frozen=True)
class Place:
    """A project, and the environment for a script."""

    project: Path
    home: Path

    def env(self, *answers: dict[str, Any]) -> dict[str, str]:
        script = self.home / "script.jsonl"
        script.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
        return self.bare() | {"HERMES_EDITOR_MODEL": f"scripted/{script}"}

    def bare(self) -> dict[str, str]:
        kept = {name: config.environment()[name] for name in ("PATH", "LANG") if name in config.environment()}
        own = {"HERMES_EDITOR_HOME": str(self.home), "HOME": str(self.home), "HERMES_EDITOR_SERVER_IDLE": "1"}
        return kept | own


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "project").mkdir()
    (tmp_path / "home").mkdir()
    return Place(tmp_path / "project", tmp_path / "home")


def run(place: Place, env: dict[str, str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words, "--cwd", str(place.project)],
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def parts(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"parts": list(parts), **members}


def records(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_text_goes_to_standard_output_and_tools_to_standard_error(place: Place) -> None:
    env = place.env(
        parts({"text": "I look.", "chunks": 3}, {"tool": "list_dir", "arguments": {}}),
        parts({"text": "Nothing there."}),
    )
    done = run(place, env, "look around")
    assert (done.returncode, done.stdout) == (0, "I look.\n\nNothing there.\n")
    assert done.stderr == "+ List .\n"


def test_the_prompt_can_come_from_standard_input(place: Place) -> None:
    env = place.env(parts({"text": "Yes."}, when={"user": "^from a file$"}))
    done = run(place, env, "-", stdin="from a file")
    assert (done.returncode, done.stdout) == (0, "Yes.\n")


def test_json_prints_every_update_and_one_result_at_the_end(place: Place) -> None:
    done = run(place, place.env(parts({"text": "Yes.", "chunks": 2})), "go", "--json")
    *updates, result = records(done.stdout)
    assert {record["type"] for record in updates} == {"update"}
    chunks = [item["update"] for item in updates]
    texts = [item["content"]["text"] for item in chunks if item["sessionUpdate"] == "agent_message_chunk"]
    assert "".join(texts) == "Yes."
    assert result == {
        "type": "result",
        "sessionId": updates[0]["sessionId"],
        "stopReason": "end_turn",
        "exitCode": 0,
    }


def test_a_permission_that_nobody_can_give_is_unanswered_and_not_refused(place: Place) -> None:
    env = place.env(
        parts(EDIT),
        parts({"text": "Understood."}, when={"result": "Nobody was there to answer"}),
    )
    done = run(place, env, "write it")
    assert (done.returncode, done.stdout) == (0, "Understood.\n")
    assert "not allowed: Create new.txt (nobody is here to allow this" in done.stderr
    assert list(place.project.iterdir()) == []


def test_the_mode_decides_without_a_person(place: Place) -> None:
    done = run(place, place.env(parts(EDIT), parts({"text": "Done."})), "write it", "--mode", "accept_edits")
    assert (done.returncode, done.stderr) == (0, "+ Write new.txt\n")
    assert (place.project / "new.txt").read_text() == "made\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (parts({"text": "No."}, finish="refusal"), 4),
        (parts({"text": "Too"}, finish="length"), 5),
        (parts({"fault": "error", "message": "The model fell over."}), 1),
        (parts({"fault": "auth", "message": "The key is wrong."}), 3),
    ],
    ids=["refused", "too long", "model error", "wrong key"],
)
def test_the_exit_code_tells_the_outcome(place: Place, answer: dict[str, Any], code: int) -> None:
    done = run(place, place.env(answer), "go", "--json")
    assert done.returncode == code
    assert records(done.stdout)[-1]["exitCode"] == code


def test_without_a_model_it_says_how_to_set_one(place: Place) -> None:
    done = run(place, place.bare(), "go")
    assert (done.returncode, done.stdout) == (3, "")
    assert "HERMES_EDITOR_MODEL" in done.stderr


def test_the_model_can_be_given_for_one_run(place: Place) -> None:
    script = place.env(parts({"text": "Scripted."}))["HERMES_EDITOR_MODEL"]
    assert run(place, place.bare(), "go", "--model", script).stdout == "Scripted.\n"


@pytest.mark.parametrize("words", [("",), ("go", "--mode", "reckless"), ()])
def test_wrong_usage_is_exit_code_2(place: Place, words: tuple[str, ...]) -> None:
    done = run(place, place.bare(), *words)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_folder_that_is_gone_is_wrong_usage(place: Place) -> None:
    place.project.rmdir()
    done = run(place, place.bare(), "go")
    assert done.returncode == 2
    assert "is not a folder" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_turn_and_ends_the_agent(place: Place, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "go", "--json", "--cwd", str(place.project)],
        env=place.env(parts({"text": "and on ", "repeat": 10_000, "delay": 0.01})),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = ""
        while "agent_message_chunk" not in line:
            line = process.stdout.readline()
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(SECONDS) == 130
    assert records(rest)[-1]["stopReason"] == "cancelled"


def test_what_the_model_says_cannot_move_the_cursor_in_tool_lines(place: Place) -> None:
    env = place.env(parts({"tool": "no\x1b[2Jsuch", "arguments": {}}), parts({"text": "Done."}))
    done = run(place, env, "go")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr
