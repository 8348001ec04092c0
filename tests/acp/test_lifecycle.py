"""Sessions: made, listed, loaded, resumed, closed and deleted, also across processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, AgentError, Pool, Session, choosing
from tests.acp.script import calls, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SCRIPT = {
    "hello": [says("Hello to you.", chunks=3)],
    "think": [{"parts": [{"thought": "Let me see."}, {"text": "Seen."}]}],
    "write": [calls("write_file", path="made.txt", content="one\n"), says("Written.")],
    "where": [calls("list_dir", path="."), says("There.")],
    "beside": [calls("write_file", path="{beside}", content="x"), says("Done.")],
    "slow": [says("tick ", repeat=2000, delay=0.01)],
}


async def load(agent: Agent, session: Session, method: str = "session/load") -> tuple[Session, list[Any]]:
    """Open a session again: the session, and the updates that came before the answer."""
    before = len(agent.lines)
    opening = await session_request(agent, method, session)
    at = next(
        index for index, line in enumerate(agent.lines) if index >= before and line.get("result") is opening
    )
    replayed = [line["params"]["update"] for line in agent.lines[before:at] if "params" in line]
    return Session(agent, session.id, session.cwd, opening), replayed


async def session_request(agent: Agent, method: str, session: Session) -> Any:
    params = {"sessionId": session.id, "cwd": str(session.cwd), "mcpServers": []}
    return await agent.request(method, params)


def without_times(updates: list[Any]) -> list[Any]:
    return [item for item in updates if item["sessionUpdate"] not in ("session_info_update", "usage_update")]


@requirement("session.new")
async def test_a_new_session_says_its_modes_and_options_and_then_its_commands(
    agent: Agent, cwd: Path
) -> None:
    session = await agent.new(cwd)
    assert session.opening.keys() == {"sessionId", "modes", "configOptions"}
    await session.update("available_commands_update")
    assert [item["sessionUpdate"] for item in session.updates] == ["available_commands_update"]


@requirement("session.new")
async def test_two_sessions_run_at_once_and_do_not_mix(agent: Agent, cwd: Path) -> None:
    one, two = await agent.new(cwd), await agent.new(cwd)
    slow = one.begin("slow")
    await one.update("agent_message_chunk")
    assert await two.prompt("hello") == "end_turn"
    assert (two.text(), "Hello" in one.text()) == ("Hello to you.", False)
    one.cancel()
    assert await agent.settled(slow) == {"stopReason": "cancelled"}


@requirement("session.cwd")
async def test_the_folder_of_the_session_counts_and_not_that_of_the_process(agent: Agent, cwd: Path) -> None:
    (cwd / "only-here.txt").write_text("x")
    session = await agent.new(cwd)
    await session.prompt("where")
    shown = (await session.update("tool_call_update", status="completed"))["content"]
    assert "only-here.txt" in shown[0]["content"]["text"]


@requirement("session.cwd")
@pytest.mark.parametrize("place", ["relative/path", ".", "", "~", "gone", "file", "\0", None, 3, ["/tmp"]])
async def test_a_folder_that_cannot_be_used_is_refused_with_a_reason(
    agent: Agent, cwd: Path, place: object
) -> None:
    (cwd / "file").write_text("x")
    folder = str(cwd / str(place)) if place in ("gone", "file") else place
    with pytest.raises(AgentError) as caught:
        await agent.request("session/new", {"cwd": folder, "mcpServers": []})
    assert caught.value.code == -32602
    assert (
        "cwd" in caught.value.message or "folder" in caught.value.message or "exist" in caught.value.message
    )


@requirement("session.cwd")
async def test_dots_and_links_in_the_folder_are_resolved(agent: Agent, cwd: Path) -> None:
    (cwd / "a").mkdir()
    (cwd / "link").symlink_to(cwd / "a")
    session = await agent.new(cwd / "a" / ".." / "link")
    await session.prompt("hello")
    listed = await agent.request("session/list", {"cwd": str(cwd / "a")})
    assert [item["sessionId"] for item in listed["sessions"]] == [session.id]


@requirement("session.additional-directories")
async def test_additional_directories_are_part_of_the_workspace_and_of_the_listing(
    agent: Agent, cwd: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    session = await agent.new(cwd, additionalDirectories=[str(more)])
    listed = await agent.request("session/list", {"cwd": str(cwd)})
    assert listed["sessions"][0]["additionalDirectories"] == [str(more)]
    assert await session.prompt("hello") == "end_turn"


@requirement("session.additional-directories")
@pytest.mark.parametrize("place", ["relative", "/nowhere/at/all", 3])
async def test_an_additional_directory_that_cannot_be_used_is_refused(
    agent: Agent, cwd: Path, place: object
) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.new(cwd, additionalDirectories=[place])
    assert caught.value.code == -32602


@requirement("session.load")
async def test_load_replays_the_whole_conversation_before_it_answers(
    tmp_path: Path, agents: Pool, cwd: Path
) -> None:
    first = await agents.get()
    first.handlers["session/request_permission"] = choosing("allow_once")
    session = await first.new(cwd)
    for prompt in ("think", "write", "hello"):
        await session.prompt(prompt)
    await session.request("session/close")
    _, replayed = await load(first, session)
    kinds = [item["sessionUpdate"] for item in without_times(replayed)]
    assert kinds == [
        "user_message_chunk",
        "agent_thought_chunk",
        "agent_message_chunk",
        "user_message_chunk",
        "tool_call",
        "tool_call_update",
        "agent_message_chunk",
        "user_message_chunk",
        "agent_message_chunk",
    ]
    assert replayed[-1]["sessionUpdate"] != "available_commands_update"
    await session.update("available_commands_update")


@requirement("session.load")
async def test_a_session_goes_on_in_another_process(tmp_path: Path, agents: Pool, cwd: Path) -> None:
    first = await agents.start(tmp_path / "home")
    await first.initialize()
    session = await first.new(cwd)
    await session.prompt("hello")
    first.end_input()
    assert await first.exited() == 0
    second = await agents.start(tmp_path / "home")
    await second.initialize()
    again, replayed = await load(second, session)
    assert [item["content"]["text"] for item in without_times(replayed)] == ["hello", "Hello to you."]
    assert await again.prompt("think") == "end_turn"
    second.end_input()
    await second.exited()


@requirement("session.survives")
async def test_an_empty_session_outlives_a_killed_process(tmp_path: Path, agents: Pool, cwd: Path) -> None:
    first = await agents.start(tmp_path / "home")
    await first.initialize()
    session = await first.new(cwd)
    os.kill(first.server, signal.SIGKILL)
    await first.exited()
    second = await agents.start(tmp_path / "home")
    await second.initialize()
    listed = await second.request("session/list", {})
    assert [item["sessionId"] for item in listed["sessions"]] == [session.id]
    again, replayed = await load(second, session)
    assert replayed == []
    assert await again.prompt("hello") == "end_turn"
    second.end_input()
    await second.exited()


@requirement("session.survives")
async def test_a_turn_that_a_kill_broke_off_is_closed_honestly(
    tmp_path: Path, agents: Pool, cwd: Path
) -> None:
    first = await agents.start(tmp_path / "home")
    await first.initialize()
    session = await first.new(cwd)
    session.begin("write")
    await first.until(lambda: session.of("tool_call"), "a tool call")
    os.kill(first.server, signal.SIGKILL)
    await first.exited()
    second = await agents.start(tmp_path / "home")
    await second.initialize()
    again, replayed = await load(second, session)
    updates = without_times(replayed)
    assert updates[0]["content"]["text"] == "write"
    assert "interrupted" in updates[-1]["content"]["text"]
    assert await again.prompt("hello") == "end_turn"
    second.end_input()
    await second.exited()


@requirement("session.load-unknown")
@pytest.mark.parametrize("method", ["session/load", "session/resume"])
async def test_an_unknown_session_is_not_found(agent: Agent, cwd: Path, method: str) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request(method, {"sessionId": "nobody", "cwd": str(cwd), "mcpServers": []})
    assert caught.value.code == -32002


@requirement("session.load")
@pytest.mark.parametrize("method", ["session/load", "session/resume"])
async def test_a_session_is_not_opened_in_another_folder(agent: Agent, cwd: Path, method: str) -> None:
    session = await agent.new(cwd)
    await session.request("session/close")
    with pytest.raises(AgentError) as caught:
        await agent.request(method, {"sessionId": session.id, "cwd": "/", "mcpServers": []})
    assert (caught.value.code, str(cwd) in caught.value.message) == (-32602, True)


@requirement("session.load")
async def test_a_session_that_is_open_can_be_loaded_once_more(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("hello")
    again, replayed = await load(agent, session)
    assert [item["content"]["text"] for item in without_times(replayed)] == ["hello", "Hello to you."]
    assert await again.prompt("think") == "end_turn"
    assert again.text("agent_thought_chunk") == "Let me see."


@requirement("session.load")
@pytest.mark.parametrize("method", ["session/load", "session/resume"])
async def test_a_busy_session_opened_once_more_keeps_its_open_prompt(
    agent: Agent, cwd: Path, method: str
) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    await session.update("agent_message_chunk")
    again, _ = await load(agent, session, method)
    assert not turn.done()
    again.cancel()
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert await again.prompt("hello") == "end_turn"


@requirement("session.resume")
async def test_resume_replays_nothing_and_goes_on(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("hello")
    await session.request("session/close")
    again, replayed = await load(agent, session, "session/resume")
    assert replayed == []
    assert again.opening.keys() == {"modes", "configOptions"}
    assert await again.prompt("think") == "end_turn"


@requirement("session.list")
async def test_the_list_shows_title_folder_and_time_newest_first(agent: Agent, cwd: Path) -> None:
    first, second = await agent.new(cwd), await agent.new(cwd)
    await second.prompt("hello")
    await first.prompt("think")
    listed = (await agent.request("session/list", {"cwd": str(cwd)}))["sessions"]
    assert [(item["sessionId"], item["title"], item["cwd"]) for item in listed] == [
        (first.id, "think", str(cwd)),
        (second.id, "hello", str(cwd)),
    ]
    assert listed[0]["updatedAt"] >= listed[1]["updatedAt"]


@requirement("session.list")
async def test_the_list_comes_in_pages(agent: Agent, cwd: Path) -> None:
    made = [(await agent.new(cwd)).id for _ in range(60)]
    page = await agent.request("session/list", {"cwd": str(cwd)})
    seen = [item["sessionId"] for item in page["sessions"]]
    rest = await agent.request("session/list", {"cwd": str(cwd), "cursor": page["nextCursor"]})
    seen += [item["sessionId"] for item in rest["sessions"]]
    assert seen == made[::-1]
    assert "nextCursor" not in rest


@requirement("session.list")
@pytest.mark.parametrize(
    "params", [{"cursor": "made up"}, {"cursor": "é"}, {"cursor": "W10="}, {"cursor": 3}, {"cwd": "relative"}]
)
async def test_a_wrong_cursor_or_folder_is_refused(agent: Agent, params: dict[str, object]) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request("session/list", params)
    assert caught.value.code == -32602


@requirement("session.close")
async def test_close_cancels_the_running_turn_and_the_session_can_be_loaded_again(
    agent: Agent, cwd: Path
) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    await session.update("agent_message_chunk")
    assert await session.request("session/close") == {}
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    with pytest.raises(AgentError) as caught:
        await session.prompt("hello")
    assert caught.value.code == -32002
    again, _ = await load(agent, session)
    assert await again.prompt("hello") == "end_turn"


@requirement("session.delete")
async def test_a_deleted_session_is_gone_and_deleting_it_again_changes_nothing(
    agent: Agent, cwd: Path
) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    await session.update("agent_message_chunk")
    assert await session.request("session/delete") == {}
    assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert (await agent.request("session/list", {"cwd": str(cwd)}))["sessions"] == []
    with pytest.raises(AgentError) as caught:
        await session_request(agent, "session/load", session)
    assert caught.value.code == -32002
    assert await session.request("session/delete") == {}


@requirement("session.in-use")
async def test_two_servers_do_not_write_one_data_folder(tmp_path: Path, agents: Pool, cwd: Path) -> None:
    alone = ("acp", "--standalone")
    first = await agents.start(tmp_path / "home", None, *alone)
    second = await agents.start(tmp_path / "home", None, *alone)
    await first.initialize()
    await second.initialize()
    session = await first.new(cwd)
    with pytest.raises(AgentError) as caught:
        await session_request(second, "session/load", session)
    assert f"process {first.pid}" in caught.value.message
    first.end_input()
    await first.exited()
    await session_request(second, "session/load", session)
    second.end_input()
    await second.exited()
