"""Real commands, real process trees."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit, PermitMismatch
from hermes_acp.workspace.execution import exits
from hermes_acp.workspace.execution.base import ExecutionError, Launch, Output
from hermes_acp.workspace.execution.descendants import MARK, Entry, end_tree, from_ps, parse_ps, parse_stat
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.process import LocalProcess
from hermes_acp.workspace.execution.transcript import BACKLOG_CHARACTERS, Backlog, Transcript

PATIENCE = 30.0
"""Seconds that a test waits for something that normally takes milliseconds."""

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(1), os.close(2)
        open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
        os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(300)
    os._exit(0)
os.wait()
time.sleep(300)
"""

SERVER = """
import asyncio, os, sys
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.workspace.execution.base import Launch
from hermes_acp.workspace.execution.local import LocalExecution
async def main():
    execution = LocalExecution({"PATH": os.defpath})
    command = sys.argv[1]
    permit = Permit(Effect("execute", "", command=command))
    process = await execution.start(permit, Launch(command, "/"))
    async for text in process.chunks():
        print(text, end="", flush=True)
asyncio.run(main())
"""


@pytest_asyncio.fixture
async def execution():
    environment = {"PATH": os.defpath, "HOME": "/", "PAGER": "less", "SAID": "hello"}
    local = LocalExecution(environment)
    yield local
    await local.aclose()


async def start(execution: LocalExecution, command: str, cwd: Path, **launch: bool) -> LocalProcess:
    permit = Permit(Effect("execute", "", command=command, cwd=str(cwd)))
    return await execution.start(permit, Launch(command, str(cwd), **launch))


async def finish(process: LocalProcess) -> tuple[ExitStatus, Output]:
    async with asyncio.timeout(PATIENCE):
        return await process.wait(), await process.output()


async def numbers(process: LocalProcess, count: int) -> list[int]:
    """Process ids that the command prints, a line each."""
    text = ""
    async with asyncio.timeout(PATIENCE):
        async for chunk in process.chunks():
            text += chunk
            if text.count("\n") >= count:
                break
    return [int(line) for line in text.split()]


async def all_dead(*pids: int, patience: float = 0) -> bool:
    """Whether all are gone (or dead and only wait for their parent), now or within the patience."""
    return await asyncio.to_thread(_all_dead, pids, time.monotonic() + patience)


def _all_dead(pids: tuple[int, ...], deadline: float) -> bool:
    while not all(map(_dead, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ended_by_signal(process: LocalProcess) -> bool:
    """By either: on a busy machine the grace after SIGTERM may be too short for anybody."""
    return process.exit() in (ExitStatus(None, "SIGTERM"), ExitStatus(None, "SIGKILL"))


async def process_id(file: Path) -> int:
    return int(await asyncio.to_thread(file.read_text))


async def test_a_command_gives_its_output_and_exit_code(execution, tmp_path):
    process = await start(execution, "pwd; echo oops >&2; exit 3", tmp_path)
    assert await finish(process) == (ExitStatus(3), Output(f"{tmp_path}\noops\n"))
    assert process.exit() == ExitStatus(3)


async def test_a_command_that_a_signal_ends_names_it(execution, tmp_path):
    process = await start(execution, "kill -USR1 $$", tmp_path)
    assert await finish(process) == (ExitStatus(None, "SIGUSR1"), Output(""))


async def test_commands_see_the_given_environment_and_nothing_interactive(execution, tmp_path):
    process = await start(execution, 'echo "$SAID $TERM $PAGER $GIT_TERMINAL_PROMPT"; cat', tmp_path)
    assert await finish(process) == (ExitStatus(0), Output("hello dumb cat 0\n"))


async def test_a_command_that_looks_like_an_option_is_a_command(execution, tmp_path):
    status, output = await finish(await start(execution, "-l", tmp_path))
    assert status == ExitStatus(127)
    assert "not found" in output.text


async def test_output_arrives_while_the_command_runs(execution, tmp_path):
    os.mkfifo(tmp_path / "go")
    process = await start(execution, "echo first; read line < go; echo $line", tmp_path)
    chunks = process.chunks()
    async with asyncio.timeout(PATIENCE):
        assert await anext(chunks) == "first\n"
        await asyncio.to_thread((tmp_path / "go").write_text, "second\n")
        assert await anext(chunks) == "second\n"
        assert [chunk async for chunk in chunks] == []


async def test_characters_cut_between_two_reads_stay_whole_and_bad_bytes_are_replaced(execution, tmp_path):
    os.mkfifo(tmp_path / "go")
    process = await start(execution, r"printf 'a\342\202'; read x < go; printf '\254\377b\342'", tmp_path)
    chunks = process.chunks()
    async with asyncio.timeout(PATIENCE):
        text = await anext(chunks)
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
        async for chunk in chunks:
            text += chunk
    assert text == "a€�b�"
    assert await process.output() == Output("a€�b�")


async def test_a_flood_keeps_its_head_and_tail(execution, tmp_path):
    process = await start(execution, "seq 1 300000", tmp_path)
    status, output = await finish(process)
    whole = "".join(f"{number}\n" for number in range(1, 300_001))
    assert status == ExitStatus(0)
    assert output == Output(whole[-24_000:], len(whole) - 32_000, whole[:8_000])


async def test_a_reader_who_keeps_up_misses_nothing(execution, tmp_path):
    process = await start(execution, "seq 1 100000", tmp_path)
    async with asyncio.timeout(PATIENCE):
        text = "".join([chunk async for chunk in process.chunks()])
    assert text == "".join(f"{number}\n" for number in range(1, 100_001))


async def test_a_reader_who_comes_late_gets_the_newest_with_a_note(execution, tmp_path):
    process = await start(execution, "yes | head -c 3000000", tmp_path)
    await finish(process)
    chunks = [chunk async for chunk in process.chunks()]
    assert chunks == ["\n[… 2000000 characters dropped …]\n" + "y\n" * (BACKLOG_CHARACTERS // 2)]


async def test_memory_stays_flat_over_a_hundred_megabytes(execution, tmp_path):
    await finish(await start(execution, "true", tmp_path))
    before = await asyncio.to_thread(resident_bytes)
    async with asyncio.timeout(PATIENCE * 6):
        process = await start(execution, "yes | head -c 100000000", tmp_path)
        status, output = await process.wait(), await process.output()
    assert (status, output.dropped) == (ExitStatus(0), 100_000_000 - 32_000)
    assert await asyncio.to_thread(resident_bytes) - before < 32_000_000


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


async def test_a_child_that_keeps_the_pipe_open_does_not_keep_a_finished_command(execution, tmp_path):
    process = await start(execution, "sleep 300 & echo $!", tmp_path)
    (child,) = await numbers(process, 1)
    status, output = await finish(process)
    note = "[1 process(es) that the command had left running were ended]"
    assert (status, output) == (ExitStatus(0), Output(f"{child}\n\n{note}\n"))
    assert await all_dead(child)


async def test_a_child_without_the_pipe_is_ended_with_its_command_too(execution, tmp_path):
    process = await start(execution, "sleep 300 >/dev/null 2>&1 & echo $!", tmp_path)
    (child,) = await numbers(process, 1)
    await finish(process)
    assert await all_dead(child)


async def test_what_finishes_right_after_the_shell_is_still_read(execution, tmp_path):
    process = await start(execution, "echo late > >(sleep 0.02; cat)", tmp_path)
    assert await finish(process) == (ExitStatus(0), Output("late\n"))


async def test_a_daemon_that_left_the_session_survives_a_command_that_ended_well(execution, tmp_path):
    command = f"{sys.executable} -c '{DAEMON}' {tmp_path}/pid & while [ ! -e pid ]; do sleep 0.01; done"
    await finish(await start(execution, command, tmp_path))
    daemon = await process_id(tmp_path / "pid")
    assert not await all_dead(daemon)
    os.kill(daemon, signal.SIGKILL)


async def test_a_background_command_lasts_as_long_as_what_it_started(execution, tmp_path):
    os.mkfifo(tmp_path / "up")
    os.mkfifo(tmp_path / "go")
    command = "(echo $$ > up; read x < go) >/dev/null 2>&1 &"
    process = await start(execution, command, tmp_path, background=True)
    shell = await process_id(tmp_path / "up")
    assert await all_dead(shell, patience=PATIENCE)
    assert process.exit() is None
    await asyncio.to_thread((tmp_path / "go").write_text, "\n")
    assert await finish(process) == (ExitStatus(0), Output(""))


async def test_kill_ends_every_descendant(execution, tmp_path):
    command = (
        "sleep 300 & echo $!; setsid sleep 301 & echo $!; (setsid -f sh -c 'echo $$; exec sleep 302'); "
        "(sleep 303 & exec sleep 304) & echo $!; "
        f"{sys.executable} -c '{DAEMON}' {tmp_path}/pid & echo $!; "
        "while [ ! -e pid ]; do sleep 0.01; done; echo $$; wait"
    )
    process = await start(execution, command, tmp_path)
    pids = [*await numbers(process, 6), await process_id(tmp_path / "pid")]
    await process.kill()
    assert await all_dead(*pids)
    assert ended_by_signal(process)


async def test_kill_does_not_wait_for_a_command_that_ignores_sigterm(execution, tmp_path):
    process = await start(execution, "trap '' TERM; echo $$; while :; do sleep 300; done", tmp_path)
    await numbers(process, 1)
    await process.kill()
    assert process.exit() == ExitStatus(None, "SIGKILL")


async def test_a_stopped_command_can_be_killed(execution, tmp_path):
    process = await start(execution, "echo $$; kill -STOP $$; echo never", tmp_path)
    (pid,) = await numbers(process, 1)
    await process.kill()
    assert ended_by_signal(process)
    assert await all_dead(pid)


async def test_sigterm_leaves_time_to_clean_up(execution, tmp_path):
    process = await start(
        execution, "trap 'rm lock; exit 7' TERM; touch lock; sleep 300 & echo 1; wait", tmp_path
    )
    await numbers(process, 1)
    await asyncio.to_thread(end_tree, process.tree, PATIENCE)
    assert (await finish(process))[0] == ExitStatus(7)
    assert not await asyncio.to_thread((tmp_path / "lock").exists)


async def test_a_kill_that_is_cancelled_kills_all_the_same(execution, tmp_path):
    process = await start(execution, "trap '' TERM; echo $$; while :; do sleep 300; done", tmp_path)
    (pid,) = await numbers(process, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await process.kill()
    assert (await finish(process))[0] == ExitStatus(None, "SIGKILL")
    assert await all_dead(pid)


async def test_killing_twice_and_after_the_end_is_harmless(execution, tmp_path):
    process = await start(execution, "sleep 300", tmp_path)
    await asyncio.gather(process.kill(), process.kill())
    await process.kill()
    await process.release()
    assert ended_by_signal(process)


async def test_a_start_that_is_cancelled_leaves_no_process(execution, tmp_path):
    await finish(await start(execution, "true", tmp_path))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await start(execution, f"touch {tmp_path}/started; exec sleep 305", tmp_path)
    await execution.aclose()
    command_lines = await asyncio.to_thread(command_lines_of_all)
    assert ["sleep", "305"] not in command_lines


def command_lines_of_all() -> list[list[str]]:
    return [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]


async def test_many_commands_run_at_once(execution, tmp_path):
    async def echo(number: int) -> tuple[ExitStatus, Output]:
        return await finish(await start(execution, f"echo {number}", tmp_path))

    results = await asyncio.gather(*(echo(number) for number in range(40)))
    assert results == [(ExitStatus(0), Output(f"{number}\n")) for number in range(40)]


async def test_running_commands_need_no_threads_and_leave_no_descriptors(execution, tmp_path):
    await finish(await start(execution, "true", tmp_path))
    descriptors = await asyncio.to_thread(open_descriptors)
    processes = [await start(execution, "sleep 300", tmp_path) for _ in range(12)]
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("command")]) <= 4
    await asyncio.gather(*(process.release() for process in processes))
    assert await asyncio.to_thread(open_descriptors) == descriptors


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_closing_kills_what_runs_and_refuses_new_commands(execution, tmp_path):
    process = await start(execution, "echo $$; sleep 300", tmp_path)
    (pid,) = await numbers(process, 1)
    await execution.aclose()
    assert await all_dead(pid)
    with pytest.raises(ExecutionError, match="shutting down"):
        await start(execution, "true", tmp_path)


@pytest.mark.parametrize(
    ("command", "folder", "reason"),
    [
        ("true", "missing", "The working directory .*missing cannot be entered .No such file"),
        ("true", "file", "The working directory .*file cannot be entered .Not a directory"),
        ("echo a\0b", ".", "leave out NUL characters"),
        ("echo " + "x" * 200_000, ".", "write it to a script file"),
    ],
)
async def test_a_command_that_cannot_start_says_why(execution, tmp_path, command, folder, reason):
    (tmp_path / "file").touch()
    with pytest.raises(ExecutionError, match=reason):
        await start(execution, command, tmp_path / folder)


async def test_nothing_runs_without_a_permit_for_exactly_this_command(execution, tmp_path):
    permit = Permit(Effect("execute", "", command="true"))
    with pytest.raises(PermitMismatch):
        await execution.start(permit, Launch("true; false", str(tmp_path)))


@pytest.mark.parametrize(
    "inner", ["echo $$; sleep 300; true", "setsid sh -c 'echo $$; sleep 300; true' & wait"]
)
async def test_a_server_killed_without_warning_takes_its_commands_along(inner, tmp_path):
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVER,
        inner,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            pid = int(await server.stdout.readline())
        children = await asyncio.to_thread(lambda: psutil.Process(pid).children())
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        server.kill()
        await server.wait()
    assert await all_dead(pid, *(child.pid for child in children), patience=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while any(tmp_path.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_guard_that_somebody_killed_does_not_stop_commands(execution, tmp_path):
    await finish(await start(execution, "true", tmp_path))
    assert await asyncio.to_thread(kill_guards) == 1
    assert await finish(await start(execution, "echo on", tmp_path)) == (ExitStatus(0), Output("on\n"))


def kill_guards() -> int:
    guards = [child for child in psutil.Process().children() if "hermes-editor-guard" in child.cmdline()]
    for guard in guards:
        guard.kill()
        guard.wait()
    return len(guards)


async def test_the_end_is_noticed_by_a_thread_where_descriptors_are_missing():
    child = await asyncio.to_thread(subprocess.Popen[bytes], ["/bin/sh", "-c", "exit 4"])
    ended = asyncio.Event()
    exits.watch_by_thread(child, ended.set)
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    assert child.poll() == 4


def test_a_process_name_cannot_confuse_the_reading_of_stat():
    rest = "1 40 41 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 1 1"
    assert parse_stat(f"42 (a) Z 9 (x) S {rest}") == Entry(42, 1, 40, 41, 777)
    assert parse_stat(f"42 (sh) Z {rest}") is None


def test_ps_listings_are_read_without_the_dead():
    assert parse_ps("  1     0     1 Ss\n 12    1    11 Z+\n 13   1   11 R\n") == [
        Entry(1, 0, 1),
        Entry(13, 1, 11),
    ]


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="needs ps")
def test_ps_lists_ourselves():
    assert Entry(os.getpid(), os.getppid(), os.getpgrp()) in from_ps()


def test_a_transcript_of_small_pieces_equals_one_of_a_large_piece():
    text = "".join(chr(97 + number % 26) for number in range(1_000))
    whole, pieces = Transcript(head=10, tail=30), Transcript(head=10, tail=30)
    whole.add(text)
    for start_at in range(0, len(text), 7):
        pieces.add(text[start_at : start_at + 7])
    assert whole.output() == pieces.output() == Output(text[-30:], 960, text[:10])


def test_a_transcript_that_fits_is_kept_whole():
    transcript = Transcript(head=10, tail=30)
    transcript.add("x" * 40)
    assert transcript.output() == Output("x" * 40)


def test_a_backlog_is_empty_after_it_was_taken():
    backlog = Backlog(5)
    backlog.add("abc")
    backlog.add("defg")
    assert (backlog.take(), backlog.take()) == ("\n[… 2 characters dropped …]\ncdefg", "")


def test_the_mark_is_one_of_our_own_variables():
    assert MARK.startswith("HERMES_EDITOR_")
