"""`hermes-editor sessions diff` and `rewind`: what a session changed, seen and taken back from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.sessions_home import PATIENCE, Home, Hosted, row, turn
from tests.workspace.checkpoints.trees import git, new_repository

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    home = Hosted(tmp_path / "home")
    home.path.mkdir()
    yield home
    home.end()


PATCH = """\
diff --git a/src/main.py b/src/main.py
index {old}..{new} 100644
--- a/src/main.py
+++ b/src/main.py
@@ -1,5 +1,5 @@
 one
-two
+TWO
 three
 four
 five
"""


async def worked(hosted: Hosted, repo: Path) -> str:
    """A session of two turns, whose server has ended; its id."""
    edit = {
        "tool": "edit_file",
        "arguments": {"path": "src/main.py", "edits": [{"old": "two\n", "new": "TWO\n"}]},
    }
    made = {"tool": "write_file", "arguments": {"path": "made.txt", "content": "made\n"}}
    done = {"parts": [{"text": "Done"}]}
    hosted.play({"parts": [edit]}, done, {"parts": [made]}, done)
    async with hosted.window() as (agent, _), asyncio.timeout(4 * PATIENCE):
        session = await agent.call("session/new", {"cwd": str(repo), "mcpServers": []})
        where = {"sessionId": session["sessionId"]}
        await agent.call("session/set_mode", {**where, "modeId": "accept_edits"})
        for words in ("Shout", "Make a file"):
            await agent.call("session/prompt", {**where, "prompt": [{"type": "text", "text": words}]})
        await agent.call("session/close", where)
    return str(session["sessionId"])


@pytest.mark.slow
async def test_what_was_changed_is_shown_and_taken_back(hosted: Hosted, tmp_path: Path) -> None:
    repo = new_repository(tmp_path / "repo")
    session_id = await worked(hosted, repo)

    code, out, err = await hosted.command("diff", session_id)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line[:4] in ("diff", "--- ", "+++ ")] == [
        "diff --git a/made.txt b/made.txt",
        "--- /dev/null",
        "+++ b/made.txt",
        "diff --git a/src/main.py b/src/main.py",
        "--- a/src/main.py",
        "+++ b/src/main.py",
    ]
    code, out, _ = await hosted.command("diff", session_id, "--turn", "2")
    head = out.splitlines()[1].split(" ")[1]
    assert (code, out) == (0, PATCH.format(old=head.split("..")[0], new=head.split("..")[1]))
    code, out, _ = await hosted.command("diff", session_id, "--json")
    (stretch,) = json.loads(out)
    assert [item["title"] for item in stretch["turns"]] == ["Shout", "Make a file"]
    assert [(item["path"], item["kind"]) for item in stretch["files"]] == [
        ("made.txt", "added"),
        ("src/main.py", "modified"),
    ]
    assert (await hosted.command("diff", session_id, "--turn", "3"))[0] == 2

    code, out, _ = await hosted.command("rewind", session_id)
    head, _, *turns = out.splitlines()
    assert (code, head) == (
        0,
        "The last turns, the latest first. `--turns 2` goes back to before the second one.",
    )
    assert [line.split(" (")[0] for line in turns] == ["1. “Make a file”", "2. “Shout”"]
    assert all(line.endswith("), changed files") for line in turns)
    assert (repo / "made.txt").exists()
    code, out, _ = await hosted.command("rewind", session_id, "--turns", "2")
    assert (code, "- `made.txt` is gone again" in out) == (0, True)
    assert ((repo / "made.txt").exists(), (repo / "src/main.py").read_text()[4:7]) == (False, "two")
    assert await hosted.command("diff", session_id) == (0, "", "The session changed no files.\n")
    code, out, _ = await hosted.command("rewind", session_id, "--turns", "1")
    assert (code, out) == (1, "There is no turn that could be taken back.\n")


@pytest.mark.slow
async def test_it_goes_through_the_server_that_has_the_session_open(hosted: Hosted, tmp_path: Path) -> None:
    repo = new_repository(tmp_path / "repo")
    session_id = await worked(hosted, repo)
    async with hosted.window() as (agent, window), asyncio.timeout(4 * PATIENCE):
        await agent.call("session/load", {"sessionId": session_id, "cwd": str(repo), "mcpServers": []})
        code, out, err = await hosted.command("rewind", session_id[:-2], "--turns", "1")
        assert (code, err, "“Make a file”" in out) == (0, "", True)
        assert not (repo / "made.txt").exists()
        texts = [
            item["content"]["text"] for item in window.updates if item["sessionUpdate"].endswith("_chunk")
        ]
        assert "/rewind 1" in texts
        assert out == texts[-1] + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("running", [False, True])
async def test_checkpoints_go_with_their_session(hosted: Hosted, tmp_path: Path, running: bool) -> None:
    repo = new_repository(tmp_path / "repo")
    session_id = await worked(hosted, repo)
    (store,) = hosted.path.rglob("checkpoints.git")

    def named() -> bytes:
        return git(repo, f"--git-dir={store}", "for-each-ref", "--format=%(refname)", "refs/checkpoints/")

    assert session_id.encode() in named()
    if not running:
        await hosted.command("delete", session_id)
    else:
        async with hosted.window():
            await hosted.command("delete", session_id)
    assert named() == b""


def test_a_session_without_checkpoints_has_nothing_to_show(tmp_path: Path, capsys: Captured) -> None:
    home = Home(tmp_path)
    home.hold(row(1, cwd=str(tmp_path)), said=turn())
    assert home.run("diff", "s1") == 1
    assert capsys.readouterr().err == "The session changed no files.\n"
    assert home.run("diff", "s9") == 1


@pytest.mark.parametrize("turns", ["0", "-1", "two", "\u0661"])
def test_a_number_of_turns_is_a_positive_number(tmp_path: Path, capsys: Captured, turns: str) -> None:
    with pytest.raises(SystemExit):
        Home(tmp_path).run("rewind", "s1", f"--turns={turns}")
    assert "is no number of turns" in capsys.readouterr().err
