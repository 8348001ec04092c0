"""Refused means refused: a client that rejects everything, and every way there is to write a file."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acp.harness import Agent, choosing
from tests.acp.script import Json, calls, parts, says
from tests.security.repos import commit, git

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

NEW = """\
diff --git a/made.txt b/made.txt
new file mode 100644
--- /dev/null
+++ b/made.txt
@@ -0,0 +1 @@
+made
"""
RENAMED = """\
diff --git a/there.txt b/made.txt
similarity index 100%
rename from there.txt
rename to made.txt
"""


def command(text: str, **more: object) -> Json:
    return calls("run_command", command=text, **more)


def together(*answers: Json) -> Json:
    """The calls of several answers in one, which run one after the other."""
    steps = [part for answer in answers for part in answer["parts"]]
    return parts(*({**step, "id": str(number)} for number, step in enumerate(steps)))


COMMANDS = {
    "redirect": "echo made > made.txt",
    "redirect-in-group": "{ echo made; } > made.txt",
    "redirect-no-command": "> made.txt",
    "append": "echo made >> made.txt",
    "clobber": "echo made >| made.txt",
    "both-streams": "ls nothing &> made.txt",
    "read-and-write": "cat <> made.txt",
    "descriptor": "exec 7> made.txt; echo made >&7",
    "here-document": "cat > made.txt << END\nmade\nEND",
    "substitution": "ls $(echo made > made.txt)",
    "process-substitution": "cat there.txt > >(cat > made.txt)",
    "arithmetic": "echo $(( $(touch made.txt) + 1 ))",
    "behind-a-harmless-one": "ls && touch made.txt",
    "in-the-background": "touch made.txt & wait",
    "newline": "ls\ntouch made.txt",
    "tee": "echo made | tee made.txt",
    "touch": "touch made.txt",
    "cp": "cp there.txt made.txt",
    "mv": "mv there.txt made.txt",
    "ln": "ln there.txt made.txt",
    "ln-s": "ln -s there.txt made.txt",
    "dd": "dd if=there.txt of=made.txt",
    "install": "install there.txt made.txt",
    "truncate": "truncate -s 3 made.txt",
    "mkdir": "mkdir made.txt",
    "mkfifo": "mkfifo made.txt",
    "sed-i": "sed -i s/there/made/ there.txt",
    "sed-w": "sed 'w made.txt' there.txt",
    "awk": "awk '{ print > \"made.txt\" }' there.txt",
    "sort-o": "sort -o made.txt there.txt",
    "find": "find there.txt -fprint made.txt",
    "find-exec": "find there.txt -exec cp {} made.txt ;",
    "xargs": "echo made.txt | xargs touch",
    "env": "env touch made.txt",
    "timeout": "timeout 5 touch made.txt",
    "python": 'python3 -c \'open("made.txt", "w")\'',
    "perl": "perl -e 'open F, \">made.txt\"'",
    "bash-c": "bash -c 'touch made.txt'",
    "eval": "eval 'touch made.txt'",
    "source": "source <(echo touch made.txt)",
    "function": "ls() { touch made.txt; }; ls",
    "git-apply": "git apply new.diff",
    "git-checkout": "git checkout other -- made.txt",
    "git-output": "git diff --output=made.txt",
    "git-alias": "git -c alias.x='!touch made.txt' x",
    "git-pager": "git -c core.pager='tee made.txt' --paginate log",
    "patch": "patch -p1 < new.diff",
    "tar": "tar xf made.tar",
    "variable": "x=made.txt; touch $x",
    "home": "cp there.txt ~/made.txt",
}
"""Commands by what does it; each would write `made.txt`, or change `there.txt`."""

WRITE = calls("write_file", path="made.txt", content="made\n")

ROUTES: Mapping[str, Json] = {
    "write_file": WRITE,
    "edit_file": calls("edit_file", path="there.txt", edits=[{"old": "there", "new": "made"}]),
    "apply_patch": calls("apply_patch", patch=NEW),
    "apply_patch-rename": calls("apply_patch", patch=RENAMED),
    "several-at-once": together(WRITE, WRITE, WRITE),
    "again-and-otherwise": together(WRITE, command("echo > made.txt"), calls("apply_patch", patch=NEW)),
    "background": command("touch made.txt", background=True, name="b"),
    "terminal": command("touch made.txt", pty=True),
    "fresh-shell": command("touch made.txt", shell="fresh"),
    "other-folder": command("touch ../made.txt", cwd="sub"),
    "process-send": together(
        command("cat", background=True, name="c"),
        calls("process", action="send", id="c", text="made\n"),
        command("cat > made.txt", background=True, name="d"),
        calls("process", action="send", id="d", text="made\n"),
        calls("process", action="kill", id="c"),
    ),
    "alias-of-the-shell": together(command("alias ls='touch made.txt'"), command("ls")),
    "path-of-the-shell": together(command("export PATH=$PWD/sub:$PATH"), command("ls")),
    "git_commit": calls("git_commit", message="made", paths=["there.txt"]),
    **{name: command(text) for name, text in COMMANDS.items()},
}

SCRIPT = {name: [answer, says("Done.")] for name, answer in ROUTES.items()}


@pytest.fixture
def repository(cwd: Path) -> Path:
    """A repository with everything that the routes start from."""
    git(cwd, "init", "-q", "-b", "main")
    (cwd / "there.txt").write_text("there\n")
    (cwd / "new.diff").write_text(NEW)
    (cwd / "sub").mkdir()
    (cwd / "sub" / "ls").write_text("#!/bin/sh\ntouch made.txt\n")
    (cwd / "sub" / "ls").chmod(0o755)
    commit(cwd, "one")
    git(cwd, "switch", "-q", "-c", "other")
    (cwd / "made.txt").write_text("made\n")
    subprocess.run(["tar", "cf", "made.tar", "made.txt"], cwd=cwd, check=True)
    git(cwd, "add", "made.txt")
    git(cwd, "commit", "-q", "-m", "two")
    git(cwd, "switch", "-q", "main")
    (cwd / "there.txt").write_text("there, changed\n")
    return cwd


def files(folder: Path) -> dict[str, bytes | None]:
    """Everything around the project but what git keeps."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if ".git" not in path.parts
    }


@pytest.mark.parametrize("name", ROUTES)
async def test_what_was_refused_does_not_happen_on_any_route(
    agent: Agent, repository: Path, name: str
) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_once")
    before, commit = files(repository.parent), git(repository, "rev-parse", "HEAD")
    session = await agent.new(repository)
    assert await session.prompt(name) == "end_turn"
    assert files(repository.parent) == before
    assert git(repository, "rev-parse", "HEAD") == commit
    assert agent.home is not None
    assert list(agent.home.rglob("made.txt")) == []
    assert agent.asked, "nothing was asked, so nothing was refused"


@pytest.mark.parametrize("name", ["write_file", "apply_patch", "touch", "background", "sed-i"])
async def test_a_plan_changes_nothing_and_asks_for_nothing(agent: Agent, repository: Path, name: str) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    before = files(repository.parent)
    session = await agent.new(repository)
    await session.request("session/set_mode", modeId="plan")
    assert await session.prompt(name) == "end_turn"
    assert (files(repository.parent), agent.asked) == (before, [])


@pytest.mark.parametrize("name", ["write_file", "redirect"])
async def test_what_was_refused_in_a_worktree_is_not_applied(
    agent: Agent, repository: Path, name: str
) -> None:
    agent.handlers["session/request_permission"] = choosing("reject_once")
    before = files(repository.parent)
    session = await agent.new(repository)
    await session.request("session/set_config_option", configId="isolation", value="worktree")
    assert await session.prompt(name) == "end_turn"
    assert await session.prompt("/apply") == "end_turn"
    assert files(repository.parent) == before
    assert agent.asked
