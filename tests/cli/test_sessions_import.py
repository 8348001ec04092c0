"""`hermes-editor sessions import`: what it takes, says and leaves alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.cli.sessions_home import Home

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def work(tmp_path: Path) -> str:
    folder = tmp_path / "work"
    folder.mkdir()
    return str(folder)


def write(path: Path, *lines: object) -> str:
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in lines))
    return str(path)


def said(message_id: int, text: str, session: str = "a talk") -> dict[str, object]:
    speaker = "Maria" if message_id % 2 else "John"
    role = "user" if message_id % 2 else "assistant"
    return {
        "session": session,
        "at": 1000 + message_id,
        "role": role,
        "speaker": speaker,
        "text": text,
        "id": message_id,
    }


def test_conversations_become_sessions_that_are_listed_and_shown(
    home: Home, work: str, tmp_path: Path, capsys: Captured
) -> None:
    file = write(tmp_path / "talk.jsonl", said(1, "Where is the lock?"), said(2, "In the server"))
    assert home.run("import", file, "--cwd", work) == 0
    assert capsys.readouterr().out == "New: 1 sessions, 2 messages and calls. Known already: 0.\n"
    assert home.run("list", "--cwd", work, "--json") == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["title"], listed["cwd"], listed["created_at"]) == ("a talk", work, 1001.0)
    assert home.run("show", listed["session_id"]) == 0
    shown = capsys.readouterr().out
    assert "Where is the lock?" in shown and "In the server" in shown
    assert home.run("import", file, "--cwd", work, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "sessions": 0,
        "added": 0,
        "known": 2,
        "in_use": {},
        "skipped": [],
    }


def test_bad_lines_are_told_with_their_numbers_and_the_others_taken(
    home: Home, work: str, tmp_path: Path, capsys: Captured
) -> None:
    file = write(tmp_path / "talk.jsonl", said(1, "one"), "{nonsense\x1b[2J", *["[]"] * 25, said(2, "two"))
    assert home.run("import", file, "--cwd", work) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("New: 1 sessions, 2 messages")
    told = captured.err.splitlines()
    assert told[0].startswith("Line 2 was skipped: it is no JSON") and "\x1b" not in captured.err
    assert told[1] == "Line 3 was skipped: it is no JSON object."
    assert told[-1] == "6 more lines were skipped."


def test_standard_input_is_a_file_too(
    home: Home, work: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(said(1, "one")).encode())))
    assert home.run("import", "-", "--cwd", work) == 0
    assert capsys.readouterr().out.startswith("New: 1 sessions")


def test_a_missing_file_or_folder_and_a_file_without_a_good_line_are_failures(
    home: Home, work: str, tmp_path: Path, capsys: Captured
) -> None:
    assert home.run("import", str(tmp_path / "none"), "--cwd", work) == 1
    assert home.run("import", write(tmp_path / "bad", "[]"), "--cwd", work) == 1
    assert home.run("import", write(tmp_path / "good", said(1, "x")), "--cwd", str(tmp_path / "none")) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_transcripts_of_others_are_read_in_their_format(
    home: Home, work: str, tmp_path: Path, capsys: Captured
) -> None:
    entry = {
        "type": "user",
        "sessionId": "5",
        "timestamp": "2025-01-01T00:00:00Z",
        "uuid": "u",
        "message": {"content": "hello"},
    }
    assert home.run("import", write(tmp_path / "c", entry), "--cwd", work, "--format", "claude-code") == 0
    assert home.run("import", write(tmp_path / "e"), "--cwd", work, "--format", "codex") == 0
    assert capsys.readouterr().out.startswith("New: 1 sessions, 1 messages")
