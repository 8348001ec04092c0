"""In the sandbox git works, and nothing in its folders can be made to run programs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermes_acp.events import ExitStatus
from hermes_acp.workspace.execution.sandbox.repository import MODULES
from tests.escape.cells import Ground, git, git_outside

DONE = ExitStatus(0)


async def linked(ground: Ground) -> Path:
    """A linked worktree, which is the workspace from then on."""
    path = ground.workspace.parent / "linked"
    await git_outside(ground.workspace, "worktree", "add", "-qb", "topic", str(path))
    ground.roots = (str(path),)
    return path


WORK = (
    "echo one >> file && git add file && git commit -qm one",
    "git branch side && git checkout -q side && echo two >> other && git add other && git commit -qm two",
    "git checkout -q - && git merge -q --no-edit side",
    "echo three >> file && git stash && git stash pop && git commit -qam three",
    "git checkout -qb base HEAD~1 && echo four > four && git add four && git commit -qm four",
    "git rebase -q side && git tag v1 && git branch -D side && git gc -q && git log --oneline && git status",
)


@pytest.mark.parametrize("place", ["in place", "in a linked worktree", "below the top of the repository"])
async def test_everyday_git_works(ground: Ground, place: str) -> None:
    cwd = ground.workspace
    if place == "in a linked worktree":
        cwd = await linked(ground)
    elif place == "below the top of the repository":
        cwd = ground.workspace / "src"
        ground.roots = (str(cwd),)
    for command in WORK:
        status, said = await ground.run(command, cwd)
        assert status == DONE, f"{command}: {said}"
    assert await git_outside(cwd, "log", "-1", "--format=%s", "v1") == "four\n"
    assert await git_outside(cwd, "fsck", "--strict", "--no-dangling") == ""


async def test_a_commit_in_a_linked_worktree_leaves_the_other_trees_alone(ground: Ground) -> None:
    tree = await linked(ground)
    main = ground.workspace / ".git"
    await ground.run(f"echo x > {ground.workspace}/src/main.py; rm -rf {ground.workspace}/src", tree)
    assert (ground.workspace / "src" / "main.py").read_text() == "print('hi')\n"
    await git_outside(ground.workspace, "worktree", "add", "-qb", "third", str(tree.parent / "third"))
    await ground.run(f"echo x > {main}/worktrees/third/commondir; rm -rf {main}/worktrees/third", tree)
    assert (main / "worktrees" / "third" / "commondir").read_text() == "../..\n"


TRICKS = (
    "echo 'touch PWNED' > {common}/hooks/post-commit; chmod +x {common}/hooks/post-commit",
    "mv {common}/hooks {common}/gone; mkdir {common}/hooks; cp evil {common}/hooks/post-commit",
    "rm -rf {common}/hooks; ln -s $PWD {common}/hooks",
    "git config core.fsmonitor ./evil; git config core.hooksPath .; git config alias.x '!./evil'",
    "printf '[core]\\nfsmonitor = ./evil\\n' >> {common}/config",
    "mv {common}/config {common}/c; printf '[core]\\nfsmonitor = ./evil\\n' > {common}/config",
    "printf '[core]\\nfsmonitor = ./evil\\n' > {common}/config.worktree; cp {common}/config.worktree {git}/",
    "printf '* filter=evil\\n' > {common}/info/attributes",
    "mv {common}/info {common}/i; mkdir {common}/info; printf '* filter=evil\\n' > {common}/info/attributes",
    "mkdir {common}/evil; cp -r {common}/* {common}/evil; echo evil > {common}/commondir",
    "mv .git g; cp -r {common} .git; printf '[core]\\nfsmonitor = ./evil\\n' >> .git/config",
    "rm -f .git; echo gitdir: $PWD/evil.git > .git",
    "echo $PWD/evil.git > {git}/commondir; echo /nowhere > {git}/gitdir",
    "git init -q --separate-git-dir=$PWD/other .",
    "mv {common} {common}.gone",
)


@pytest.mark.parametrize("place", ["in place", "in a linked worktree"])
@pytest.mark.parametrize("present", [True, False], ids=["all files there", "files missing"])
async def test_nothing_that_git_runs_can_be_planted(ground: Ground, place: str, *, present: bool) -> None:
    common = ground.workspace / ".git"
    for name in ("hooks/post-commit.sample", "info/exclude"):
        (common / name).unlink(missing_ok=True)
    if not present:
        await asyncio.to_thread(lambda: [path.unlink() for path in (common / "hooks").iterdir()])
        (common / "hooks").rmdir()
        (common / "info").rmdir()
    cwd = await linked(ground) if place == "in a linked worktree" else ground.workspace
    private = Path((await git_outside(cwd, "rev-parse", "--absolute-git-dir")).strip())
    (cwd / "evil").write_text("#!/bin/sh\ntouch PWNED\n")
    (cwd / "evil").chmod(0o755)
    before = await asyncio.to_thread(guarded, common, private, cwd)
    for trick in TRICKS:
        await ground.run(trick.format(common=common, git=private), cwd)
        assert await asyncio.to_thread(guarded, common, private, cwd) == before, trick
    await git_outside(cwd, "commit", "-q", "--allow-empty", "-m", "outside")
    await git_outside(cwd, "status")
    assert not (cwd / "PWNED").exists()


def guarded(common: Path, private: Path, cwd: Path) -> dict[str, object]:
    """What decides which programs git runs, as far as it is there."""
    names = ("config", "config.worktree", "commondir", "info/attributes", "hooks")
    found = {str(path / name): (path / name) for path in (common, private) for name in names}
    if private != common:
        found["gitdir"] = private / "gitdir"
    found["gitfile"] = cwd / ".git"
    return {
        name: sorted(item.name for item in path.iterdir())
        if path.is_dir() and name != "gitfile"
        else path.read_text()
        if path.is_file()
        else path.exists()
        for name, path in found.items()
        if path.exists()
    }


async def test_holders_go_with_the_last_command(ground: Ground) -> None:
    common = ground.workspace / ".git"
    assert not (common / "config.worktree").exists()
    process = await ground.start("sleep 100", background=True)
    assert (common / "config.worktree").exists()
    await ground.run("true")
    assert (common / "config.worktree").exists()
    await process.kill()
    assert not (common / "config.worktree").exists()


async def test_a_gitfile_that_lies_opens_nothing(ground: Ground) -> None:
    other = ground.workspace.parent / "other"
    await asyncio.to_thread(other.mkdir)
    await git_outside(other, "init", "-q")
    liar = ground.workspace.parent / "liar"
    await asyncio.to_thread(liar.mkdir)
    (liar / ".git").write_text(f"gitdir: {other}/.git\n")
    ground.roots = (str(liar),)
    await ground.run(f"echo x > {other}/.git/description; git commit --allow-empty -qm x", liar)
    assert "Unnamed" in (other / ".git" / "description").read_text()
    assert not list((other / ".git" / "refs" / "heads").iterdir())


async def test_hooks_that_the_configuration_puts_elsewhere_are_guarded_there(ground: Ground) -> None:
    hooks = ground.workspace / "scripts"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\n")
    await git_outside(ground.workspace, "config", "core.hooksPath", "scripts")
    await ground.run("echo touch PWNED >> scripts/pre-commit; echo x > scripts/post-commit")
    assert [(path.name, path.read_text()) for path in hooks.iterdir()] == [("pre-commit", "#!/bin/sh\n")]


async def test_what_the_configuration_names_and_is_not_there_is_taken_away_when_a_command_makes_it(
    ground: Ground,
) -> None:
    await git_outside(ground.workspace, "config", "core.hooksPath", "scripts/hooks")
    await git_outside(ground.workspace, "config", "include.path", "../local.conf")
    _, said = await ground.run(
        "mkdir -p scripts/hooks && echo touch PWNED > scripts/hooks/pre-commit; echo x > local.conf"
    )
    assert f"{ground.workspace}/local.conf, {ground.workspace}/scripts/hooks, which is protected" in said
    assert not (ground.workspace / "local.conf").exists()
    assert not (ground.workspace / "scripts" / "hooks").exists()


async def test_a_submodule_commits_and_keeps_its_hooks(ground: Ground, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    await git_outside(library, "init", "-q")
    await git_outside(library, "commit", "-q", "--allow-empty", "-m", "x")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib")
    await asyncio.to_thread(git, ground.workspace, *add)
    await git_outside(ground.workspace, "commit", "-qm", "lib")
    status, said = await ground.run(
        "cd lib && echo x > x && git add x && git commit -qm x && git log --oneline"
    )
    assert status == DONE, said
    module = ground.workspace / ".git" / "modules" / "lib"
    await ground.run(f"echo x >> {module}/config; echo x > {module}/hooks/post-commit; echo x > lib/.git")
    await ground.run("echo ../../../src > .git/modules/lib/commondir; rm -f .git/modules/lib/HEAD")
    assert not (module / "commondir").exists()
    evil = "mkdir -p .git/modules/lib; printf '[core]\\nfsmonitor = ./evil\\n' > .git/modules/lib/config"
    for moved in (".git/modules/lib", ".git/modules", "lib"):
        await ground.run(f"mv {moved} away; {evil}; mkdir -p lib; echo gitdir: ../evil > lib/.git")
        await ground.run(f"rm -rf {moved} away; {evil}; mkdir -p lib; echo gitdir: ../evil > lib/.git")
    assert not (module / "hooks" / "post-commit").exists()
    assert "fsmonitor" not in await asyncio.to_thread((module / "config").read_text)
    assert (ground.workspace / "lib" / ".git").read_text().startswith("gitdir: ../.git")


async def test_decoys_hide_no_submodule(ground: Ground) -> None:
    module = ground.workspace / ".git" / "modules" / "m"
    decoys = [module.parent / name / str(number) for name in ("a", "z") for number in range(MODULES)]
    for folder in (module, *decoys):
        await asyncio.to_thread(folder.mkdir, parents=True)
        (folder / "config").write_text("mine\n")
    await ground.run("echo evil > .git/modules/m/config; rm -rf .git/modules/*")
    assert (module / "config").read_text() == "mine\n"
