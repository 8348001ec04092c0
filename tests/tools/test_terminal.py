"""Commands as the model runs them: what it reads, what the person sees, what is left behind."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from terminal_context import RecordingContext, call

from hermes_acp.content import TerminalRef, TextBlock
from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.tools import terminal_text
from hermes_acp.tools.background import BackgroundProcesses
from hermes_acp.tools.base import Description, ToolError, ToolResult
from hermes_acp.tools.terminal import terminal_tools
from hermes_acp.workspace.execution.base import ExecutionError, Launch, Output
from hermes_acp.workspace.execution.local import LocalExecution

PATIENCE = 50.0
"""Seconds that a test waits for something that normally takes milliseconds."""

QUIET = 0.05
"""Seconds after which these commands count as quiet."""

SIGNALS = (ExitStatus(None, "SIGTERM"), ExitStatus(None, "SIGKILL"))
"""Either: on a busy machine the grace after SIGTERM may be too short for anybody."""


@dataclass
class Terminal:
    """An editor's terminal whose command ends when the test says so."""

    terminal_id: str | None = "t1"
    status: ExitStatus | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    released: bool = False

    def chunks(self) -> AsyncIterator[str]:
        raise AssertionError("the output of an editor's terminal is not sent")

    async def output(self) -> Output:
        return Output("tail\n", 7)

    def exit(self) -> ExitStatus | None:
        return self.status

    async def wait(self) -> ExitStatus:
        await self.ended.wait()
        assert self.status is not None
        return self.status

    async def kill(self) -> None:
        self.end(ExitStatus(None, "SIGTERM"))

    async def release(self) -> None:
        await self.kill()
        self.released = True

    def end(self, status: ExitStatus) -> None:
        self.status = self.status or status
        self.ended.set()


@dataclass
class Editor:
    """An execution that runs everything in one terminal of the editor."""

    terminal: Terminal

    async def start(self, permit: Permit, launch: Launch) -> Terminal:
        permit.check_command(launch.command)
        return self.terminal


@pytest_asyncio.fixture
async def context(tmp_path):
    execution = LocalExecution({"PATH": os.defpath}, quiet=QUIET)
    yield RecordingContext(str(tmp_path), execution)
    await execution.aclose()


@pytest_asyncio.fixture
async def background():
    processes = BackgroundProcesses(limit=2)
    yield processes
    await processes.aclose()


@pytest.fixture
def tools(background):
    return terminal_tools(background, 120)


@pytest.fixture
def run_command(tools):
    return tools[0]


@pytest.fixture
def process(tools):
    return tools[1]


def timeless(result: ToolResult) -> ToolResult:
    def without(text: str) -> str:
        return re.sub(r"in \d+\.\d s$", "in T s", text, flags=re.MULTILINE)

    shown = tuple(
        TextBlock(without(item.text)) if isinstance(item, TextBlock) else item for item in result.shown
    )
    return ToolResult(without(result.text), result.failed, shown, exit=result.exit)


async def all_dead(*pids: int) -> bool:
    """Whether all are gone, or dead and only wait for their parent."""
    return await asyncio.to_thread(lambda: all(map(_dead, pids)))


def _dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def lines(context: RecordingContext, count: int) -> list[str]:
    """The first lines of live output."""
    async with asyncio.timeout(PATIENCE):
        while "".join(context.outputs).count("\n") < count:
            context.news.clear()
            await context.news.wait()
    return "".join(context.outputs).splitlines()


async def test_the_model_reads_the_output_and_how_it_ended(context, run_command):
    result = await call(run_command, context, command="echo out; echo err >&2")
    shown = (TextBlock("```\nout\nerr\n```\nexit code 0 in T s"),)
    assert timeless(result) == ToolResult("out\nerr\nexit code 0 in T s", shown=shown, exit=ExitStatus(0))
    assert "".join(context.outputs) == "out\nerr\n"


async def test_a_command_that_fails_is_a_failed_call(context, run_command):
    result = await call(run_command, context, command="exit 3")
    assert timeless(result) == ToolResult("exit code 3 in T s", failed=True, exit=ExitStatus(3))


async def test_a_signal_is_named(context, run_command):
    result = await call(run_command, context, command="kill -KILL $$")
    shell = "[shell: begun anew as it was before the command, because its shell was killed]"
    text = f"killed by SIGKILL in T s\n{shell}"
    assert timeless(result) == ToolResult(text, failed=True, exit=ExitStatus(None, "SIGKILL"))


async def test_the_question_shows_exactly_what_will_run(context, run_command):
    await call(run_command, context, command="echo '```'")
    effect = Effect("execute", "echo '```'", command="echo '```'", cwd=context.cwd)
    assert (context.effects, context.asked) == ([effect], [(TextBlock("````sh\necho '```'\n````"),)])


async def test_characters_that_hide_something_are_spelled_out_in_the_question(context, run_command):
    await call(run_command, context, command="echo safe\r\x1b[8m; true \u202e")
    assert context.asked == [(TextBlock("```sh\necho safe\\u{d}\\u{1b}[8m; true \\u{202e}\n```"),)]
    assert context.effects[0].command == "echo safe\r\x1b[8m; true \u202e"


async def test_a_refused_command_does_not_run(context, run_command):
    context.refusal = "No."
    with pytest.raises(Refused):
        await call(run_command, context, command="touch ran")
    assert not (await asyncio.to_thread(os.listdir, context.cwd))


async def test_another_directory_is_part_of_the_effect_and_of_the_question(context, run_command, tmp_path):
    folder = tmp_path / "sub"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((tmp_path / "link").symlink_to, folder)
    result = await call(run_command, context, command="pwd -P", cwd="link")
    assert result.text.startswith(f"{folder}\n")
    assert context.effects == [Effect("execute", "pwd -P", command="pwd -P", cwd=str(folder))]
    assert context.asked == [(TextBlock(f"In `{folder}`:\n\n```sh\npwd -P\n```"),)]


@pytest.mark.parametrize("cwd", ["missing", "file", "a\0b", "x" * 5_000])
async def test_a_directory_that_cannot_be_used_is_refused_before_anybody_is_asked(
    context, run_command, tmp_path, cwd
):
    await asyncio.to_thread((tmp_path / "file").touch)
    with pytest.raises(ToolError, match="cwd: "):
        await call(run_command, context, command="true", cwd=cwd)
    assert context.effects == []


async def test_a_session_directory_that_is_gone_is_named(context, run_command, tmp_path):
    context.cwd = str(tmp_path / "gone")
    with pytest.raises(ExecutionError, match="gone cannot be entered"):
        await call(run_command, context, command="true")


async def test_output_is_shown_while_the_command_runs(context, run_command, tmp_path):
    await asyncio.to_thread(os.mkfifo, tmp_path / "go")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(run_command, context, command="echo one; read x < go; echo two"))
        assert await lines(context, 1) == ["one"]
        assert not running.done()
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
    assert "".join(context.outputs) == "one\ntwo\n"


async def test_live_output_comes_in_few_pieces_and_whole(context, run_command):
    await call(run_command, context, command="seq 1 20000")
    assert "".join(context.outputs) == "".join(f"{number}\n" for number in range(1, 20_001))
    assert len(context.outputs) < 40


async def test_a_long_output_is_read_with_its_beginning_and_its_end(context, run_command):
    result = await call(run_command, context, command="seq 1 100000; exit 1")
    whole = "".join(f"{number}\n" for number in range(1, 100_001))
    path = re.search(r"reads (/\S+\.log) …", result.text)[1]
    hint = f'process(action="read", id="log1", line=…) reads {path}'
    note = f"[… {len(whole) - 16_000} characters left out; {hint} …]"
    assert timeless(result).text == f"{whole[:4_000]}\n{note}\n{whole[-12_000:]}exit code 1 in T s"
    assert await asyncio.to_thread(Path(path).read_text) == whole


async def test_colours_and_progress_bars_are_for_the_person_only(context, run_command):
    command = r"printf '\033[31mred\033[0m\n 10%%\r 50%%\r100%%\ndone\r\n'"
    result = await call(run_command, context, command=command)
    assert timeless(result).text == "red\n100%\ndone\nexit code 0 in T s"
    assert "".join(context.outputs) == "\x1b[31mred\x1b[0m\n 10%\r 50%\r100%\ndone\r\n"


async def test_a_command_that_takes_too_long_is_ended_with_its_children(context, run_command):
    command = "setsid sleep 300 & echo $!; echo $$; wait"
    result = await call(run_command, context, command=command, timeout=0.3)
    pids = [int(line) for line in "".join(context.outputs).split()]
    assert len(pids) == 2
    assert await all_dead(*pids)
    assert result.failed
    assert result.exit in SIGNALS
    assert result.text.endswith("timed out after 0.3 s and was ended; set a longer timeout or background")


async def test_a_cancelled_call_leaves_nothing_running(context, run_command):
    command = "setsid sleep 300 & echo $!; sleep 300 & echo $!; echo $$; wait"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(run_command, context, command=command))
        pids = [int(line) for line in await lines(context, 3)]
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert running.cancelled()
    assert await all_dead(*pids)


async def test_a_background_process_is_polled_for_what_is_new_and_killed(context, run_command, process):
    await asyncio.to_thread(os.mkfifo, Path(context.cwd, "go"))
    command = "echo one; read x < go; echo two; sleep 300"
    result = await call(run_command, context, command=command, background=True)
    assert result == ToolResult('Started in the background as p1: process(action="poll", id="p1") reads on.')
    await polled(process, context, "one\np1 is running")
    await asyncio.to_thread(Path(context.cwd, "go").write_text, "\n")
    await polled(process, context, "two\np1 is running")
    result = await call(process, context, action="kill", id="p1")
    assert result.text in ("p1 ended: killed by SIGTERM", "p1 ended: killed by SIGKILL")
    assert not result.failed
    assert context.outputs == []


async def polled(process, context: RecordingContext, expected: str) -> None:
    """Poll until the process has printed what is expected."""
    async with asyncio.timeout(PATIENCE):
        while (text := (await call(process, context, action="poll", id="p1")).text) != expected:
            assert text == "p1 is running"
            await asyncio.sleep(0)


async def test_a_poll_can_wait_for_the_end(context, run_command, process):
    await call(run_command, context, command="echo one; exit 2", background=True)
    result = await call(process, context, action="poll", id="p1", wait=PATIENCE)
    assert result == ToolResult("one\np1 ended: exit code 2", shown=(TextBlock("```\none\n```"),))
    again = await call(process, context, action="poll", id="p1")
    assert again == ToolResult("p1 ended: exit code 2")


async def test_processes_are_listed(context, run_command, process):
    assert await call(process, context, action="list") == ToolResult("There are no background processes.")
    await call(run_command, context, command="sleep 300", background=True)
    await call(run_command, context, command="exit 4", background=True)
    await call(process, context, action="poll", id="p2", wait=PATIENCE)
    result = await call(process, context, action="list")
    assert result == ToolResult("p1 (running, started 0 s ago): sleep 300\np2 (exit code 4): exit 4")


async def test_finished_processes_make_room_and_running_ones_do_not(context, run_command, process):
    await call(run_command, context, command="sleep 300", background=True)
    await call(run_command, context, command="true", background=True)
    await call(process, context, action="poll", id="p2", wait=PATIENCE)
    await call(run_command, context, command="sleep 300", background=True)
    effects = len(context.effects)
    with pytest.raises(ToolError, match="2 background processes are running"):
        await call(run_command, context, command="sleep 300", background=True)
    assert len(context.effects) == effects
    with pytest.raises(ToolError, match=r"no background process 'p2'\. Known: p1, p3"):
        await call(process, context, action="poll", id="p2")


async def test_the_end_of_a_session_ends_its_processes(context, run_command, background):
    await call(run_command, context, command="sleep 300", background=True)
    started = background.find("p1").process
    await background.aclose()
    assert started.exit() in SIGNALS
    assert background.all() == ()


async def test_a_terminal_of_the_editor_is_shown_instead_of_text(tmp_path, run_command):
    terminal = Terminal()
    context = RecordingContext(str(tmp_path), Editor(terminal))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(run_command, context, command="make"))
        await context.news.wait()
        terminal.end(ExitStatus(0))
    text = "[… 7 characters left out; write the output to a file to read them …]\ntail\nexit code 0 in T s"
    ref = (TerminalRef("t1"),)
    assert timeless(running.result()) == ToolResult(text, shown=ref, exit=ExitStatus(0))
    assert (context.shown, context.outputs, terminal.released) == ([ref], [""], True)


async def test_cancelling_kills_and_frees_the_editors_terminal(tmp_path, run_command):
    terminal = Terminal()
    context = RecordingContext(str(tmp_path), Editor(terminal))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call(run_command, context, command="make")
    assert terminal.released


async def test_the_shell_lasts_and_the_model_and_the_policy_hear_of_it(context, run_command, tmp_path):
    await asyncio.to_thread((tmp_path / "sub").mkdir)
    result = await call(run_command, context, command="cd sub && export WHO=me && alias hi='echo hi'")
    news = f"[shell: now in {tmp_path}/sub; exported WHO; aliases hi]"
    assert timeless(result).text == f"exit code 0 in T s\n{news}"
    result = await call(run_command, context, command="hi $WHO; pwd")
    assert timeless(result).text == f"hi me\n{tmp_path}/sub\nexit code 0 in T s"
    assert context.effects[1] == Effect(
        "execute",
        "hi $WHO; pwd",
        command="hi $WHO; pwd",
        cwd=f"{tmp_path}/sub",
        altered=("variable WHO", "alias hi"),
    )
    assert context.asked[1] == (TextBlock(f"In `{tmp_path}/sub`:\n\n```sh\nhi $WHO; pwd\n```"),)


async def test_a_directory_for_one_command_does_not_move_the_shell(context, run_command, tmp_path):
    await asyncio.to_thread((tmp_path / "sub").mkdir)
    assert (await call(run_command, context, command="x=1; pwd", cwd="sub")).text.startswith(
        f"{tmp_path}/sub\n"
    )
    assert (await call(run_command, context, command="echo $x; pwd")).text.startswith(f"1\n{tmp_path}\n")
    assert "now in /usr]" in (await call(run_command, context, command="cd /usr", cwd="sub")).text
    assert (await call(run_command, context, command="pwd")).text.startswith("/usr\n")


async def test_a_fresh_shell_is_apart_and_a_reset_one_forgets(context, run_command, process, tmp_path):
    await call(run_command, context, command="cd /usr; export A=1")
    fresh = await call(run_command, context, command="echo ${A-none}; pwd; cd /; B=1", shell="fresh")
    assert timeless(fresh).text == f"none\n{tmp_path}\nexit code 0 in T s"
    assert (await call(run_command, context, command="echo $A$B; pwd")).text.startswith("1\n/usr\n")
    listing = (await call(process, context, action="list")).text
    assert listing == "There are no background processes.\n[shell: now in /usr; exported A]"
    reset = await call(run_command, context, command="echo ${A-none}; pwd", shell="reset")
    assert timeless(reset).text == f"none\n{tmp_path}\nexit code 0 in T s"


async def test_a_shell_whose_directory_is_gone_goes_home_and_says_so(context, run_command, tmp_path):
    folder = tmp_path / "sub"
    await asyncio.to_thread(folder.mkdir)
    await call(run_command, context, command="cd sub; export A=1")
    await asyncio.to_thread(folder.rmdir)
    result = await call(run_command, context, command="echo $A; pwd")
    note = f"[shell: {folder} is gone; back in {tmp_path}]"
    assert timeless(result).text == f"{note}\n1\n{tmp_path}\nexit code 0 in T s"


async def test_a_cancelled_command_leaves_the_shell_before(context, run_command):
    await call(run_command, context, command="export A=1")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call(run_command, context, command="A=2; cd /; echo on; sleep 300"))
        await lines(context, 1)
        running.cancel()
    assert (await call(run_command, context, command="echo $A; pwd")).text.startswith(f"1\n{context.cwd}\n")


async def test_a_question_is_handed_to_the_model_who_answers_it(context, run_command, process):
    command = "read -p 'Sure? ' answer; echo $answer"
    result = await call(run_command, context, command=command, pty=True)
    how = (
        'It waits for input, and goes on in the background as p1: process(action="send", id="p1", '
        'text="…\\n") answers, action="kill" ends it.'
    )
    assert result == ToolResult(f"Sure?\n{how}", shown=(TextBlock("```\nSure?\n```"),))
    polled = await call(process, context, action="poll", id="p1")
    assert polled.text == "p1 is running, and waits for input"
    result = await call(process, context, action="send", id="p1", text="yes\n", wait=PATIENCE)
    assert result.text == "yes\nyes\np1 ended: exit code 0"
    assert context.effects[1] == Effect(
        "execute",
        "type into p1",
        command=f"{command} <<< 'yes\n'",
        cwd=context.cwd,
        outside="that is where the command runs",
    )
    assert context.asked[1] == (TextBlock(f"Into p1, which runs `{command}`:\n\n```\nyes\n```"),)


async def test_what_the_user_refuses_is_not_typed(context, run_command, process):
    await call(run_command, context, command="cat", background=True)
    context.refusal = "No."
    with pytest.raises(Refused):
        await call(process, context, action="send", id="p1", text="secret\n")
    assert (await call(process, context, action="poll", id="p1")).text.startswith("p1 is running")


async def test_a_question_without_a_free_place_ends_the_command(context, run_command, background):
    for _ in range(2):
        await call(run_command, context, command="sleep 300", background=True)
    with pytest.raises(ToolError, match="2 background processes are running"):
        await call(run_command, context, command="echo $$ > pid; read answer", pty=True)
    pid = int(await asyncio.to_thread(Path(context.cwd, "pid").read_text))
    assert await all_dead(pid)


async def test_a_background_process_can_have_a_name(context, run_command, process):
    result = await call(run_command, context, command="sleep 300", background=True, name="web")
    assert "in the background as web" in result.text
    with pytest.raises(ToolError, match="web is running: kill it first"):
        await call(run_command, context, command="sleep 300", background=True, name="web")
    await call(process, context, action="kill", id="web")
    await call(run_command, context, command="sleep 300", background=True, name="web")
    assert (await call(process, context, action="poll", id="web")).text == "web is running"


async def test_a_log_is_read_by_lines(context, run_command, process):
    await call(run_command, context, command="seq 1 100000")
    read = await call(process, context, action="read", id="log1", line=50_000, lines=2)
    assert read == ToolResult(
        "from line 50000:\n50000\n50001\n", shown=(TextBlock("```\n50000\n50001\n```"),)
    )
    read = await call(process, context, action="read", id="log1", line=-2, lines=1)
    assert read.text == "from line 99999:\n99999\n"
    assert (
        await call(process, context, action="read", id="log1", line=200_000)
    ).text == "There are no such lines."


async def test_a_background_process_is_read_by_lines_too(context, run_command, process):
    await call(run_command, context, command="seq 1 10", background=True)
    await call(process, context, action="poll", id="p1", wait=PATIENCE)
    read = await call(process, context, action="read", id="p1", line=-3, lines=2)
    assert read.text == "from line 8:\n8\n9\n"


async def test_a_log_that_is_gone_says_what_to_do(context, run_command, process):
    result = await call(run_command, context, command="seq 1 100000")
    await asyncio.to_thread(Path(re.search(r"reads (/\S+\.log)", result.text)[1]).unlink)
    with pytest.raises(ToolError, match="Run the command again"):
        await call(process, context, action="read", id="log1")


async def test_a_shell_in_the_terminal_of_an_editor_says_that_nothing_lasts(tmp_path, run_command):
    terminal = Terminal(status=ExitStatus(0))
    terminal.ended.set()
    result = await call(run_command, RecordingContext(str(tmp_path), Editor(terminal)), command="cd sub")
    assert result.text.endswith(
        "[shell: an editor's terminal has a shell of its own: what this command changed in it does not last]"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"command": ""},
        {"command": "a", "timeout": 0},
        {"command": "a", "timeout": 3601},
        {"command": "a", "name": "a b"},
    ],
)
def test_wrong_arguments_are_refused(run_command, arguments):
    with pytest.raises(ToolError, match="Wrong arguments for run_command"):
        run_command.accept(arguments)


async def test_an_action_without_an_id_says_what_is_missing(context, process):
    with pytest.raises(ToolError, match="kill needs the id of a process"):
        await call(process, context, action="kill")


@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("ls -la", "ls -la"),
        ("\n  make test\n", "make test"),
        ("for x in a; do\n  echo $x\ndone", "for x in a; do …"),
        ("x" * 100, "x" * 79 + "…"),
        (" \n ", ""),
    ],
)
def test_a_call_is_announced_by_its_command(run_command, command, title):
    assert run_command.accept({"command": command}).describe("/") == Description(title)


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("\x1b]0;window title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x1bPdevice\x1b\\a\x1b(Bb\x1b=c\x9b1m", "abc1m"),
        ("_\x08b_\x08old", "bold"),
        ("a\rb\r\r\n\r", "b\n"),
        ("bell\x07\0\tx", "bell\tx"),
        ("\x1b", ""),
    ],
)
def test_text_is_left_as_a_terminal_would_leave_it(printed, text):
    assert terminal_text.plain(printed) == text


def test_what_is_new_is_found_in_a_shortened_output():
    output = Output("tail", 10, "head")
    assert [terminal_text.since(output, position) for position in (0, 2, 6, 14, 16, 18)] == [
        output,
        Output("tail", 10, "ad"),
        Output("tail", 8),
        Output("tail"),
        Output("il"),
        Output(""),
    ]


async def test_the_policy_hears_that_a_program_that_is_typed_into_is_not_what_it_is_called(
    context, run_command, process
):
    await call(run_command, context, command="alias cat=sh")
    await call(run_command, context, command="cat", background=True)
    await call(process, context, action="send", id="p1", text="exit 3\n", wait=PATIENCE)
    assert [effect.altered for effect in context.effects] == [(), ("alias cat",), ("alias cat",)]
    assert (await call(process, context, action="poll", id="p1")).text == "p1 ended: exit code 3"
