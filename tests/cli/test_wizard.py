"""`hermes-editor --setup` as an editor starts it: the real program on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SECONDS = 60.0
"""How long the program may take; far more than it needs."""

ON_TERMINAL = """
import fcntl, sys, termios
from hermes_acp.shim import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""
"""The program with its input as the terminal that belongs to it, from which secrets are read."""


@dataclass(frozen=True)
class Home:
    path: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.path / "config" / "config.toml"

    def answer(self, *lines: str) -> tuple[int, str]:
        """Run the wizard on a terminal and type the lines; the exit code and all that was shown."""
        env = {"HERMES_EDITOR_HOME": str(self.path), "PATH": os.defpath, "TERM": "dumb", **self.env}
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, "acp", "--setup"],
            stdin=child,
            stdout=child,
            stderr=child,
            env=env,
            start_new_session=True,
        )
        os.close(child)
        shown = ""
        remaining = list(lines)
        try:
            while chunk := _read(parent):
                shown += chunk
                if remaining and shown.rstrip(" ").endswith((":", "[y/N]")):
                    os.write(parent, (remaining.pop(0) + "\n").encode())
            return process.wait(SECONDS), shown
        finally:
            process.kill()
            process.wait(SECONDS)
            os.close(parent)


def _read(parent: int) -> str:
    """What is shown next; empty when the program has ended."""
    assert select.select([parent], [], [], SECONDS)[0], "the program neither asks nor ends"
    try:
        return os.read(parent, 65536).decode()
    except OSError:
        return ""


def test_a_provider_and_a_key_are_written_and_the_key_is_never_shown(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code, shown = home.answer("nothing", "1", "", "sk-very-secret-key", "")
    assert code == 0, shown
    assert "There is no 'nothing' in the list." in shown
    assert "sk-very-secret-key" not in shown
    assert tomllib.loads(home.file.read_text()) == {
        "model": "anthropic/claude-sonnet-5-5",
        "keys": {"ANTHROPIC_API_KEY": "sk-very-secret-key"},
    }
    assert home.file.stat().st_mode & 0o777 == 0o600


def test_a_server_of_ones_own_is_written_with_its_address(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code, shown = home.answer("other", "openai/mine", "http://10.0.0.1:8000/v1", "", "", "n")
    assert code == 0, shown
    assert tomllib.loads(home.file.read_text()) == {
        "model": "openai/mine",
        "model_base_url": "http://10.0.0.1:8000/v1",
    }


def test_the_address_of_the_model_before_does_not_get_the_next_one_s_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.file.parent.mkdir()
    home.file.write_text('# mine\nmodel = "openai/x"\nmodel_base_url = "http://old/v1"\nmode = "plan"\n')
    code, shown = home.answer("groq", "llama", "gsk-1", "n")
    assert code == 0, shown
    assert home.file.read_text() == (
        '# mine\nmodel = "groq/llama"\nmodel_base_url = ""\nmode = "plan"\n\n[keys]\nGROQ_API_KEY = "gsk-1"\n'
    )


def test_the_environment_that_goes_before_the_file_is_mentioned(tmp_path: Path) -> None:
    home = Home(tmp_path, {"HERMES_EDITOR_MODEL": "a/b", "OPENAI_API_KEY": "sk-from-the-environment"})
    code, shown = home.answer("openai", "gpt-x", "", "n")
    assert code == 0, shown
    assert "Enter keeps …ment" in shown
    assert "The environment sets HERMES_EDITOR_MODEL, which goes before the file" in shown
    assert tomllib.loads(home.file.read_text()) == {"model": "openai/gpt-x"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("x", "y", "z"), "No provider was chosen. Nothing was written."),
        (("other", "gpt"), "'gpt' does not name a model"),
        (("other", "openai/x", "ftp://x"), "'ftp://x' is no http or https URL"),
        (("1", "", "k y", "k\u00e9y", "k y"), "No usable key was entered"),
    ],
)
def test_answers_that_make_no_sense_end_it_with_nothing_written(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    home = Home(tmp_path)
    code, shown = home.answer(*lines)
    assert code == 1
    assert message in shown
    assert not home.file.exists()


def test_a_model_is_tested_when_that_is_asked_for(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"parts": [{"text": "Yes."}]}\n')
    home = Home(tmp_path)
    code, shown = home.answer("other", f"scripted/{script}", "", "", "y")
    assert code == 0, shown
    assert f"scripted/{script} answers: Yes." in shown


def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.file.parent.mkdir()
    home.file.write_text('keys = {OPENAI_API_KEY = "x"}\n')
    code, shown = home.answer("openai", "", "sk-2", "n")
    assert code == 1
    assert "was left alone" in shown
    assert "sk-2" not in shown
    assert home.file.read_text() == 'keys = {OPENAI_API_KEY = "x"}\n'
