"""Prompts: every kind of content, why turns end, the queue, steering and slash commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, AgentError, Pool
from tests.acp.script import calls, parts, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SHOWS = {"session": {"notices": {}, "compaction": {}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

SCRIPT = {
    "hello": [says("Hello to you.")],
    "slow": [says("tick ", repeat=2000, delay=0.01)],
    "short": [says("This is cut o", finish="length")],
    "no": [says("I will not.", finish="refusal")],
    "again": [calls("list_dir", path="."), calls("list_dir", path=".")],
    "look": [calls("list_dir", path="."), says("Looked.")],
    "steer": [parts({"tool": "list_dir", "arguments": {}, "delay": 0.2}), says("First.")],
    "go left": [says("Going left.")],
    "broken": [parts({"fault": "error", "message": "The scripted model failed on purpose."})],
    "locked": [parts({"fault": "auth", "message": "The key was refused on purpose."})],
    "busy": [parts({"fault": "overload", "times": 1, "retry_after": 0.01}, {"text": "Now."})],
    "cut": [parts({"text": "Half of "}, {"fault": "cut", "times": 1, "retry_after": 0.01}, {"text": "it."})],
    "😀 naïve\u2028line": [says('Zoë \u2028 \U0001f600 \\ " </script>\x00\x1b[31m', chunks=24)],
    "Summarise the conversation above.": [says("A summary.")],
}

BLOCKS: list[dict[str, Any]] = [
    {"type": "image", "data": PIXEL, "mimeType": "image/png"},
    {"type": "image", "data": PIXEL, "mimeType": "image/png", "uri": "file:///a.png"},
    {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "file:///a.py", "name": "a.py"},
    {
        "type": "resource_link",
        "uri": "file:///b.py",
        "name": "b.py",
        "title": "B",
        "description": "the b",
        "mimeType": "text/x-python",
        "size": 3,
    },
    {"type": "resource", "resource": {"uri": "file:///c.txt", "text": "see", "mimeType": "text/plain"}},
    {"type": "resource", "resource": {"uri": "file:///c.bin", "blob": "AAEC"}},
]


async def reloaded(agent: Agent, session: Any) -> list[dict[str, Any]]:
    """The updates of a load, after a close."""
    await session.request("session/close")
    before = len(session.updates)
    await session.request("session/load", cwd=str(session.cwd), mcpServers=[])
    return session.updates[before:]


@requirement("prompt.content")
@requirement("update.user-message")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: "-".join((block["type"], *list(block)[-1:])))
async def test_every_kind_of_content_is_taken_and_replayed_as_it_came(
    agent: Agent, cwd: Path, block: dict[str, Any]
) -> None:
    session = await agent.new(cwd)
    assert await session.prompt([{"type": "text", "text": "hello"}, block]) == "end_turn"
    replayed = [
        item for item in await reloaded(agent, session) if item["sessionUpdate"] == "user_message_chunk"
    ]
    assert [item["content"] for item in replayed] == [{"type": "text", "text": "hello"}, block]
    assert len({item["messageId"] for item in replayed}) == 1


@requirement("prompt.content")
@requirement("extensions.meta")
async def test_unknown_members_and_annotations_of_content_do_no_harm(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    block = {
        "type": "text",
        "text": "hello",
        "annotations": {"audience": ["user"], "priority": 1},
        "_meta": {"x": 1},
        "new": None,
    }
    assert await session.prompt([block]) == "end_turn"
    assert session.text() == "Hello to you."


@requirement("prompt.content")
@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        "hello",
        {"type": "text", "text": "hello"},
        [None],
        ["hello"],
        [{"type": "text"}],
        [{"type": "text", "text": 3}],
        [{"type": "video", "data": ""}],
        [{"text": "hello"}],
        [{"type": "image", "data": PIXEL}],
        [{"type": "resource", "resource": {"uri": "file:///x"}}],
    ],
)
async def test_content_that_is_none_is_refused_with_its_place(
    agent: Agent, cwd: Path, content: object
) -> None:
    session = await agent.new(cwd)
    with pytest.raises(AgentError) as caught:
        await session.request("session/prompt", prompt=content)
    assert caught.value.code == -32602
    assert "prompt" in caught.value.message
    assert await session.prompt("hello") == "end_turn"


@requirement("prompt.unknown-session")
@pytest.mark.parametrize("session_id", ["", "nobody", "../../etc/passwd", "s" * 5000, "\0"])
async def test_a_prompt_to_a_session_that_is_not_open_is_refused(agent: Agent, session_id: str) -> None:
    content = [{"type": "text", "text": "hello"}]
    with pytest.raises(AgentError) as caught:
        await agent.request("session/prompt", {"sessionId": session_id, "prompt": content})
    assert caught.value.code == -32002


@requirement("prompt.text-exact")
async def test_text_arrives_exactly_whatever_is_in_it(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    prompt = "😀 naïve\u2028line"
    await session.prompt(prompt)
    said = SCRIPT[prompt][0]["parts"][0]["text"]
    assert session.text() == said
    replayed = await reloaded(agent, session)
    texts = [item["content"]["text"] for item in replayed if "content" in item]
    assert texts == [prompt, said]


@requirement("stop.end-turn")
async def test_an_answer_without_tool_calls_ends_the_turn(agent: Agent, cwd: Path) -> None:
    assert await (await agent.new(cwd)).prompt("hello") == "end_turn"


@requirement("stop.max-tokens")
async def test_an_answer_that_is_cut_at_the_token_limit_says_so(agent: Agent, cwd: Path) -> None:
    assert await (await agent.new(cwd)).prompt("short") == "max_tokens"


@requirement("stop.refusal")
async def test_a_refusal_says_so_and_the_next_prompt_works(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.prompt("no") == "refusal"
    assert await session.prompt("hello") == "end_turn"


@requirement("stop.max-turn-requests")
async def test_a_turn_of_too_many_requests_stops(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(HERMES_EDITOR_MAX_STEPS="2")
    session = await agent.new(cwd)
    assert await session.prompt("again") == "max_turn_requests"
    assert await session.prompt("hello") == "end_turn"


@requirement("stop.max-turn-requests")
async def test_a_model_that_repeats_itself_is_stopped(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.prompt("again") == "max_turn_requests"
    ended = [item["status"] for item in session.of("tool_call_update") if item["status"] != "in_progress"]
    assert set(ended[:4]) == {"completed"}
    assert set(ended[4:]) == {"failed"}


@requirement("errors.model")
@pytest.mark.parametrize(("prompt", "code"), [("broken", -32603), ("locked", -32000)])
async def test_a_model_that_fails_is_an_error_of_the_prompt_and_the_session_goes_on(
    agent: Agent, cwd: Path, prompt: str, code: int
) -> None:
    session = await agent.new(cwd)
    with pytest.raises(AgentError) as caught:
        await session.prompt(prompt)
    assert (caught.value.code, "on purpose" in caught.value.message) == (code, True)


@requirement("errors.model")
@pytest.mark.parametrize(("prompt", "said"), [("busy", "Now."), ("cut", "it.")])
async def test_a_model_that_fails_for_a_moment_is_asked_again(
    agents: Pool, cwd: Path, prompt: str, said: str
) -> None:
    agent = await agents.get(SHOWS)
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    assert session.text().endswith(said)
    assert session.of("notice")[0]["severity"] == "warning"


@requirement("prompt.queue")
async def test_prompts_sent_at_once_are_answered_in_order(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    done: list[str] = []
    turns = [session.begin(prompt) for prompt in ("look", "hello", "short")]
    for name, turn in zip("abc", turns, strict=True):
        turn.add_done_callback(lambda _, name=name: done.append(name))
    results = [(await agent.settled(turn))["stopReason"] for turn in turns]
    # Answers that came in one piece are all there before the first callback runs.
    await agent.settle()
    assert (done, results) == (["a", "b", "c"], ["end_turn", "end_turn", "max_tokens"])


@requirement("prompt.queue")
async def test_a_full_queue_says_so_and_loses_nothing(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    first = session.begin("slow")
    await session.update("agent_message_chunk")
    waiting = [session.begin("hello") for _ in range(33)]
    with pytest.raises(AgentError) as caught:
        await agent.settled(waiting[-1])
    assert "waiting already" in caught.value.message
    session.cancel()
    for turn in (first, *waiting[:-1]):
        assert await agent.settled(turn) == {"stopReason": "cancelled"}
    assert await session.prompt("hello") == "end_turn"


@requirement("extensions.steering")
async def test_a_steering_message_joins_the_running_turn(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turn = session.begin("steer")
    await session.update("session_info_update")
    answer = await session.request("_session/steering", prompt=[{"type": "text", "text": "go left"}])
    assert answer == {"outcome": "injected"}
    assert (await agent.settled(turn))["stopReason"] == "end_turn"
    assert session.text().endswith("Going left.")


@requirement("extensions.steering")
async def test_steering_where_nothing_runs_starts_a_turn_or_asks_for_a_prompt(
    agent: Agent, cwd: Path
) -> None:
    session = await agent.new(cwd)
    content = [{"type": "text", "text": "go left"}]
    wanted = {"steering": {"idleBehavior": "promptRequired"}}
    assert await session.request("_session/steering", prompt=content, _meta=wanted) == {
        "outcome": "promptRequired",
        "reason": "noRunningTurn",
    }
    assert await session.request("_session/steering", prompt=content) == {"outcome": "startedNewTurn"}
    await agent.until(lambda: session.text() == "Going left.", "the answer")
    await agent.until(lambda: session.updates[-1].get("updatedAt"), "the end of the turn")


@requirement("update.session-info")
async def test_the_first_prompt_names_the_session(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("hello:" + " words" * 30)
    await session.prompt("hello")
    titles = [item["title"] for item in session.of("session_info_update") if "title" in item]
    assert titles == ["hello: words words words words words words words words word…"]


@requirement("commands.advertised")
async def test_commands_are_listed_with_their_input(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    listed = (await session.update("available_commands_update"))["availableCommands"]
    by_name = {item["name"]: item.get("input") for item in listed}
    assert {"compact", "model", "title", "tools", "usage", "help"} <= by_name.keys()
    assert (by_name["help"], by_name["title"]) == (None, {"hint": "the new title"})


@requirement("commands.run")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/help", "/compact"),
        ("/tools", "read_file"),
        ("/usage", "tokens"),
        ("/model", "(current)"),
        ("/title A new name", "A new name"),
        ("/title", "Say the title"),
    ],
)
async def test_a_command_is_answered_without_the_model(
    agent: Agent, cwd: Path, command: str, said: str
) -> None:
    session = await agent.new(cwd)
    assert await session.prompt(command) == "end_turn"
    assert said in session.text()


@requirement("commands.run")
async def test_the_title_command_renames_the_session(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    await session.prompt("/title A new name")
    await session.update("session_info_update", title="A new name")
    listed = await agent.request("session/list", {"cwd": str(cwd)})
    assert listed["sessions"][0]["title"] == "A new name"


@requirement("commands.run")
async def test_what_only_looks_like_a_command_goes_to_the_model(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.prompt("/etc/passwd is a file") == "end_turn"
    assert "exhausted" in session.text()


@requirement("update.compaction")
async def test_a_compaction_is_shown_where_the_client_shows_them(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(SHOWS)
    session = await agent.new(cwd)
    await session.prompt("hello")
    assert await session.prompt("/compact") == "end_turn"
    updates = session.of("compaction_update")
    assert [item["status"] for item in updates] == ["in_progress", "completed"]
    assert updates[1]["summary"] == [{"type": "text", "text": "A summary."}]
    pieces = session.of("compaction_summary_chunk")
    assert "".join(item["content"]["text"] for item in pieces) == "A summary."
    assert len({item["compactionId"] for item in (*updates, *pieces)}) == 1


@requirement("update.notice")
@requirement("update.compaction")
async def test_notices_and_compactions_are_kept_from_clients_that_did_not_ask(
    agent: Agent, cwd: Path
) -> None:
    session = await agent.new(cwd)
    for prompt in ("hello", "/compact", "busy"):
        assert await session.prompt(prompt) == "end_turn"
    assert session.of("notice", "compaction_update", "compaction_summary_chunk") == []
