"""`hermes-editor setup` on a home of its own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from hermes_acp.cli import setup

Captured = pytest.CaptureFixture[str]


def run(home: Path, *words: str, **env: str) -> int:
    parser = argparse.ArgumentParser()
    setup.register(parser.add_subparsers())
    return setup.run(parser.parse_args(["setup", *words]), {"HOME": str(home), "PATH": "", **env})


def test_print_shows_the_entry_with_an_absolute_command_and_writes_nothing(
    tmp_path: Path, capsys: Captured
) -> None:
    assert run(tmp_path, "zed", "--print") == 0
    entry = json.loads(capsys.readouterr().out)["agent_servers"]["Hermes Editor"]
    assert Path(entry["command"]).is_file()
    assert entry["args"][-1] == "acp"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("editor", ["zed", "jetbrains", "vscode", "neovim", "emacs"])
def test_writing_makes_the_file_and_the_second_time_changes_nothing(
    tmp_path: Path, capsys: Captured, editor: str
) -> None:
    assert run(tmp_path, editor) == 0
    assert "Wrote " in capsys.readouterr().out
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) == 1
    assert run(tmp_path, editor) == 0
    assert "configured already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written


def test_an_existing_file_keeps_what_it_had_its_mode_and_a_copy(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / ".jetbrains" / "acp.json"
    file.parent.mkdir()
    file.write_text('{"agent_servers": {"Other": {"command": "x"}}}\n')
    file.chmod(0o600)
    assert run(tmp_path, "jetbrains") == 0
    assert set(json.loads(file.read_text())["agent_servers"]) == {"Other", "Hermes Editor"}
    assert file.stat().st_mode & 0o777 == 0o600
    (backup,) = file.parent.glob("acp.json.*.bak")
    assert backup.read_text() == '{"agent_servers": {"Other": {"command": "x"}}}\n'
    assert str(backup) in capsys.readouterr().out


def test_a_file_with_comments_is_left_alone_and_the_entry_printed(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / ".config" / "zed" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text('// my settings\n{"theme": "One Dark"}\n')
    assert run(tmp_path, "zed") == 1
    shown = capsys.readouterr()
    assert "was left alone, because it has comments" in shown.err
    assert set(json.loads(shown.out)["agent_servers"]) == {"Hermes Editor"}
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]
    assert file.read_text() == '// my settings\n{"theme": "One Dark"}\n'


def test_a_folder_in_the_way_is_named(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / ".jetbrains").write_text("")
    assert run(tmp_path, "jetbrains") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_overview_tells_what_is_installed_and_what_is_configured(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "xdg" / "zed").mkdir(parents=True)
    assert run(tmp_path, "zed", XDG_CONFIG_HOME=str(tmp_path / "xdg")) == 0
    capsys.readouterr()
    assert run(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg")) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:6]]
    assert [row[:3] for row in rows] == [
        ["zed", "yes", "configured"],
        ["jetbrains", "no", "-"],
        ["vscode", "no", "-"],
        ["neovim", "no", "-"],
        ["emacs", "no", "-"],
    ]


def test_emacs_and_neovim_get_a_file_of_ours_and_the_line_that_reads_it(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / ".config" / "emacs").mkdir(parents=True)
    assert run(tmp_path, "emacs") == 0
    file = tmp_path / ".config" / "emacs" / "hermes-editor.el"
    assert file.is_file()
    assert f'(load "{file}")' in capsys.readouterr().out
    assert run(tmp_path, "neovim", NVIM_APPNAME="lazy") == 0
    assert (tmp_path / ".config" / "lazy" / "lua" / "hermes_editor.lua").is_file()
    assert 'require("hermes_editor")' in capsys.readouterr().out
