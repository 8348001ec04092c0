"""Files outside the workspace, protected ones in it, and those that nobody may read."""

from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path

import pytest

from hermes_acp.events import ExitStatus
from hermes_acp.policy.sandbox import blame
from hermes_acp.workspace.execution.base import ExecutionError
from hermes_acp.workspace.execution.sandbox.sandbox import PYTHON
from tests.escape.cells import Ground

DONE = ExitStatus(0)
RACES = 10_000


def tree(folder: Path) -> dict[str, str]:
    """The texts of all files but those of git."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: path.read_text() for name, path in names.items() if not name.startswith(".git/")}


async def python(ground: Ground, text: str, *words: object) -> tuple[ExitStatus, str]:
    line = shlex.join([*PYTHON, "-c", text, *map(str, words)])
    return await ground.run(line)


async def test_work_in_the_workspace_succeeds(ground: Ground) -> None:
    made = "mkdir -p src/new && echo x > src/new/file && mv src/new/file src/new/other && rm src/main.py"
    status, said = await ground.run(f'{made} && echo "$HOME" && pwd')
    assert (status, said) == (DONE, f"{ground.home}\n{ground.workspace}\n")
    assert tree(ground.workspace / "src") == {"new/other": "x\n"}


async def test_files_outside_cannot_be_changed_in_any_way(ground: Ground) -> None:
    out = ground.outside
    tries = (
        f"echo x > {out}/canary",
        f"echo x >> {out}/canary",
        f"echo x > {out}/new",
        f"mkdir {out}/folder",
        f"rm -f {out}/canary",
        f"mv {out}/canary {out}/gone",
        f"mv {out}/canary src/gone",
        f"chmod 777 {out}/canary",
        f"touch {out}/canary",
        f"truncate -s 0 {out}/canary",
        f"ln {out}/canary src/hard && echo x > src/hard",
        f"ln -s {out}/canary src/soft; echo x > src/soft",
        f"ln -s {out} src/folder; echo x > src/folder/canary",
        "cd src; echo x > ../../outside/canary",
        f"echo x > /proc/self/root{out}/canary",
        "echo x > /proc/self/cwd/../outside/canary",
        f"echo x > /proc/$PPID/root{out}/canary",
        f"git -C {out} init",
        f"exec 3<{out}; echo x > /proc/self/fd/3/canary",
        f"echo x > {ground.home}/.bashrc",
        f"sed -i s/whole/broken/ {out}/canary",
    )
    before = (out / "canary").stat()
    for command in tries:
        await ground.run(command)
        assert tree(out) == {"canary": "whole\n"}, command
    after = (out / "canary").stat()
    assert (after.st_mode, after.st_uid, after.st_nlink) == (before.st_mode, before.st_uid, 1)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert tree(ground.home) == {".ssh/id_ed25519": "canary of a key\n"}


async def test_temporary_files_last_for_the_session_and_are_not_those_of_the_machine(ground: Ground) -> None:
    await ground.run('echo mine > "${TMPDIR:-/tmp}/hermes-escape-canary"')
    assert not os.path.lexists("/tmp/hermes-escape-canary")
    assert await ground.run('cat "${TMPDIR:-/tmp}/hermes-escape-canary"') == (DONE, "mine\n")


SWAP = """
import os, sys, threading
inside, outside, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
over = threading.Event()
def swap():
    for _ in range(rounds):
        try:
            os.symlink(outside, "s2"); os.replace("s2", "target")
            os.link(inside, "h2"); os.replace("h2", "target")
        except OSError: pass
    over.set()
threading.Thread(target=swap).start()
while not over.is_set():
    for way in (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        try:
            file = os.open("target", way); os.write(file, b"swapped"); os.close(file)
        except OSError: pass
"""


@pytest.mark.slow
async def test_swapping_links_ten_thousand_times_changes_nothing_outside(ground: Ground) -> None:
    await ground.run("echo a > src/inside")
    line = f"cd src && {shlex.join(PYTHON)} -c {shlex.quote(SWAP)}"
    async with asyncio.timeout(300):
        status, said = await ground.run(f"{line} inside {ground.outside}/canary {RACES}")
    assert (status, said) == (DONE, "")
    assert tree(ground.outside) == {"canary": "whole\n"}


async def test_a_swap_of_a_whole_folder_changes_nothing_outside(ground: Ground) -> None:
    await ground.run(f"mv src old && ln -s {ground.outside} src")
    await ground.run("echo x > src/canary", ground.workspace)
    assert tree(ground.outside) == {"canary": "whole\n"}


async def test_a_pipe_of_somebody_else_cannot_be_written_to(ground: Ground) -> None:
    pipe = ground.outside / "pipe"
    os.mkfifo(pipe)
    listening = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status, _ = await ground.run(f"echo x > {pipe}")
        assert status.code != 0
        assert os.read(listening, 10) == b""
    finally:
        os.close(listening)


async def test_secrets_cannot_be_read(ground: Ground) -> None:
    for path in (
        ground.home / ".ssh" / "id_ed25519",
        ground.hidden / "sessions.db",
        ground.workspace / ".env",
    ):
        for shown in (str(path), f"/proc/self/root{path}", f"/proc/$PPID/root{path}"):
            status, said = await ground.run(f"cat {shown}")
            assert status.code != 0
            assert "canary" not in said
    status, said = await ground.run(
        "ln .env src/env; cp .env src/copy; mv .env other; cat src/env src/copy other"
    )
    assert "canary" not in said
    assert (ground.workspace / ".env").read_text() == "TOKEN=canary\n"
    (ground.workspace / "src" / ".env").symlink_to(ground.home / "keys")
    (ground.home / "keys").write_text("canary\n")
    status, said = await ground.run("cat src/.env")
    assert status.code != 0
    assert "canary" not in said
    if os.geteuid() == 0:
        assert (await ground.run("cat /etc/shadow"))[0].code != 0


PROTECTED = (".vscode", ".envrc", ".github/workflows", "src/.idea", "src/sitecustomize.py")


async def test_protected_files_that_are_there_stay_as_they_are(ground: Ground) -> None:
    for name in PROTECTED:
        path = ground.workspace / name
        if "." in path.name[1:] or path.name == ".envrc":
            path.write_text("mine\n")
        else:
            path.mkdir(parents=True)
            (path / "file").write_text("mine\n")
    before = tree(ground.workspace)
    for name in PROTECTED:
        await ground.run(f"echo x > {name}; echo x > {name}/file; echo x > {name}/new; rm -rf {name}")
        await ground.run(f"mv {name} src/elsewhere; ln -sf {ground.outside}/canary {name}; touch {name}/x")
        for folder in (ground.workspace / name).relative_to(ground.workspace).parents:
            await ground.run(f"mv {folder} moved; mkdir -p {folder}; mkdir {name}; echo x > {name}")
        await ground.run("rm -rf moved src/elsewhere")
    assert tree(ground.workspace) == before


async def test_protected_files_that_a_command_makes_are_taken_away_and_said(ground: Ground) -> None:
    status, said = await ground.run(
        "mkdir -p src/a/.vscode && echo evil > src/a/.vscode/tasks.json; echo x > src/.envrc"
    )
    assert status == DONE
    assert (
        f"the command made {ground.workspace}/src/.envrc, {ground.workspace}/src/a/.vscode, which is" in said
    )
    assert tree(ground.workspace / "src") == {"main.py": "print('hi')\n"}
    kept = ground.workspace.parent / "logs" / "taken-from-commands"
    assert sorted(Path(name).name for name in tree(kept)) == [".envrc", "tasks.json"]


async def test_what_a_command_in_the_background_makes_is_only_said(ground: Ground) -> None:
    process = await ground.start("echo x > src/.envrc", background=True)
    await process.wait()
    assert "src/.envrc was made, which is protected: look at it" in (await process.output()).text
    assert (ground.workspace / "src" / ".envrc").exists()


async def test_a_hidden_folder_around_the_workspace_leaves_the_workspace(ground: Ground) -> None:
    tree_in_data = ground.hidden / "projects" / "p" / "worktrees" / "w"
    tree_in_data.mkdir(parents=True)
    ground.roots = (str(tree_in_data),)
    status, _ = await ground.run("mkdir sub && echo x > sub/file", tree_in_data)
    assert status == DONE
    assert tree(tree_in_data) == {"sub/file": "x\n"}
    assert (await ground.run(f"cat {ground.hidden}/sessions.db", tree_in_data))[0].code != 0


async def test_a_refusal_is_told_from_other_failures(ground: Ground) -> None:
    for command in (f"echo x > {ground.outside}/new", "cat .env"):
        status, said = await ground.run(command)
        assert status.code != 0
        assert blame(said)
    assert blame((await ground.run("false"))[1]) == ""


SWAP_FOLDERS = (
    "while :; do mv src/a src/real; ln -s $HOME src/a; rm src/a; mv src/real src/a; done 2>/dev/null"
)


async def test_links_that_another_command_swaps_in_meanwhile_open_nothing_outside(ground: Ground) -> None:
    for name in (".ssh", "file"):
        (ground.workspace / "src" / "a" / name).mkdir(parents=True)
    swapping = await ground.start(SWAP_FOLDERS, background=True)
    said = ""
    for _ in range(20):
        try:
            said += (await ground.run("cat src/*/.ssh/* ~/.ssh/*"))[1]
        except ExecutionError as refused:
            said += str(refused)
    await swapping.kill()
    assert "canary" not in said
