"""Modes auto and full: what runs unasked, where it runs, and what is offered again outside the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_acp.agent.approvals import NO_SANDBOX
from hermes_acp.agent.options import FULL_MODE
from hermes_acp.events import ApprovalRequested, Notice
from hermes_acp.workspace.execution.sandbox.sandbox import working
from tests.agent.server import Desk, Window, act, call, choosing, serving
from tests.escape.cells import seen_folder

pytestmark = pytest.mark.slow

AFTER = act({"text": "done"}, when={"result": ""})


def running(command: str, **more: object) -> dict[str, object]:
    return act(call("run_command", command=command, **more), when={"user": "go"})


async def in_mode(desk: Desk, mode: str, answer: str = "allow_once") -> Window:
    window = await desk.new(choosing(answer))
    await window.session.set_option("mode", mode)
    return window


@pytest.fixture
async def sandbox() -> None:
    if await asyncio.to_thread(working) is None:
        pytest.skip("no sandbox works on this machine")


async def test_a_command_in_the_workspace_runs_unasked_and_confined(tmp_path: Path, sandbox: None) -> None:
    async with serving(tmp_path, [running("echo hi > said.txt && touch /usr/canary; id -u"), AFTER]) as desk:
        window = await in_mode(desk, "auto")
        await window.prompt("go")
        assert window.of(ApprovalRequested) == []
        ((outcome, text),) = window.results
        assert outcome == "completed"
        assert "in the sandbox" in text
        assert (desk.folder / "said.txt").read_text() == "hi\n"


@pytest.fixture
def outside() -> Iterator[Path]:
    """A file that does not exist, in a folder that the sandbox shows."""
    with seen_folder() as folder:
        yield folder / "file"


async def test_what_fails_for_the_sandbox_is_offered_outside_once(
    tmp_path: Path, sandbox: None, outside: Path
) -> None:
    async with serving(tmp_path, [running(f"echo x > {outside}"), AFTER]) as desk:
        window = await in_mode(desk, "auto")
        await window.prompt("go")
        (question,) = window.of(ApprovalRequested)
        assert question.reason.startswith("To run outside the sandbox, because it wanted to change")
        ((outcome, text),) = window.results
        assert (outcome, outside.read_text()) == ("completed", "x\n")
        assert "so it ran outside]" in text.partition("\n")[0]


async def test_what_the_user_does_not_want_outside_stays_undone(
    tmp_path: Path, sandbox: None, outside: Path
) -> None:
    async with serving(tmp_path, [running(f"echo x > {outside}"), AFTER]) as desk:
        window = await in_mode(desk, "auto", "reject_once")
        await window.prompt("go")
        ((outcome, text),) = window.results
        assert outcome == "failed"
        assert "Not run outside: The user refused this." in text
        assert not outside.exists()


@pytest.mark.parametrize("command", ["false", "echo Read-only file system", "sleep 100; echo x > /usr/x"])
async def test_other_failures_and_time_outs_are_not_offered(
    tmp_path: Path, sandbox: None, command: str
) -> None:
    async with serving(tmp_path, [running(command, timeout=0.5), AFTER]) as desk:
        window = await in_mode(desk, "auto")
        await window.prompt("go")
        assert window.of(ApprovalRequested) == []


async def test_a_command_that_names_a_protected_file_is_asked_for(tmp_path: Path, sandbox: None) -> None:
    async with serving(tmp_path, [running("echo x > .envrc"), AFTER]) as desk:
        window = await in_mode(desk, "auto", "reject_once")
        await window.prompt("go")
        assert len(window.of(ApprovalRequested)) == 1
        assert not (desk.folder / ".envrc").exists()


async def test_edits_happen_unasked_in_auto(tmp_path: Path) -> None:
    write = act(call("write_file", path="a.txt", content="a"), when={"user": "go"})
    async with serving(tmp_path, [write, AFTER]) as desk:
        window = await in_mode(desk, "auto")
        await window.prompt("go")
        assert window.of(ApprovalRequested) == []
        assert (desk.folder / "a.txt").read_text() == "a"


async def test_without_a_sandbox_auto_asks_and_says_so_once(tmp_path: Path) -> None:
    script = [running("echo hi > said.txt"), AFTER]
    async with serving(tmp_path, script) as desk:
        # A session in a folder around the home folder has no sandbox that would hold anything.
        window = await in_mode(desk, "auto", "reject_once")
        window.session._parts.approvals.roots = ("/",)
        await window.prompt("go")
        await window.prompt("go")
        assert len(window.of(ApprovalRequested)) == 2
        assert [notice for notice in window.of(Notice) if notice == NO_SANDBOX] == [NO_SANDBOX]


async def test_full_asks_for_nothing_says_what_it_means_and_keeps_the_limits(tmp_path: Path) -> None:
    script = [
        act(
            call("run_command", command="echo x > .envrc"),
            call("run_command", command="rm -rf /"),
            when={"user": "go"},
        ),
        AFTER,
    ]
    async with serving(tmp_path, script) as desk:
        window = await in_mode(desk, "full")
        await window.prompt("go")
        assert window.of(ApprovalRequested) == []
        assert [outcome for outcome, _ in window.results] == ["completed", "refused"]
        assert (desk.folder / ".envrc").read_text() == "x\n"
        assert [notice for notice in window.of(Notice) if notice == FULL_MODE] == [FULL_MODE]


async def test_a_session_that_begins_in_full_says_so_with_its_first_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, [act({"text": "hi"})], mode="full") as desk:
        window = await desk.new()
        await window.prompt("go")
        assert window.of(Notice) == [FULL_MODE]
