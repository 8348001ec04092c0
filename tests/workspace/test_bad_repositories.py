"""Repositories in every bad state, lived through by a session: opened, looked at, undone, isolated.

What checkpoints, worktrees and git's words do in each state by themselves stands in their own tests. Here one
day of a session passes over each, and afterwards the repository is what it was, and everybody was told why.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.agent.opening import BadPlace
from hermes_acp.agent.options import BadOption
from hermes_acp.events import Notice, TurnEnded
from tests.agent.server import Window, act, call, serving
from tests.mounts import mounted
from tests.workspace.checkpoints.test_bad_input import AS_ROOT
from tests.workspace.checkpoints.trees import seen
from tests.workspace.repos import ENV, git, make

pytestmark = pytest.mark.slow

SCRIPT = [
    act(call("git", what="status"), when={"user": "^look"}),
    act(
        call("write_file", path="made.txt", content="agent\n"),
        call("run_command", command="echo agent > ran.txt"),
        when={"user": "^work"},
    ),
    act({"text": "ok"}, when={"result": ""}),
    act({"text": "hm"}, when={"user": "."}),
]
DONE = TurnEnded("end_turn")
MADE = {b"made.txt", b"ran.txt"}
PRECIOUS = ("index", "HEAD", "MERGE_HEAD", "ORIG_HEAD", "index.lock", "logs/refs/stash", "packed-refs")


@dataclass(frozen=True)
class Told:
    """What a session was told on its day: empty where all went well."""

    git: str = ""
    undo: str = ""
    isolation: str = ""
    missed: tuple[str, ...] = field(default=())


@dataclass
class Case:
    """A repository in some state, in the place where the server of the tests looks for it."""

    folder: Path
    top: Path

    @classmethod
    def of(cls, folder: Path, files: dict[str, str], *options: str) -> Case:
        """A new one, with a stash where it has a commit."""
        made = make(folder / "made", files, *options)
        if files:
            made.write("a.txt", "stashed\n")
            made.git("stash", "-q")
        return cls(folder, made.top.rename(folder / "project"))

    def git(self, *words: str, status: int = 0) -> str:
        """Run git as the user would."""
        return git(self.top, *words, status=status)

    def write(self, name: str, text: str) -> None:
        """Edit as the user would."""
        (self.top / name).write_text(text)

    def precious(self) -> dict[str, bytes]:
        """What nobody but the user may change: all references and files of git's, but for ours."""
        own = self.top / ".git"
        files = [own / name for name in PRECIOUS]
        files += [file for file in (own / "refs").rglob("*") if "hermes" not in file.parts]
        return {str(file.relative_to(own)): file.read_bytes() for file in files if file.is_file()}

    def fsck(self) -> tuple[int, str]:
        """What git finds wrong."""
        command = ["git", "-c", "safe.directory=*", "-C", str(self.top), "fsck", "--strict", "--no-dangling"]
        run = subprocess.run(command, check=False, capture_output=True, env=ENV, text=True)
        # That there is no commit yet is nothing wrong.
        said = (line for line in (run.stdout + run.stderr).splitlines() if not line.startswith("notice: "))
        return run.returncode, "\n".join(sorted(said))

    async def day(self, *, sound: bool = True) -> Told:
        """Live through it: nothing is changed but what the agent was asked for, and that is taken back."""
        files, kept, health = seen(self.top), self.precious(), self.fsck()
        assert (health == (0, "")) == sound
        async with serving(self.folder, SCRIPT, mode="accept_edits") as desk:
            window = await desk.new()
            told = Told(
                await self._look(window),
                await self._undo(window),
                await self._isolate(window),
                tuple(str(item.description) for item in window.of(Notice) if item.severity == "warning"),
            )
        assert (seen(self.top), self.precious()) == (files, kept)
        assert self.fsck() == health
        return told

    async def _look(self, window: Window) -> str:
        """Let the agent ask git."""
        assert await window.prompt("look") == DONE
        outcome, text = window.results[-1]
        return "" if outcome == "completed" else text

    async def _undo(self, window: Window) -> str:
        """Let the agent work in place, and take that back."""
        before = seen(self.top)
        assert await window.prompt("work") == DONE
        assert seen(self.top).keys() - before.keys() == MADE
        assert await window.prompt("/undo") == DONE
        if seen(self.top) == before:
            return ""
        for name in ("made.txt", "ran.txt"):
            (self.top / name).unlink()
        return window.texts[-1]

    async def _isolate(self, window: Window) -> str:
        """Let it work apart, bring that home, and give the worktree up."""
        before = seen(self.top)
        try:
            await window.session.set_option("isolation", "worktree")
        except BadOption as error:
            return str(error)
        assert await window.prompt("work") == DONE
        assert seen(self.top) == before
        assert await window.prompt("/apply") == DONE
        said = window.texts[-1]
        if seen(self.top).keys() - before.keys() == MADE:
            said = ""
            for name in ("made.txt", "ran.txt"):
                (self.top / name).unlink()
        assert await window.prompt("/discard") == DONE
        assert window.session.choices.isolation == "in_place"
        return said


FILES = {"a.txt": "one\n", "dir/b.txt": "two\n"}
WELL = Told()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case.of(tmp_path, FILES)


# --- no commit, no branch, something in progress ---------------------------------------------------


async def test_an_unborn_head(tmp_path: Path) -> None:
    case = Case.of(tmp_path, {})
    case.write("a.txt", "one\n")
    case.git("add", "a.txt")
    told = await case.day()
    assert told == Told(isolation=told.isolation)
    assert "no commit yet" in told.isolation and "work in place" in told.isolation


async def test_an_empty_repository(tmp_path: Path) -> None:
    told = await Case.of(tmp_path, {}).day()
    assert told == Told(isolation=told.isolation)
    assert "no commit yet" in told.isolation


async def test_a_detached_head(case: Case) -> None:
    case.git("checkout", "-q", "--detach")
    assert await case.day() == WELL


@pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick"])
async def test_a_merge_or_rebase_in_progress(case: Case, command: str) -> None:
    case.git("checkout", "-q", "-b", "side")
    case.write("a.txt", "side\n")
    case.git("commit", "-q", "-a", "-m", "Side")
    case.git("checkout", "-q", "main")
    case.write("a.txt", "main\n")
    case.git("commit", "-q", "-a", "-m", "Main")
    case.git(command, "side", status=1)
    assert await case.day() == WELL


# --- a damaged or held repository ------------------------------------------------------------------


async def test_an_index_lock_that_nobody_holds(case: Case) -> None:
    (case.top / ".git" / "index.lock").touch()
    assert await case.day() == WELL


async def test_an_index_lock_that_another_git_holds(case: Case) -> None:
    gate = case.folder / "gate"
    os.mkfifo(gate)
    hook = case.top / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho held >&2\nread _ < {gate}\n")
    hook.chmod(0o755)
    case.write("a.txt", "mine\n")
    command = ("git", "-C", str(case.top), "commit", "-q", "-a", "-m", "Mine")
    running = await asyncio.create_subprocess_exec(*command, env=ENV, stderr=asyncio.subprocess.PIPE)
    assert running.stderr is not None
    assert await running.stderr.readline() == b"held\n"
    assert (case.top / ".git" / "index.lock").exists()
    assert await case.day() == WELL
    await asyncio.to_thread(gate.write_text, "go on\n")
    assert (await running.wait(), case.git("log", "-1", "--format=%s")) == (0, "Mine")


@pytest.mark.parametrize("size", [0, 20])
async def test_a_truncated_index(case: Case, size: int) -> None:
    index = case.top / ".git" / "index"
    index.write_bytes(index.read_bytes()[:size])
    told = await case.day(sound=False)
    assert told == Told(git=told.git, isolation=told.isolation)
    for text in (told.git, told.isolation):
        assert "The index is damaged: `rm .git/index` and `git reset` make a new one" in text


async def test_an_index_that_was_truncated_behind_a_whole_entry(case: Case) -> None:
    index = case.top / ".git" / "index"
    index.write_bytes(index.read_bytes()[:100])
    # git takes it for whole, unless it checks.
    case.git("status", "--porcelain")
    told = await case.day(sound=False)
    assert told == Told(isolation=told.isolation)
    assert "The index is damaged: `rm .git/index` and `git reset` make a new one" in told.isolation


async def test_missing_objects(case: Case) -> None:
    blob = case.git("rev-parse", "HEAD:dir/b.txt")
    (case.top / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    told = await case.day(sound=False)
    assert told == Told(isolation=told.isolation)
    assert "The worktree was not created" in told.isolation
    assert "`git fsck` says which" in told.isolation


@AS_ROOT
async def test_a_repository_of_somebody_else(case: Case) -> None:
    for path in (case.top, *case.top.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    told = await case.day()
    assert told.undo == ""
    for text in (told.git, told.isolation):
        assert "belongs to another user" in text and "safe.directory" in text


async def test_a_repository_with_sha256_names(tmp_path: Path) -> None:
    assert await Case.of(tmp_path, FILES, "--object-format=sha256").day() == WELL


# --- worktrees and branches ------------------------------------------------------------------------


async def test_a_worktree_of_the_session_that_was_deleted(case: Case) -> None:
    kept = case.precious()
    async with serving(case.folder, SCRIPT, mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        shutil.rmtree(window.session.place.cwd)
        ended = await window.prompt("work")
        assert isinstance(ended, TurnEnded) and ended.stop_reason == "error"
        assert "is gone, so nothing was done. Bring it back, or" in str(ended.error)
        for command in ("/diff", "/apply", "/merge"):
            assert await window.prompt(command) == DONE
            assert "is gone: it was deleted or moved" in window.texts[-1]
        assert await window.prompt("/discard") == DONE
        assert await self_isolated(window)
    assert (case.precious(), case.fsck()) == (kept, (0, ""))


async def self_isolated(window: Window) -> bool:
    """Whether the session can go on in a worktree that is there."""
    await window.session.set_option("isolation", "worktree")
    assert await window.prompt("work") == DONE
    return (Path(window.session.place.cwd) / "made.txt").exists()


async def test_a_worktree_of_the_session_that_was_moved(case: Case) -> None:
    async with serving(case.folder, SCRIPT, mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        await window.prompt("work")
        place = Path(window.session.place.cwd)
        case.git("worktree", "unlock", str(place))
        case.git("worktree", "move", str(place), str(case.folder / "elsewhere"))
        assert isinstance(await window.prompt("work"), TurnEnded)
        assert await window.prompt("/apply") == DONE
        assert "is of another project" in window.texts[-1]
        case.git("worktree", "move", str(case.folder / "elsewhere"), str(place))
        assert await window.prompt("/apply") == DONE
        assert (case.top / "made.txt").read_text() == "agent\n"
    assert case.fsck() == (0, "")


async def test_a_session_in_a_worktree_of_the_user_that_was_moved(case: Case) -> None:
    case.git("worktree", "add", "-q", "-b", "side", str(case.folder / "side"))
    side = case.folder / "side"
    async with serving(case.folder, SCRIPT, mode="accept_edits") as desk:
        window = desk.watch(await desk.server.sessions.create(desk.opening(side)))
        assert await window.prompt("work") == DONE
        session_id = window.session.session_id
        await desk.server.sessions.close(session_id)
        moved = side.rename(case.folder / "moved")
        with pytest.raises(BadPlace, match="side"):
            await desk.server.sessions.open(session_id, desk.opening(side))
        window = desk.watch(await desk.server.sessions.create(desk.opening(moved)))
        assert await window.prompt("look") == DONE
        assert window.results[-1][0] == "completed"
        await window.session.set_option("isolation", "worktree")
        assert await window.prompt("/discard") == DONE
    assert case.fsck() == (0, "")


async def test_a_branch_that_is_checked_out_elsewhere(case: Case) -> None:
    case.git("worktree", "add", "-q", "-b", "hermes/session", str(case.folder / "taken"))
    case.git("worktree", "add", "-q", "--force", str(case.folder / "twin"), "main")
    assert await case.day() == WELL
    async with serving(case.folder, SCRIPT, mode="accept_edits") as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        assert Path(window.session.place.cwd).name == "session-2"
        await window.prompt("work")
        assert await window.prompt("/merge Work") == DONE
        assert "main is checked out in several worktrees: merge it yourself" in window.texts[-1]
    assert case.git("log", "-1", "--format=%s") == "First"


# --- odd files ---------------------------------------------------------------------------------------


async def test_names_that_differ_in_case_alone(tmp_path: Path) -> None:
    case = Case.of(tmp_path, {"a.txt": "one\n", "Readme": "upper\n", "README": "lower\n"})
    case.git("config", "core.ignoreCase", "true")
    assert await case.day() == WELL


async def test_names_that_differ_in_their_unicode_form_alone(tmp_path: Path) -> None:
    case = Case.of(tmp_path, {"a.txt": "one\n", "caf\u00e9.txt": "one\n", "cafe\u0301.txt": "two\n"})
    case.git("config", "core.precomposeUnicode", "true")
    case.write("e\u0301.txt", "new\n")
    assert await case.day() == WELL


async def test_links_that_lead_out_of_the_tree(case: Case) -> None:
    outside = case.folder / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("private\n")
    shutil.rmtree(case.top / "dir")
    (case.top / "dir").symlink_to(outside)
    (case.top / "made").symlink_to(outside / "b.txt")
    (case.top / "nowhere").symlink_to("/nonexistent/x")
    assert await case.day() == WELL
    assert seen(outside) == {b"b.txt": ("file", b"private\n", 0o644)}


async def test_sockets_and_pipes(case: Case) -> None:
    os.mkfifo(case.top / "pipe")
    (case.top / "dir" / "b.txt").unlink()
    os.mkfifo(case.top / "dir" / "b.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(case.top / "socket"))
        told = await case.day()
    assert told == Told(isolation=told.isolation)
    assert "stands where git knows a file: move it away" in told.isolation


async def test_a_file_of_two_gibibytes(case: Case) -> None:
    with (case.top / "huge.bin").open("wb") as file:
        file.truncate(2 * 1024**3)
    async with serving(case.folder, SCRIPT, mode="accept_edits") as desk:
        before = set(case.top.iterdir())
        window = await desk.new()
        assert await window.prompt("work") == DONE
        assert await window.prompt("/undo") == DONE
        assert set(case.top.iterdir()) == before
        await window.session.set_option("isolation", "worktree")
        apart = Path(window.session.place.cwd)
        with (apart / "huge.bin").open("wb") as file:
            file.truncate(2 * 1024**3)
        await window.prompt("work")
        assert await window.prompt("/diff") == DONE
        assert "`huge.bin` is left out" in window.texts[-1]
    assert (case.top / "huge.bin").stat().st_size == 2 * 1024**3
    assert case.fsck() == (0, "")


# --- a full disk -------------------------------------------------------------------------------------


@contextmanager
def little_room(case: Case) -> Iterator[None]:
    """What we keep of projects has no room for what is in this one."""
    (case.folder / "home" / "data").mkdir(parents=True)
    with mounted(case.folder / "home" / "data" / "projects", "size=2m"):
        (case.top / "noise.bin").write_bytes(os.urandom(4_000_000))
        yield


@AS_ROOT
async def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint(case: Case) -> None:
    with little_room(case):
        told = await case.day()
        assert "files" in told.undo
        assert all("No space left on device" in text for text in told.missed)
        assert told.missed
