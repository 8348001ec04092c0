"""`hermes-editor attach` for scripts: JSON lines, and plain lines on a pipe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_attach_terminal import AFTER, HELLO, PROGRAM, SLOW, WRITE, Place

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "project").mkdir()
    (tmp_path / "home").mkdir()
    place = Place(tmp_path / "project", tmp_path / "home")
    place.plays(HELLO, WRITE, AFTER, SLOW)
    yield place
    subprocess.run([*PROGRAM, "server", "stop", "--force"], env=place.env(), capture_output=True, check=False)


def run(place: Place, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "attach", *words],
        cwd=place.project,
        env=place.env(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_prompts_go_in_and_everything_comes_out_as_json(place: Place) -> None:
    prompt = {"prompt": [{"type": "text", "text": "hello"}]}
    lines = f'hello\n\n{json.dumps(prompt)}\n{{"what": 1}}\n{{"answer": 9, "result": {{}}}}\n{{"'
    done = run(place, "--new", "--json", stdin=lines)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert records[0]["type"] == "session"
    results = [record for record in records if record["type"] == "result"]
    assert results[:2] == [{"type": "result", "method": "session/prompt", "stopReason": "end_turn"}] * 2
    problems = [record["error"] for record in records if record["type"] == "error"]
    assert len(problems) == 3
    assert "says nothing that is known" in problems[0]
    assert "No request 9 waits" in problems[1]
    again = run(place, records[0]["sessionId"][:10], "--json")
    assert again.returncode == 0
    assert '"user_message_chunk"' in again.stdout


def test_a_permission_is_a_line_and_its_answer_too(place: Place) -> None:
    program = [*PROGRAM, "attach", "--new", "--json"]
    with subprocess.Popen(
        program, cwd=place.project, env=place.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("write it\n")
        process.stdin.flush()
        request: dict[str, Any] = next(
            record for line in process.stdout if (record := json.loads(line))["type"] == "request"
        )
        allow = {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
        process.stdin.write(json.dumps({"answer": request["id"], "result": allow}) + "\n")
        process.stdin.close()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert '"end_turn"' in rest
    assert (place.project / "new.txt").read_text() == "one\ntwo\n"


def test_nobody_answers_when_the_input_has_ended(place: Place) -> None:
    done = run(place, "--new", "--json", stdin="write it\n")
    assert done.returncode == 0
    assert list(place.project.iterdir()) == []


def test_on_a_pipe_it_is_plain_lines_and_ends_when_everything_is_answered(place: Place) -> None:
    done = run(place, "--new", stdin="hello\n/help\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "It is bold.\n" in done.stdout
    assert "/detach" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "nobody is here to choose"),
        (("--json",), "nobody is here to choose"),
        (("s1", "--new"), "leave the id out"),
        (("--new", "--cwd", "/nowhere"), "is not a folder"),
    ],
)
def test_wrong_usage_is_exit_code_2(place: Place, words: tuple[str, ...], problem: str) -> None:
    done = run(place, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr


def test_a_session_that_does_not_exist_is_exit_code_1(place: Place) -> None:
    done = run(place, "nothing", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no session 'nothing'" in done.stderr
