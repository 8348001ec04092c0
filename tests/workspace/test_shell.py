"""What lasts from one command to the next: real shells."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from hermes_acp.events import ExitStatus
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.workspace.execution.base import Launch, ShellLost
from hermes_acp.workspace.execution.local import LocalExecution
from hermes_acp.workspace.execution.process import LocalProcess
from hermes_acp.workspace.execution.shell_state import ShellState, changes

PATIENCE = 30.0
"""Seconds that a test waits for something that normally takes milliseconds."""

ENVIRONMENT = {"PATH": os.defpath, "HOME": "/", "GIVEN": "from the window"}


@pytest_asyncio.fixture
async def execution():
    local = LocalExecution(ENVIRONMENT)
    yield local
    await local.aclose()


@pytest_asyncio.fixture
async def shell(execution, tmp_path):
    return Shell(execution, ShellState(str(tmp_path)))


class Shell:
    """Runs commands one after the other."""

    def __init__(self, execution: LocalExecution, state: ShellState) -> None:
        self.execution = execution
        self.state = state

    async def start(self, command: str, **launch: object) -> LocalProcess:
        permit = Permit(Effect("execute", "", command=command))
        return await self.execution.start(permit, Launch(command, self.state.cwd, shell=self.state, **launch))

    async def run(self, command: str) -> str:
        """The output; the state is taken over."""
        process = await self.start(command)
        async with asyncio.timeout(PATIENCE):
            await process.wait()
            self.state = await process.left()
        return (await process.output()).text

    async def told(self, command: str) -> str:
        """What the model hears about the shell."""
        before = self.state
        await self.run(command)
        return changes(before, self.state)


async def test_directory_variables_aliases_functions_and_options_last(shell, tmp_path):
    (tmp_path / "sub").mkdir()
    await shell.run(
        "cd sub; export SAID=hello; count=3; list=(a 'b c'); declare -A map=([x]=y); alias say='echo say'\n"
        'twice() { echo "$1$1"; }; set -o pipefail; shopt -s nullglob; umask 027'
    )
    command = (
        "pwd; say $SAID $count ${list[1]} ${map[x]}; twice o; echo none*; false | true; echo $?; umask\n"
        "sh -c 'echo $SAID$count'"
    )
    expected = f"{tmp_path}/sub\nsay hello 3 b c y\noo\n\n1\n0027\nhello\n"
    assert await shell.run(command) == expected


async def test_the_model_hears_the_names_of_what_changed_and_no_values(shell, tmp_path):
    (tmp_path / "sub").mkdir()
    command = "cd sub; export KEY=swordfish; x=1; alias l=ls; f() { :; }; unset GIVEN; set -u"
    told = f"now in {tmp_path}/sub; exported KEY; set x; unset GIVEN; aliases l; functions f"
    assert await shell.told(command) == f"{told}; options set -o nounset"
    assert await shell.told("echo nothing") == ""
    command = "cd ..; unset KEY x; unalias l; export GIVEN='from the window'; f() { false; }; set +u"
    told = f"now in {tmp_path}; exported GIVEN; unset KEY, x; aliases removed l; functions changed"
    assert await shell.told(command) == f"{told}; options ended set -o nounset"


async def test_going_back_works_across_commands(shell, tmp_path):
    await shell.run("cd /usr")
    assert await shell.run("cd -") == f"{tmp_path}\n"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a'b\"c",
        "$HOME `id` $(id) \\ !",
        "two\nlines\n",
        "tab\tbell\a\x1b[0m",
        "é ü 日本",
        "-n",
        "a=b",
    ],
)
async def test_a_variable_keeps_its_value_to_the_last_character(shell, value):
    await shell.run(f"export ODD={quoted(value)}; own=$ODD")
    assert await shell.run('printf "%s|%s" "$ODD" "$own"') == f"{value}|{value}"
    assert shell.state.exported["ODD"] == value


def quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


async def test_bytes_that_are_no_text_last_too(shell):
    await shell.run(r"export RAW=$'\377\200x'; raw=$RAW")
    assert await shell.run('printf "%s%s" "$RAW" "$raw" | od -An -tx1') == " ff 80 78 ff 80 78\n"


async def test_attributes_last(shell):
    await shell.run(
        "declare -r fixed=1; declare -ix number=2; declare -n other=number; f() { echo f; }; export -f f"
    )
    output = await shell.run("number=3+4; echo $fixed $other; bash -c 'f; echo $number'; fixed=2")
    assert output.startswith("1 7\nf\n7\n")
    assert "fixed: readonly variable" in output


async def test_a_function_that_needs_an_option_or_meets_an_alias_is_read_as_it_was(shell):
    await shell.run("shopt -s extglob\nodd() { case $1 in +([0-9])) echo digits;; esac; ls() { :; }; }")
    await shell.run("alias echo='printf wrong'")
    assert await shell.run("odd 12") == "digits\n"


async def test_exit_keeps_what_was_done_before_it(shell):
    process = await shell.start("export DONE_BEFORE=1; exit 3")
    assert await process.wait() == ExitStatus(3)
    assert (await process.left()).exported == {"DONE_BEFORE": "1"}


async def test_a_failing_command_under_errexit_keeps_the_shell(shell):
    await shell.run("set -e; cd /usr; false; cd /")
    assert shell.state.cwd == "/usr"
    assert await shell.run("set +e; false; echo on") == "on\n"


async def test_a_trap_of_the_command_is_run_and_the_state_kept(shell):
    assert await shell.run("trap 'echo bye' EXIT; cd /usr") == "bye\n"
    assert shell.state.cwd == "/usr"


async def test_tracing_shows_the_command_and_nothing_of_ours(shell):
    assert await shell.run("set -x; true") == "++ true\n"
    assert await shell.run("echo on; set +x") == "++ echo on\non\n++ set +x\n"


async def test_errors_name_the_line_of_the_command(shell):
    await shell.run("x=1; f() { :; }; alias a=b")
    output = await shell.run("true\n\nmissing-program")
    assert output == "/bin/bash: line 3: missing-program: command not found\n"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("cd /usr; kill -KILL $$", "its shell was killed"),
        ("cd /usr; kill -TERM $$", "its shell was killed"),
        ("cd /usr; exec true", "its shell was replaced, or ended without a report"),
        ("mkdir gone; cd gone; rmdir ../gone", "its directory is gone"),
        ("mkdir $'a\\nb'; cd $'a\\nb'", "an unprintable name"),
        ("mkdir $'\\377'; cd $'\\377'", "not valid UTF-8"),
        ("long=$(head -c 2000000 /dev/zero | tr '\\0' x)", "ended without a report"),
    ],
)
async def test_a_shell_that_cannot_report_leaves_the_one_before(shell, command, why):
    process = await shell.start(command)
    await process.wait()
    with pytest.raises(ShellLost, match=why):
        await process.left()
    assert await shell.run("echo on") == "on\n"


async def test_a_command_that_is_ended_leaves_the_shell_before(shell):
    process = await shell.start("cd /usr; echo here; sleep 300")
    await anext(process.chunks())
    await process.kill()
    with pytest.raises(ShellLost, match="its shell was killed"):
        await process.left()


async def test_commands_at_the_same_time_each_start_from_the_same_shell(shell, tmp_path):
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(shell.start(f"export N{n}={n}; pwd")) for n in range(8)]
    states = []
    for task in waits:
        await task.result().wait()
        states.append(await task.result().left())
    assert [state.exported for state in states] == [{f"N{n}": str(n)} for n in range(8)]


async def test_a_background_command_has_the_shell_and_changes_nothing(shell):
    await shell.run("say() { echo said; }; export A=1")
    process = await shell.start("say $A; cd /usr", background=True)
    await process.wait()
    assert (await process.output()).text == "said\n"
    with pytest.raises(ShellLost):
        await process.left()


async def test_no_file_is_read_at_the_start(execution, tmp_path):
    evil = tmp_path / "evil"
    evil.write_text("echo evil")
    for name in (".bashrc", ".profile", ".bash_profile", ".bash_login"):
        (tmp_path / name).write_text("echo evil")
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "BASH_ENV": str(evil),
        "ENV": str(evil),
        "SHELLOPTS": "xtrace",
        "SSH_CLIENT": "::1 1 1",
        "SHLVL": "0",
    }
    local = execution.within(environment)
    for state in (None, ShellState(str(tmp_path))):
        launch = Launch("echo good", str(tmp_path), shell=state)
        process = await local.start(Permit(Effect("execute", "", command="echo good")), launch)
        await process.wait()
        assert (await process.output()).text == "good\n"


async def test_a_variable_that_makes_shells_run_files_reaches_the_shells_of_the_command_only(shell, tmp_path):
    (tmp_path / "hook").write_text("echo hook")
    await shell.run("export BASH_ENV=$PWD/hook")
    assert await shell.run("echo on; bash -c 'echo child'") == "on\nhook\nchild\n"
    assert shell.state.altered("ls") == ("variable BASH_ENV",)


async def test_no_open_descriptor_leads_to_the_state(shell, tmp_path):
    await shell.run("f() { :; }; x=1")
    assert await shell.run("ls /proc/$$/fd") == "0\n1\n2\n"
    await shell.run("for fd in $(seq 3 200); do echo 'alias ls=evil' >&$fd; done 2>/dev/null")
    assert shell.state.aliases == {}


async def test_pipes_of_reports_are_removed_and_their_descriptors_closed(shell, tmp_path):
    await shell.run("true")
    before = await asyncio.to_thread(open_descriptors)
    for _ in range(5):
        await shell.run("true")
    process = await shell.start("sleep 300")
    await process.kill()
    assert await asyncio.to_thread(open_descriptors) == before


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_private_folder_goes_with_the_server():
    local = LocalExecution(ENVIRONMENT)
    said = await Shell(local, ShellState("/")).run('echo "${HERMES_EDITOR_REPORT##*>}"')
    folder = Path(said.partition(" ")[0]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    await local.aclose()
    assert not folder.exists()


async def test_nothing_of_a_command_stays_in_the_private_folder(shell):
    said = await shell.run('echo "${HERMES_EDITOR_REPORT##*>}"')
    folder = Path(said.partition(" ")[0]).parent
    async with asyncio.timeout(PATIENCE):
        while any(folder.iterdir()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_hundreds_of_functions_do_not_count_as_the_command(shell):
    await shell.run('for n in $(seq 400); do eval "f$n() { echo $n ' + "x" * 500 + '; }"; done')
    assert (await shell.run("f7")).startswith("7 x")


async def test_a_function_with_the_name_of_a_builtin_does_not_confuse_the_report(shell):
    await shell.run("declare() { echo mine; }; printf() { echo mine; }; alias pwd='echo mine'; cd /usr")
    assert shell.state.cwd == "/usr"
    assert shell.state.functions.names == {"declare", "printf"}


async def test_a_new_shell_differs_from_nothing(shell):
    before = shell.state
    await shell.run("true")
    assert shell.state == replace(before)
