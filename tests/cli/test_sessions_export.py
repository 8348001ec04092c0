"""`hermes-editor sessions export`: forms, files and what is never overwritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from hermes_acp.content import Diff, ImageBlock, Location, TextBlock
from hermes_acp.events import (
    Envelope,
    ExitStatus,
    MessageCompleted,
    ToolCallFinished,
    ToolCallStarted,
    ToolRequest,
    TurnStarted,
    UsageUpdated,
)
from tests.cli.sessions_home import Home, envelopes, row, turn

Captured = pytest.CaptureFixture[str]

RICH = [
    TurnStarted("m1", (TextBlock("é 🙂 \x1b \0 \u2028"), ImageBlock("AAAA", "image/png")), "Zed"),
    MessageCompleted("m2", "", "thought", (ToolRequest("c1", "run", '{"a'),), '{"opaque": 1}'),
    ToolCallStarted("c1", "edit", "Edit", "edit", "{}", (Location("/a", 3),)),
    ToolCallFinished("c1", "failed", "x\n" * 100, (Diff("/a", "b", "a"),), exit=ExitStatus(None, "KILL")),
    UsageUpdated(1, 2, 0.1),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.hold(row(1))
    return home


def test_without_a_file_the_conversation_goes_to_standard_output(home: Home, capsys: Captured) -> None:
    assert home.run("show", "s1") == 0
    shown = capsys.readouterr().out
    assert home.run("export", "s1") == 0
    assert home.run("export", "s1", "--to", "-", "--format", "markdown") == 0
    assert capsys.readouterr().out == shown * 2
    assert home.run("export", "s1", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["session"]["title"], len(told["events"])) == ("A title", 4)


def test_lines_of_json_lose_nothing(home: Home, capsys: Captured) -> None:
    home.hold(row(2), said=RICH)
    assert home.run("export", "s2", "--format", "jsonl") == 0
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    codec = TypeAdapter(Envelope)
    assert [codec.validate_json(item) for item in lines] == envelopes(row(2), RICH)
    assert list(json.loads(lines[0])) == ["session_id", "seq", "turn_id", "at", "event", "agent_path"]


def test_a_file_is_private_and_never_overwritten_unless_that_is_asked_for(
    home: Home, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "out.md"
    assert home.run("export", "s1", "--to", str(file)) == 0
    assert capsys.readouterr().out == f"Exported s1 to {file}.\n"
    assert file.read_text().startswith("# A title\n")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("mine")
    assert home.run("export", "s1", "--to", str(file)) == 1
    assert (
        capsys.readouterr().err
        == f"{file} is there already: name another one, or add --force to replace it.\n"
    )
    assert file.read_text() == "mine"
    file.chmod(0o644)
    assert home.run("export", "s1", "--to", str(file), "--force") == 0
    assert file.read_text().startswith("# A title\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out.md"]


def test_a_link_counts_as_a_file_that_is_there(home: Home, tmp_path: Path) -> None:
    link = tmp_path / "link.md"
    link.symlink_to(tmp_path / "target.md")
    assert home.run("export", "s1", "--to", str(link)) == 1
    assert home.run("export", "s1", "--to", str(link), "--force") == 0
    assert link.is_symlink() and (tmp_path / "target.md").read_text().startswith("# A title\n")


def test_what_is_no_plain_file_is_not_replaced_even_by_force(
    home: Home, tmp_path: Path, capsys: Captured
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        assert home.run("export", "s1", "--to", str(path), "--force") == 1
        assert capsys.readouterr().err == f"{path} is not a plain file: name another one.\n"
    assert fifo.is_fifo()


def test_a_place_that_cannot_be_written_is_a_sentence_and_keeps_nothing(
    home: Home, tmp_path: Path, capsys: Captured
) -> None:
    assert home.run("export", "s1", "--to", str(tmp_path / "missing" / "out.md")) == 1
    assert (
        capsys.readouterr().err
        == f"{tmp_path}/missing/out.md cannot be written: No such file or directory.\n"
    )
    assert home.run("export", "s1", "--to", str(home.database / "out.md")) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_all_conversations_become_files_of_a_folder(home: Home, tmp_path: Path, capsys: Captured) -> None:
    home.hold(*(row(number) for number in range(2, 62)))
    folder = tmp_path / "a" / "b"
    assert home.run("export", "--all", "--to", str(folder), "--format", "jsonl") == 0
    assert capsys.readouterr().out == f"Exported 61 sessions to {folder}.\n"
    assert {path.name for path in folder.iterdir()} == {f"s{number}.jsonl" for number in range(1, 62)}
    assert {len(path.read_text().splitlines()) for path in folder.iterdir()} == {len(turn())}
    assert {path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]} == {0o700, 0o600}


def test_one_file_in_the_way_keeps_all_from_being_written(
    home: Home, tmp_path: Path, capsys: Captured
) -> None:
    home.hold(row(2))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "s1.md").write_text("mine")
    assert home.run("export", "--all", "--to", str(folder)) == 1
    assert f"{folder}/s1.md is there already" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["s1.md"]
    assert home.run("export", "--all", "--to", str(folder), "--force") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["s1.md", "s2.md"]


@pytest.mark.parametrize("words", [[], ["--all"], ["s1", "--all", "--to", "x"]])
def test_one_session_or_all_into_a_folder_must_be_asked_for(
    home: Home, capsys: Captured, words: list[str]
) -> None:
    assert home.run("export", *words) == 2
    assert capsys.readouterr().err.startswith("Say which session")


def test_secrets_of_an_older_journal_stay_out_of_every_format(home: Home, capsys: Captured) -> None:
    home.hold(row(3), said=[MessageCompleted("m1", "Use DB_PASSWORD=q7Tz-m2Rw here")])
    for form in ("markdown", "jsonl", "json"):
        assert home.run("export", "s3", "--format", form) == 0
        assert "Use DB_PASSWORD=[redacted: password] here" in capsys.readouterr().out
