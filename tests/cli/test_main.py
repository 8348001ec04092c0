"""The command line as a whole: what it lists, refuses and loads."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from hermes_acp import __version__
from hermes_acp.cli.main import ENTRIES, main

Captured = pytest.CaptureFixture[str]
HEAVY = ("litellm", "mcp", "git", "aiohttp", "tree_sitter", "pygls", "lsprotocol", "jsonrpcserver")


def test_no_arguments_and_help_list_every_command(capsys: Captured) -> None:
    for argv in ([], ["--help"], ["help"], ["--standalone"]):
        assert main(argv) == 0
        shown = capsys.readouterr().out
        assert [entry.name for entry in ENTRIES if f"\n    {entry.name} " not in shown] == []


def test_the_version_is_the_package_s(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hermes-editor {__version__}\n"


def test_a_mistyped_command_is_refused_with_the_one_that_was_meant(capsys: Captured) -> None:
    assert main(["sesions", "list"]) == 2
    assert capsys.readouterr().err == (
        "hermes-editor: there is no command 'sesions'. Did you mean 'sessions'?\n"
    )
    assert main(["zzz"]) == 2
    assert "`hermes-editor --help` lists what there is" in capsys.readouterr().err


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_command_explains_itself_and_refuses_what_it_does_not_know(
    entry: object, capsys: Captured
) -> None:
    name = next(item.name for item in ENTRIES if item is entry)
    assert main([name, "--help"]) == 0
    assert f"usage: hermes-editor {name}" in capsys.readouterr().out
    assert main([name, "--no-such-option"]) == 2
    assert "hermes-editor" in capsys.readouterr().err


def test_wrong_settings_are_one_sentence_and_exit_2(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMES_EDITOR_MAX_STEPS", "many")
    assert main(["config"]) == 2
    assert "HERMES_EDITOR_MAX_STEPS" in capsys.readouterr().err


def test_the_arguments_of_an_editor_with_setup_behind_them_start_the_wizard() -> None:
    for argv in (["--setup"], ["acp", "--setup"], ["acp", "--standalone", "--setup"]):
        command = [sys.executable, "-m", "hermes_acp", *argv]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
        assert "Which language model should the agent use?" in done.stdout
        assert (done.returncode, done.stderr) == (1, "\nNothing was written.\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m hermes_acp --help | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_command_loads_a_heavy_library_to_show_what_it_can_do() -> None:
    modules = [entry.module for entry in ENTRIES if entry.module]
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_line_alone_loads_no_command() -> None:
    code = "import sys, hermes_acp.cli.main\n"
    code += "print(*sorted(name for name in sys.modules if name.startswith('hermes_acp.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "hermes_acp.cli.command hermes_acp.cli.main\n"


def test_the_table_names_modules_that_exist() -> None:
    assert [entry.name for entry in ENTRIES if entry.module and not import_module(entry.module).__doc__] == []
