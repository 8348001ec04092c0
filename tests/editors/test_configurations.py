"""The configurations in `editors/`: in their editor's syntax, and starting something that answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_acp.cli import editors, setup
from hermes_acp.cli.editors import Start

FOLDER = Path(__file__).parents[2] / "editors"
FILES = {
    "zed": "settings.json",
    "jetbrains": "acp.json",
    "vscode": "settings.json",
    "neovim": "hermes_editor.lua",
    "emacs": "hermes-editor.el",
}
SECONDS = 60.0

TOKENS = {
    "neovim": re.compile(r'--[^\n]*|"(?:[^"\\\n]|\\.)*"|([(){}\[\]])|(")|.', re.DOTALL),
    "emacs": re.compile(r';[^\n]*|\?\\?.|"(?:[^"\\]|\\.)*"|([()\[\]])|(")|.', re.DOTALL),
}
"""Comments and whole strings first, then brackets, then a quote that nothing closes."""


@pytest.mark.parametrize("editor", editors.known({"HOME": "/home/you"}), ids=lambda editor: editor.name)
def test_the_file_is_what_setup_writes_and_has_a_readme(editor: editors.Editor) -> None:
    entry = editors.entry(editor.name, Start("hermes-editor"), editor.file)
    assert (FOLDER / editor.name / FILES[editor.name]).read_text() == setup.snippet(entry)
    readme = (FOLDER / editor.name / "README.md").read_text()
    assert f"hermes-editor setup {editor.name}" in readme
    assert f"({FILES[editor.name]})" in readme


@pytest.mark.parametrize("name", ["neovim", "emacs"])
def test_brackets_and_quotes_of_sources_are_closed(name: str) -> None:
    closing = {")": "(", "]": "[", "}": "{"}
    open_brackets: list[str] = []
    for match in TOKENS[name].finditer((FOLDER / name / FILES[name]).read_text()):
        bracket, quote = match.groups()
        assert quote is None
        if bracket in closing.values():
            open_brackets.append(bracket)
        elif bracket:
            assert open_brackets.pop() == closing[bracket]
    assert open_brackets == []


@pytest.mark.parametrize("command", ["luajit", "lua", "nvim"])
def test_lua_reads_the_adapter(command: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    file = FOLDER / "neovim" / FILES["neovim"]
    check = f"assert(type(assert(loadfile([[{file}]]))()) == 'function')"
    words = (
        ["--headless", "-u", "NONE", "-c", f"lua {check}", "-c", "q"] if command == "nvim" else ["-e", check]
    )
    done = subprocess.run([command, *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_emacs_reads_the_source() -> None:
    if shutil.which("emacs") is None:
        pytest.skip("Emacs is not installed")
    check = (
        "(while (ignore-errors (read (current-buffer)))) (forward-comment 1000) (kill-emacs (if (eobp) 0 1))"
    )
    words = [str(FOLDER / "emacs" / FILES["emacs"]), "--eval", f"(progn {check})"]
    done = subprocess.run(["emacs", "--batch", *words], capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", list(FILES))
def test_the_command_that_it_starts_answers_initialize(name: str, tmp_path: Path) -> None:
    program, *arguments = command_of(name)
    assert program == "hermes-editor"
    params = {"protocolVersion": 1, "clientCapabilities": {}}
    request = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    with subprocess.Popen(
        [Path(sys.executable).with_name(program), *arguments],
        env={"HERMES_EDITOR_HOME": str(tmp_path), "HERMES_EDITOR_SERVER_IDLE": "2", "PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        agent.stdin.write(json.dumps(request) + "\n")
        agent.stdin.flush()
        answer = json.loads(agent.stdout.readline())
        assert (answer["id"], answer["result"]["protocolVersion"]) == (0, 1)
        assert agent.communicate(timeout=SECONDS) == ("", "")
    assert agent.returncode == 0


def command_of(name: str) -> list[str]:
    """The words that the editor starts according to its file."""
    text = (FOLDER / name / FILES[name]).read_text()
    if name == "neovim":
        found = re.search(r"default = \{ (.*) \}", text)
        assert found
        return json.loads(f"[{found[1]}]")
    if name == "emacs":
        found = re.search(r":command (\".*\")\s+:command-params '\((.*)\)", text)
        assert found
        return [json.loads(found[1]), *map(json.loads, found[2].split())]
    (group,) = json.loads(text).values()
    assert list(group) == ["Hermes Editor"]
    return [group["Hermes Editor"]["command"], *group["Hermes Editor"]["args"]]
