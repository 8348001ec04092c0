"""Other processes, the network and the environment: none of it can be reached."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit, PermitMismatch
from hermes_acp.policy.sandbox import Confinement
from hermes_acp.workspace.execution.base import Launch, WindowSize
from hermes_acp.workspace.execution.sandbox import sandbox
from hermes_acp.workspace.execution.shell_state import ShellState
from tests.escape.cells import Ground

DONE = ExitStatus(0)
PYTHON = shlex.join([*sandbox.PYTHON, "-c"])


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user with a secret in its environment."""
    process = subprocess.Popen(["sleep", "100"], env={"CANARY": "of-the-environment"})
    yield process
    process.kill()
    process.wait()


async def appears(path: Path) -> None:
    async with asyncio.timeout(60):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_other_processes_cannot_be_signalled_traced_or_read(
    ground: Ground, bystander: subprocess.Popen[bytes]
) -> None:
    pid = bystander.pid
    trace = f"import ctypes; print(ctypes.CDLL(None).ptrace(16, {pid}, 0, 0))"
    for command in (
        f"kill -KILL {pid}",
        f"kill -STOP {pid}",
        f"kill -KILL {os.getpid()}",
        f"cat /proc/{pid}/environ",
        "cat /proc/$PPID/environ",
        f"cat /proc/{os.getpid()}/environ",
        f"cat /proc/{pid}/mem",
        f"{PYTHON} {shlex.quote(trace)} | grep -x 0",
        f"ls /proc/{pid}/root/ /proc/{pid}/cwd/ /proc/{pid}/fd",
    ):
        status, said = await ground.run(command)
        if "PPID" not in command:
            assert status.code != 0, f"{command}: {said}"
        assert "of-the-environment" not in said
    assert bystander.poll() is None
    assert Path(f"/proc/{pid}/stat").read_text().split()[2] == "S"


async def test_a_signal_to_everybody_reaches_nobody_else(
    ground: Ground, bystander: subprocess.Popen[bytes]
) -> None:
    await ground.run("kill -TERM -1; true")
    assert bystander.poll() is None


async def test_secrets_of_the_server_are_not_in_the_environment(ground: Ground) -> None:
    os.environ["CANARY_OF_THE_SERVER"] = "canary"
    try:
        _, said = await ground.run("env; cat /proc/*/environ | tr '\\0' '\\n'")
    finally:
        del os.environ["CANARY_OF_THE_SERVER"]
    assert "CANARY_OF_THE_SERVER" not in said


async def test_everything_inside_ends_when_it_is_killed(ground: Ground) -> None:
    mark = ground.workspace / "src" / "alive"
    forever = "while :; do date +%N > src/alive; sleep 0.02; done"
    process = await ground.start(
        f"trap '' TERM HUP; (setsid bash -c {shlex.quote(forever)} &); env -i bash -c {shlex.quote(forever)}"
    )
    await appears(mark)
    await process.kill()
    before = mark.read_text()
    await asyncio.sleep(0.1)
    assert mark.read_text() == before


async def test_what_a_command_leaves_running_is_ended_with_it(ground: Ground) -> None:
    status, said = await ground.run("sleep 100 & echo started")
    assert status == DONE
    assert said.startswith("started\n")
    assert "1 process(es) that the command had left running were ended" in said


async def test_a_background_command_lasts_as_long_as_its_children(ground: Ground) -> None:
    process = await ground.start("(sleep 0.5; echo late) & echo early", background=True)
    await process.wait()
    assert (await process.output()).text == "early\nlate\n"


async def test_a_term_signal_lets_it_tidy_up(ground: Ground) -> None:
    process = await ground.start(
        "trap 'rm src/lock; exit' TERM; touch src/lock; while :; do sleep 0.01; done"
    )
    await appears(ground.workspace / "src" / "lock")
    await process.kill()
    assert not (ground.workspace / "src" / "lock").exists()


async def test_the_exit_code_and_the_shell_come_out(ground: Ground) -> None:
    process = await ground.start(
        "cd src; export A=1; alias hi='echo hi'; f() { :; }; false", shell=ShellState(str(ground.workspace))
    )
    assert await process.wait() == ExitStatus(1)
    state = await process.left()
    assert (state.cwd, state.exported, set(state.aliases), state.functions.names) == (
        f"{ground.workspace}/src",
        {"A": "1", "OLDPWD": str(ground.workspace)},
        {"hi"},
        {"f"},
    )
    again = await ground.start("hi; echo $A; pwd", shell=state, cwd=ground.workspace / "src")
    await again.wait()
    assert (await again.output()).text == f"hi\n1\n{ground.workspace}/src\n"


async def test_a_command_that_nobody_reads_from_any_more_ends_silently(ground: Ground) -> None:
    assert await ground.run("yes | head -n 1") == (DONE, "y\n")


async def test_a_terminal_works(ground: Ground) -> None:
    command = "test -t 0 && stty size && read -r line </dev/tty && echo got $line >/dev/stderr"
    process = await ground.start(command, terminal=WindowSize(), background=True)
    permit = Permit(Effect("execute", "", command=f"{command} <<< {shlex.quote(chr(104) + chr(10))}"))
    await process.send(permit, "h\n")
    assert await process.wait() == DONE
    assert (await process.output()).text.replace("\r", "").split("\n")[-2] == "got h"


async def test_input_reaches_a_command_in_the_background(ground: Ground) -> None:
    process = await ground.start("read -r line; echo got $line", background=True)
    permit = Permit(Effect("execute", "", command="read -r line; echo got $line <<< 'x\n'"))
    await process.send(permit, "x\n")
    assert await process.wait() == DONE
    assert (await process.output()).text == "got x\n"


# --- the network ---------------------------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def connect(port: int) -> str:
    return f"exec 3<>/dev/tcp/127.0.0.1/{port}"


async def test_nothing_on_this_machine_or_elsewhere_can_be_reached(
    ground: Ground, listening: socket.socket
) -> None:
    port = listening.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        for command in (
            connect(port),
            "exec 3<>/dev/tcp/192.0.2.1/80",
            "exec 3<>/dev/udp/192.0.2.1/53 && echo x >&3",
            "getent hosts example.org",
        ):
            status, said = await ground.run(f"timeout 5 bash -c {shlex.quote(command)}")
            assert status.code not in (0, 124), f"{command}: {said}"
        await ground.run(f"echo x > /dev/udp/127.0.0.1/{udp.getsockname()[1]}")
        with pytest.raises(BlockingIOError):
            udp.recv(10)
    with pytest.raises(BlockingIOError):
        listening.accept()


async def test_a_server_of_its_own_can_be_reached_inside(ground: Ground) -> None:
    text = (
        "import _socket as s; a = s.socket(); a.bind(('127.0.0.1', 0)); a.listen(); b = s.socket();"
        "b.connect(a.getsockname()); print('connected')"
    )
    assert await ground.run(f"{PYTHON} {shlex.quote(text)}") == (DONE, "connected\n")


async def test_the_network_can_be_switched_on(ground: Ground, listening: socket.socket) -> None:
    ground.network = True
    assert await ground.run(connect(listening.getsockname()[1])) == (DONE, "")
    listening.accept()[0].close()


async def test_sockets_of_other_programs_cannot_be_reached(ground: Ground) -> None:
    path = ground.outside / "server"
    name = f"hermes-escape-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(str(path))
        abstract.bind(f"\0{name}")
        for item in (server, abstract):
            item.listen()
            item.setblocking(False)
        for address in (str(path), f"\\0{name}"):
            text = f"import _socket as s; s.socket(s.AF_UNIX).connect('{address}')"
            status, said = await ground.run(f"{PYTHON} {shlex.quote(text)}")
            assert status.code != 0, said
        for item in (server, abstract):
            with pytest.raises(BlockingIOError):
                item.accept()


async def test_sockets_of_the_system_are_out_of_sight(ground: Ground) -> None:
    command = "find /run /var/run/ /tmp -type s 2>/dev/null"
    assert (await ground.run(command))[1] == ""


async def test_a_permit_for_the_sandbox_is_none_for_typing_outside(ground: Ground) -> None:
    process = await ground.execution.start(
        Permit(Effect("execute", "", command="cat")), Launch("cat", "/", background=True)
    )
    permit = Permit(Effect("execute", "", command="cat <<< x"), Confinement(("/",)))
    with pytest.raises(PermitMismatch):
        await process.send(permit, "x")
    await process.kill()
