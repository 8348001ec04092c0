"""Each window of a shared server brings its own surroundings: models, settings, programs, variables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp import endpoint
from tests.acp import script
from tests.windows import Home, Window, home

SHOW = 'echo "<$MARK|$SERVER_MARK|$OPENAI_API_KEY|$GITHUB_TOKEN|$HERMES_EDITOR_HOME|$(tool)>"'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose server was started with variables of its own."""
    with home(tmp_path_factory.mktemp("home")) as found:
        own = {
            "SERVER_MARK": "server",
            "MARK": "server",
            "OPENAI_API_KEY": "server",
            "GITHUB_TOKEN": "server",
        }
        endpoint.start(found.folders, found.env | own)
        yield found


def project(root: Path, name: str) -> Path:
    """A folder with a script that is only found from there, and a program that is only found from there."""
    folder = root / name
    (folder / "bin").mkdir(parents=True)
    tool = folder / "bin" / "tool"
    tool.write_text(f"#!/bin/sh\necho tool of {name}\n")
    tool.chmod(0o755)
    script.write(
        folder / "script.jsonl",
        {
            "who": [script.says(f"The model of {name}.")],
            "show": [script.calls("run_command", command=SHOW), script.says("Shown.")],
        },
    )
    return folder


def window_in(place: Home, folder: Path, **env: str) -> Window:
    path = f"{folder / 'bin'}:{place.env['PATH']}"
    variables = {"HERMES_EDITOR_MODEL": "scripted/script.jsonl", "PATH": path, "MARK": folder.name}
    return place.window(cwd=folder, **(variables | env))


def prompted(window: Window, session: str, prompt: str) -> str:
    """Everything that is shown for a prompt."""
    del window.seen[:]
    window.call("session/prompt", sessionId=session, prompt=[{"type": "text", "text": prompt}])
    return json.dumps(window.seen)


def opened(window: Window, folder: Path) -> str:
    window.initialize()
    return window.call("session/new", cwd=str(folder), mcpServers=[])["sessionId"]


def test_two_windows_have_their_own_models_programs_and_variables(place: Home, tmp_path: Path) -> None:
    folders = [project(tmp_path, "one"), project(tmp_path, "two")]
    windows = [window_in(place, folder, OPENAI_API_KEY="key", GITHUB_TOKEN="token") for folder in folders]
    sessions = [opened(window, folder) for window, folder in zip(windows, folders, strict=True)]
    for window, session, folder in zip(windows, sessions, folders, strict=True):
        assert f"The model of {folder.name}." in prompted(window, session, "who")
        assert f"<{folder.name}|||||tool of {folder.name}>" in prompted(window, session, "show")
    assert len(place.servers()) == 1


def test_a_window_without_a_variable_does_not_get_that_of_the_server(place: Home, tmp_path: Path) -> None:
    folder = project(tmp_path, "bare")
    window = place.window(cwd=folder, HERMES_EDITOR_MODEL="scripted/script.jsonl")
    assert "<|||||>" in prompted(window, opened(window, folder), "show")


def test_a_change_of_the_configuration_holds_for_the_next_window(place: Home, tmp_path: Path) -> None:
    folders = [project(tmp_path, "before"), project(tmp_path, "after")]
    config = Path(place.folders.config, "config.toml")
    config.parent.mkdir(exist_ok=True)
    shown = []
    for folder in folders:
        config.write_text(f'model = "scripted/{folder}/script.jsonl"\n')
        window = place.window(cwd="/")
        shown.append(prompted(window, opened(window, folder), "who"))
    config.write_text("model = \n")
    wrong = place.window()
    config_is_wrong = wrong.ended()
    config.unlink()
    assert "The model of before." in shown[0]
    assert "The model of after." in shown[1]
    assert config_is_wrong[0] == 2
    assert f"{config} is not valid TOML" in config_is_wrong[1]
    assert len(place.servers()) == 1
