"""`hermes-editor demo` as a person starts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hermes_acp import config

pytestmark = pytest.mark.slow


def test_the_demo_shows_the_whole_loop_in_80_columns_without_colours_on_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hermes_acp", "demo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    for part in (
        "The model of this demonstration is scripted",
        "asks      May the agent do this? python -m unittest",
        "(*) Allow `python -m unittest` for this session",
        "run       python -m unittest: failed",
        "-    return price - price * percent",
        "+    return price - price * percent / 100",
        "run       python -m unittest: completed",
        "history   loaded: the window shows the same text",
        "preference, in the project: Always note fixes there.",
        "I will remember that the orders are kept in SQLite.",
        "git       merge orders",
        "Everything went as it should.",
    ):
        assert part in done.stdout


def test_the_demo_says_when_git_is_missing() -> None:
    env = dict(config.environment()) | {"PATH": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-m", "hermes_acp", "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
    )
    assert done.returncode == 1
    assert "git is not installed" in done.stderr
