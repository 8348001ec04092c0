"""What the sandbox is made of cannot be taken apart from inside, and the machine's devices are not there."""

from __future__ import annotations

import ctypes
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp.workspace.execution.sandbox import sandbox
from tests.escape.cells import Ground

KEY = 0x68657265

UNDO = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
config, secret, outside = map(os.fsencode, sys.argv[1:])
git, writable = os.path.dirname(config), struct.pack("4Q", 0, 1, 0, 0)
def attempts():
    for path in (b"/", config, outside):
        libc.syscall(442, -100, path, 0x8000, writable, 32)
        libc.mount(None, path, None, 0x20 | 0x1000, None)
    for path in (config, secret, b"/tmp", b"/dev"):
        libc.umount2(path, 2)
    libc.mount(b"none", git, b"tmpfs", 0, None)
    libc.mount(outside, git, None, 0x1000, None)
    libc.chroot(outside)
    for folder in (os.path.dirname(secret), git, outside):
        for flags in (0x8001, 1):
            copy = libc.syscall(428, -100, folder, flags)
            libc.syscall(442, copy, b"", 0x9000, writable, 32)
            change(lambda name: os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, dir_fd=copy))
            try: print(os.read(os.open(os.path.basename(secret), os.O_RDONLY, dir_fd=copy), 100))
            except OSError: pass
    change(lambda name: os.open(git + b"/" + name, os.O_WRONLY | os.O_APPEND))
    change(lambda name: os.open(outside + b"/" + name, os.O_WRONLY | os.O_CREAT))
    try: print(open(secret).read())
    except OSError: pass
def change(opened):
    for name in (b"config", b"canary"):
        try: os.write(opened(name), b"evil")
        except OSError: pass
attempts()
for namespaces in (0x20000, 0x10020000):
    if libc.unshare(namespaces) == 0: attempts()
"""


async def test_mounts_cannot_be_undone_even_in_namespaces_of_its_own(ground: Ground) -> None:
    config, secret = ground.workspace / ".git" / "config", ground.workspace / ".env"
    before = config.read_bytes()
    words = [*sandbox.PYTHON, "-c", UNDO, str(config), str(secret), str(ground.outside)]
    _, said = await ground.run(shlex.join(words))
    assert said.replace("b''\n", "") == ""
    assert config.read_bytes() == before
    assert [(path.name, path.read_text()) for path in ground.outside.iterdir()] == [("canary", "whole\n")]


async def test_tools_for_mounts_change_nothing(ground: Ground) -> None:
    config = ground.workspace / ".git" / "config"
    before = config.read_bytes()
    for command in (
        f"mount -o remount,rw,bind {config}; umount -l {config}; echo evil >> {config}",
        f"unshare -Urm sh -c 'mount -o remount,rw,bind {config}; umount -l {config}; echo evil >> {config}'",
        f"nsenter -t 1 -m sh -c 'echo evil >> {config}'",
        "unshare -Urm umount .env; cat .env",
    ):
        _, said = await ground.run(command)
        assert config.read_bytes() == before, command
        assert "canary" not in said


@pytest.fixture
def shared_file() -> Iterator[Path]:
    path = Path("/dev/shm", f"hermes-escape-{os.getpid()}")
    path.write_text("canary\n")
    yield path
    path.unlink()


async def test_shared_memory_of_others_cannot_be_reached(ground: Ground, shared_file: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(KEY, 4096, 0o1666)
    assert segment >= 0
    look = f"import ctypes; print(ctypes.CDLL(None).shmget({KEY}, 4096, 0o600))"
    try:
        assert (await ground.run(f"cat {shared_file}"))[0].code != 0
        assert (await ground.run(shlex.join([*sandbox.PYTHON, "-c", look])))[1] == "-1\n"
    finally:
        libc.shmctl(segment, 0, None)


async def test_a_terminal_of_somebody_else_cannot_be_written_to(ground: Ground) -> None:
    ours, theirs = os.openpty()
    try:
        os.set_blocking(ours, False)
        await ground.run(f"echo typed > {os.ttyname(theirs)}")
        with pytest.raises(BlockingIOError):
            os.read(ours, 10)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_settings_of_the_kernel_cannot_be_written(ground: Ground) -> None:
    for setting in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/self/oom_score_adj"):
        # What is there already, so that a success does no harm.
        status, _ = await ground.run(f"value=$(cat {setting}) && echo $value > {setting}")
        assert status.code != 0, setting
