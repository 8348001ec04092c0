"""What the demonstration is about: a sample project with a bug, and the script that the model plays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

TEST_COMMAND = "python -m unittest"
FIRST_PROMPT = "The tests fail. Find out why and fix it."
SECOND_PROMPT = "Good. Now note the fix in CHANGES.md, please. Always note fixes there."
LESSON = "Always note fixes there."
LOOK_PROMPT = "/memory"
BRANCH = "orders"
DECIDED = "let's keep the orders in SQLite"
THIRD_PROMPT = f"Right, {DECIDED} and go on."
DECISION = "The orders are kept in SQLite."
THIRD_ANSWER = "I will remember that the orders are kept in SQLite."
BROKEN = "    return price - price * percent"
FIXED = "    return price - price * percent / 100"
SOURCE = "shop/prices.py"
NOTE = "CHANGES.md"
NOTE_TEXT = "# Changes\n\n- `discounted` takes its discount in percent again.\n"
FIRST_ANSWER = "The discount is taken in percent again, and both tests pass."
SECOND_ANSWER = "The fix is noted in CHANGES.md."

FILES = {
    "shop/__init__.py": "",
    SOURCE: f'''"""Prices of the shop."""


def discounted(price: float, percent: float) -> float:
    """The price after a discount in percent."""
{BROKEN}
''',
    "tests/__init__.py": "",
    "tests/test_prices.py": """import unittest

from shop.prices import discounted


class PriceTests(unittest.TestCase):
    def test_without_discount(self):
        self.assertEqual(discounted(80, 0), 80)

    def test_a_quarter_off(self):
        self.assertEqual(discounted(80, 25), 60)
""",
}

STEPS = ("Run the tests", "Read the code that fails", "Fix it", "Run the tests again")
GIT = ("git", "-c", "user.name=Demo", "-c", "user.email=demo@example.invalid", "-c", "commit.gpgSign=false")
GIT_SECONDS = 30


class NoProject(Exception):
    """The sample project could not be made; `str()` says why."""


def make_project(folder: Path, env: Mapping[str, str]) -> None:
    """Write the sample project and commit it; blocking. Raises `NoProject`."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    git(folder, env, "init", "--quiet")
    git(folder, env, "add", "--all")
    git(folder, env, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "Sell things")


def make_worktree(project: Path, env: Mapping[str, str]) -> Path:
    """A worktree of the project on a branch of its own; blocking. Raises `NoProject`."""
    folder = project.with_name(f"{project.name}-{BRANCH}")
    git(project, env, "worktree", "add", "--quiet", "-b", BRANCH, str(folder))
    return folder


def merge(project: Path, env: Mapping[str, str]) -> None:
    """Commit something on the branch and merge it; blocking. Raises `NoProject`."""
    folder = project.with_name(f"{project.name}-{BRANCH}")
    (folder / "shop" / "orders.py").write_text('DATABASE = "orders.sqlite"\n', "utf-8")
    for place, words in (
        (folder, ("add", "--all")),
        (folder, ("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "Keep orders")),
        (project, ("-c", "core.hooksPath=/dev/null", "merge", "--quiet", "--no-edit", "--no-ff", BRANCH)),
    ):
        git(place, env, *words)


def git(folder: Path, env: Mapping[str, str], *words: str) -> str:
    """The output of a git command; blocking. Raises `NoProject`."""
    try:
        done = subprocess.run(
            [*GIT, *words],
            cwd=folder,
            env=dict(env),
            check=True,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
        )
    except FileNotFoundError as error:
        raise NoProject("git is not installed: the demonstration works on a git repository.") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise NoProject(f"The sample repository could not be made: {error}.") from error
    return done.stdout


def write_script(path: Path) -> None:
    """Write what the model says, in order; blocking."""
    answers = [{"parts": parts} for parts in _answers()]
    path.write_text("".join(f"{json.dumps(answer)}\n" for answer in (*answers, *_decision())), "utf-8")


def _decision() -> list[dict[str, object]]:
    """What the model says to the third prompt, in a conversation of its own."""
    memory = _tool("memory", action="remember", kind="decision", key="database", text=DECISION, quote=DECIDED)
    return [
        {"when": {"user": DECIDED}, "parts": [memory]},
        {"when": {"user": DECIDED, "result": ""}, "parts": [{"text": THIRD_ANSWER, "chunks": 6}]},
    ]


def _answers() -> list[list[dict[str, object]]]:
    edit = {"path": SOURCE, "edits": [{"old": BROKEN, "new": FIXED}]}
    return [
        [
            {"thought": "I should see the failure before I look at the code.", "chunks": 6},
            {"text": "I will run the tests first.", "chunks": 5, "delay": 0.01},
            _plan(0),
            _tool("run_command", command=TEST_COMMAND),
        ],
        [
            {"text": "A discount of 25 % went wrong. Let me read the function.", "chunks": 8, "delay": 0.01},
            _tool("read_file", path=SOURCE),
        ],
        [
            {"thought": "The percentage is used as a fraction: it has to be divided by 100.", "chunks": 8},
            _plan(2),
            _tool("edit_file", **edit),
        ],
        [_plan(3), _tool("run_command", command=TEST_COMMAND)],
        [_plan(4)],
        [{"text": FIRST_ANSWER, "chunks": 8, "delay": 0.01}],
        [_tool("write_file", path=NOTE, content=NOTE_TEXT)],
        [{"text": SECOND_ANSWER, "chunks": 4, "delay": 0.01}],
    ]


def _plan(done: int) -> dict[str, object]:
    states = ("completed", "in_progress", "pending")
    entries = [
        {"content": step, "status": states[(place >= done) + (place > done)]}
        for place, step in enumerate(STEPS)
    ]
    return _tool("plan", entries=entries)


def _tool(name: str, **arguments: object) -> dict[str, object]:
    return {"tool": name, "arguments": arguments}
