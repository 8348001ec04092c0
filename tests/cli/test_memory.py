"""`hermes-editor memory recall`: a question as typed, many questions, and what is printed of the answers."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from hermes_acp.cli.memory import command as memory
from hermes_acp.cli.memory import recall
from tests.cli.sessions_home import Home
from tests.cli.test_sessions_import import said, write

Captured = pytest.CaptureFixture[str]


class Talks(Home):
    """A home with conversations of two projects, below its folder."""

    def recall(self, *words: str) -> int:
        """The command in this process; its exit code."""
        parser = argparse.ArgumentParser()
        memory.register(parser.add_subparsers())
        return memory.run(parser.parse_args(["memory", "recall", *words]), self.env)

    def folder(self, name: str) -> str:
        folder = self.path.parent / name
        folder.mkdir(exist_ok=True)
        return str(folder)


@pytest.fixture
def talks(tmp_path: Path, capsys: Captured) -> Talks:
    home = Talks(tmp_path / "home")
    file = write(
        tmp_path / "one.jsonl", said(1, "Where is the lock?"), said(2, "In the server"), said(3, "Fine")
    )
    home.run("import", file, "--cwd", home.folder("one"))
    home.run(
        "import", write(tmp_path / "two.jsonl", said(1, "A lock of hair\x1b[2J")), "--cwd", home.folder("two")
    )
    capsys.readouterr()
    return home


def printed(capsys: Captured) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_for_programs_each_result_is_a_line_with_the_id_that_was_imported(
    talks: Talks, capsys: Captured
) -> None:
    assert talks.recall("Where's the", "lock?", "--cwd", talks.folder("one"), "--json", "--limit", "1") == 0
    [found] = printed(capsys)
    assert found.pop("score") and found.pop("session")
    assert found == {
        "id": "1",
        "seq": 2,
        "at": 1001.0,
        "kind": "user",
        "speaker": "Maria",
        "branch": "",
        "text": "Where is the lock?",
    }


def test_for_people_each_result_is_a_line_that_commands_no_terminal(talks: Talks, capsys: Captured) -> None:
    assert talks.recall("hair", "--cwd", talks.folder("two")) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith("Maria: A lock of hair\N{REPLACEMENT CHARACTER}[2J")
    assert talks.recall("nothing like it", "--cwd", talks.folder("two")) == 0
    assert capsys.readouterr().out == f"{recall.NOTHING}\n"


def test_a_project_is_searched_unless_all_are_asked_for(talks: Talks, capsys: Captured) -> None:
    assert talks.recall("lock", "--cwd", talks.folder("other"), "--json") == 0
    assert printed(capsys) == []
    assert talks.recall("lock", "--all", "--json", "--kind", "user") == 0
    assert {found["text"] for found in printed(capsys)} >= {"Where is the lock?", "A lock of hair\x1b[2J"}


def test_many_questions_are_answered_a_line_each_in_their_order(
    talks: Talks, capsys: Captured, tmp_path: Path
) -> None:
    questions = [{"id": number, "query": "lock" if number % 2 else "!?"} for number in range(150)]
    file = write(tmp_path / "questions", *questions)
    assert talks.recall("--jsonl", file, "--json", "--limit", "1", "--cwd", talks.folder("one")) == 0
    answers = printed(capsys)
    assert [answer["id"] for answer in answers] == list(range(150))
    assert answers[0] == {"id": 0, "results": []}
    assert [result["id"] for result in answers[1]["results"]] == ["1"]  # pyright: ignore[reportIndexIssue]


def test_lines_that_are_no_questions_are_named_and_the_others_answered(
    talks: Talks, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"query": "lock"}\r\n\n{bad\n{"id": 1}\n{"query": "\xff"}\n[]\n{"id": "z", "query": "lock"}'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert talks.recall("--jsonl", "-", "--json", "--cwd", talks.folder("one")) == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == [None, "z"]
    assert [line.split(" was ")[0] for line in captured.err.splitlines()] == [
        "Line 3",
        "Line 4",
        "Line 5",
        "Line 6",
    ]


def test_filters_narrow_what_is_found(talks: Talks, capsys: Captured) -> None:
    here = ("server", "--cwd", talks.folder("one"), "--json")
    assert talks.recall(*here, "--kind", "agent") == 0
    assert [found["kind"] for found in printed(capsys)] == ["agent"]
    assert talks.recall(*here, "--until", "1001") == talks.recall(*here, "--session", "nobody") == 0
    assert printed(capsys) == []


def test_where_nothing_was_ever_said_nothing_is_found_and_nothing_is_made(
    tmp_path: Path, capsys: Captured
) -> None:
    home = Talks(tmp_path / "home")
    file = write(tmp_path / "questions", {"id": 1, "query": "lock"})
    assert home.recall("lock", "--json") == home.recall("--jsonl", file, "--json") == 0
    assert printed(capsys) == [{"id": 1, "results": []}]
    assert not home.path.exists()


def test_a_wrong_command_line_says_what_is_right(talks: Talks, capsys: Captured) -> None:
    assert talks.recall() == talks.recall("lock", "--jsonl", "-") == 2
    assert talks.recall("lock", "--cwd", "/nowhere/at/all") == talks.recall("--jsonl", "/nowhere") == 1
    with pytest.raises(SystemExit):
        talks.recall("lock", "--since", "soon")
    assert "is no time" in capsys.readouterr().err


def test_what_was_said_on_a_branch_is_found_by_it_and_what_nobody_noted_only_without(
    talks: Talks, capsys: Captured, tmp_path: Path
) -> None:
    on_branch = {**said(4, "The lock is a file now", "later"), "branch": "feature/lock"}
    file = write(tmp_path / "later.jsonl", {**said(5, "Which lock?", "later"), "branch": "main"}, on_branch)
    talks.run("import", file, "--cwd", talks.folder("one"))
    capsys.readouterr()
    here = ("lock", "--cwd", talks.folder("one"), "--json")
    assert talks.recall(*here) == 0
    assert {found["branch"] for found in printed(capsys)} == {"", "main", "feature/lock"}
    assert talks.recall(*here, "--branch", "feature/lock") == 0
    assert [found["text"] for found in printed(capsys)] == ["The lock is a file now"]
    assert talks.recall(*here, "--branch", "feature") == 0
    assert printed(capsys) == []


def test_long_results_are_summarised_by_the_cheap_model_when_that_is_wanted(
    talks: Talks, capsys: Captured, tmp_path: Path
) -> None:
    long = "The lock is in the server. " + "filler " * 100
    talks.run("import", write(tmp_path / "long.jsonl", said(7, long, "long")), "--cwd", talks.folder("three"))
    capsys.readouterr()
    here = ("lock", "--cwd", talks.folder("three"), "--summary")
    assert talks.recall(*here) == 0
    printed_as_it_is = capsys.readouterr()
    assert "filler filler" in printed_as_it_is.out and "set memory_model" in printed_as_it_is.err
    assert talks.recall(*here, "--json") == 0
    [found] = printed(capsys)
    answer = [{"id": f"{found['session']}:{found['seq']}", "summary": "In the server."}]
    script = tmp_path / "cheap.jsonl"
    script.write_text(json.dumps({"parts": [{"text": json.dumps(answer)}]}) + "\n")
    (talks.path / "config").mkdir()
    (talks.path / "config" / "config.toml").write_text(f'memory_model = "scripted/{script}"\n')
    assert talks.recall(*here) == 0
    assert capsys.readouterr().out.endswith("Maria: (summary) In the server.\n")
    assert talks.recall(*here, "--json") == 0
    assert printed(capsys) == [{**found, "summary": "In the server."}]
    assert talks.recall("--jsonl", "questions", "--summary") == 2
    assert "without --summary" in capsys.readouterr().err
