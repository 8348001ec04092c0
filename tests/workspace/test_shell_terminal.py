"""Commands that somebody types into: terminals, pipes, and the moment when they wait."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit, PermitMismatch
from hermes_acp.workspace.execution.base import (
    END_OF_INPUT,
    ExecutionError,
    HeldProcess,
    Launch,
    WindowSize,
    typed,
)
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.process import LocalProcess
from hermes_acp.workspace.execution.shell_state import ShellState

PATIENCE = 30.0
"""Seconds that a test waits for something that normally takes milliseconds."""

QUIET = 0.05
"""Seconds after which these commands count as quiet."""

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process waits for")


@pytest_asyncio.fixture
async def execution():
    local = LocalExecution({"PATH": os.defpath, "HOME": "/"}, quiet=QUIET)
    yield local
    await local.aclose()


async def start(execution: LocalExecution, command: str, cwd: Path = Path("/"), **launch) -> LocalProcess:
    return await execution.start(permit(command), Launch(command, str(cwd), **launch))


async def at_terminal(execution: LocalExecution, command: str, **launch) -> LocalProcess:
    return await start(execution, command, terminal=WindowSize(100, 30), **launch)


def permit(command: str) -> Permit:
    return Permit(Effect("execute", "", command=command))


async def type_into(process: LocalProcess, command: str, text: str) -> None:
    await process.send(permit(typed(command, text)), text)


async def finish(process: LocalProcess) -> tuple[ExitStatus, str]:
    async with asyncio.timeout(PATIENCE):
        return await process.wait(), (await process.output()).text


async def asked(process: LocalProcess) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await process.asked()


@pytest.mark.parametrize("state", [None, ShellState("/")])
async def test_a_command_with_a_terminal_sees_one_of_that_size(execution, state):
    process = await at_terminal(
        execution, 'tty; stty size; echo "$TERM"; [ -t 0 ] && [ -t 2 ] && : </dev/tty', shell=state
    )
    status, output = await finish(process)
    assert status == ExitStatus(0)
    terminal, *rest = output.split("\r\n")
    assert terminal.startswith("/dev/")
    assert rest == ["30 100", "xterm-256color", ""]


async def test_the_shell_lasts_with_a_terminal_too(execution):
    process = await at_terminal(execution, "cd /usr; export A=1", shell=ShellState("/"))
    await finish(process)
    assert await process.left() == ShellState("/usr", {"A": "1", "OLDPWD": "/"})


async def test_a_question_at_the_terminal_is_noticed_and_answered(execution):
    command = "read -p 'Go on? ' answer; echo got $answer"
    process = await at_terminal(execution, command)
    assert await asked(process)
    await type_into(process, command, "yes\n")
    assert await finish(process) == (ExitStatus(0), "Go on? yes\r\ngot yes\r\n")


async def test_a_password_that_is_asked_for_at_the_terminal_is_noticed(execution):
    command = "read -s -p 'Password: ' word </dev/tty 2>/dev/tty; echo; echo ${#word}"
    process = await at_terminal(execution, command)
    assert await asked(process)
    await type_into(process, command, "secret\n")
    assert (await finish(process))[1] == "Password: \r\n6\r\n"


@LINUX
async def test_a_program_that_polls_for_an_answer_is_noticed(execution):
    script = (
        "import select, sys; print('>>> ', end='', flush=True); select.select([0], [], []); print(input())"
    )
    command = f'{sys.executable} -c "{script}"'
    process = await at_terminal(execution, command)
    assert await asked(process)
    await type_into(process, command, "answer\n")
    assert (await finish(process))[0] == ExitStatus(0)


@LINUX
@pytest.mark.parametrize(
    "command", ["echo done; sleep 300", "printf 'Working ... '; sleep 300", "exec sleep 300"]
)
async def test_a_command_that_only_takes_its_time_does_not_ask(execution, command):
    process = await at_terminal(execution, command)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET * 6):
            await process.asked()
    assert not await process.asks()


async def test_a_command_that_ends_did_not_ask(execution):
    assert not await asked(await at_terminal(execution, "echo done"))


async def test_a_command_without_input_never_waits_for_it(execution):
    process = await start(execution, "cat; echo done")
    assert not process.takes_input
    assert await finish(process) == (ExitStatus(0), "done\n")


@LINUX
async def test_a_background_command_reads_what_is_sent_until_the_input_ends(execution):
    command = "while read -r line; do echo got $line; done; echo end"
    process = await start(execution, command, background=True)
    assert await asked(process)
    await type_into(process, command, "one\ntwo\n")
    await type_into(process, command, f"three\n{END_OF_INPUT}")
    assert await finish(process) == (ExitStatus(0), "got one\ngot two\ngot three\nend\n")


async def test_an_interrupt_is_typed_like_any_character(execution):
    command = "trap 'echo caught; exit 5' INT; echo ready; sleep 300"
    process = await at_terminal(execution, command)
    async with asyncio.timeout(PATIENCE):
        await anext(process.chunks())
    await type_into(process, command, "\x03")
    status, output = await finish(process)
    assert status == ExitStatus(5)
    assert output.endswith("caught\r\n")


async def test_a_killed_command_at_a_terminal_is_gone(execution):
    process = await at_terminal(execution, "sleep 300")
    await process.kill()
    assert process.exit() is not None
    assert not process.takes_input


async def test_what_is_not_read_is_refused_after_a_while_and_the_loop_stays_free(execution):
    command = "sleep 300"
    process = await start(execution, command, background=True)
    async with asyncio.TaskGroup() as group:
        typing = group.create_task(refused(type_into(process, command, "x" * 200_000)))
        await asyncio.sleep(0)
        assert not typing.done()
        await process.kill()
    # Which of the two is noticed first is a race.
    assert re.search("takes no input any more|has closed its input", typing.result())


async def refused(sending) -> str:
    with pytest.raises(ExecutionError) as error:
        await sending
    return str(error.value)


async def test_an_ended_command_takes_no_input(execution):
    process = await start(execution, "true", background=True)
    await finish(process)
    assert "has ended" in await refused(type_into(process, "true", "x"))


async def test_a_command_that_closed_its_input_says_so(execution, tmp_path):
    os.mkfifo(tmp_path / "closed")
    command = "exec <&-; echo > closed; sleep 300"
    process = await start(execution, command, tmp_path, background=True)
    await asyncio.to_thread((tmp_path / "closed").read_text)
    assert "has closed its input" in await refused(type_into(process, command, "x"))


async def test_typing_needs_a_permit_for_exactly_that_text(execution):
    process = await start(execution, "cat", background=True)
    with pytest.raises(PermitMismatch):
        await process.send(permit(typed("cat", "yes")), "no")


async def test_terminals_leave_no_descriptors(execution):
    await finish(await at_terminal(execution, "true"))
    before = await asyncio.to_thread(open_descriptors)
    for _ in range(3):
        await finish(await at_terminal(execution, "true"))
        await finish(await start(execution, "true", background=True))
    assert await asyncio.to_thread(open_descriptors) == before


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_process_of_this_machine_is_held(execution):
    assert isinstance(await start(execution, "true"), HeldProcess)
