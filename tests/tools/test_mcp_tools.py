"""MCP servers of a session: real ones over stdio, streamable HTTP and SSE."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mcp_session import PATIENCE, SERVERS, Context, eventually, official, plain, running

from hermes_acp.content import AudioBlock, ImageBlock, LinkBlock, TextBlock
from hermes_acp.events import Field, Notice
from hermes_acp.llm.base import ToolSpec
from hermes_acp.policy.effects import Effect, Refused
from hermes_acp.tools.base import Description, Reply, ToolResult
from hermes_acp.tools.mcp.config import WAIT_SECONDS, McpServer, RemoteTool
from hermes_acp.tools.mcp.http import CONNECT_SECONDS
from hermes_acp.tools.mcp.tools import McpSource, offered_names, prefixes

STOPPED = "nobody knows whether the call had an effect. Check that first; calling the tool again starts"
UNAVAILABLE = "The MCP server plain stopped; its tools are unavailable. Go on without them."


def text(value: str) -> ToolResult:
    return ToolResult(value, shown=(TextBlock(value),))


async def appears(log: Path, wanted: str) -> None:
    """Wait until a server has written `wanted` to its log."""
    await eventually(lambda: log.exists() and wanted in log.read_text("utf-8"))


# --- names ---------------------------------------------------------------------------------------


def remote(name: str) -> RemoteTool:
    return RemoteTool(name, "", "", {"type": "object"}, read_only=False)


def names(prefix: str, *originals: str) -> list[str]:
    return [name for name, _ in offered_names(prefix, [remote(name) for name in originals])]


def test_offered_names_are_what_every_provider_accepts():
    assert names("git", "status", "a.b", "a/b", "x" * 80) == [
        "git__status",
        "git__a_b_2e7336",
        "git__a_b_c14cdd",
        "git__" + "x" * 52 + "_d929cd",
    ]


def test_a_changed_name_does_not_depend_on_what_else_is_listed():
    assert set(names("s", "a.b")) < set(names("s", "a_b", "a/b", "a.b"))


def test_of_two_tools_with_one_name_the_first_is_offered():
    assert names("s", "same", "same") == ["s__same"]


def test_servers_with_similar_names_get_different_prefixes():
    assert prefixes(["my server", "my.server", "my__server_", "数据", "", "x" * 99]) == (
        "my_server",
        "my_server-2",
        "my_server-3",
        "server",
        "server-2",
        "x" * 24,
    )


# --- the start path ------------------------------------------------------------------------------


def test_the_mcp_package_is_not_imported_with_the_tools():
    code = "import sys, hermes_acp.tools.mcp.tools; print('mcp' in sys.modules, 'httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


async def test_a_session_without_servers_has_no_tools_and_nothing_to_run(tmp_path):
    source = McpSource((), str(tmp_path), {})
    await source.run()
    assert await source.tools() == ()
    await source.aclose()


def test_secrets_of_a_server_are_not_in_its_representation():
    server = McpServer("s", "http", env=(("A", "hush"),), headers=(("B", "hush"),))
    assert "hush" not in repr(server)


def test_a_server_is_another_one_when_something_else_stands_behind_its_name():
    servers = [
        McpServer("s", "stdio", command="a"),
        McpServer("s", "stdio", command="a", args=("b",)),
        McpServer("s", "stdio", command="a b"),
        McpServer("s", "http", url="http://a"),
        McpServer("s", "sse", url="http://a"),
    ]
    assert len({server.identity for server in servers}) == len(servers)
    assert McpServer("t", "stdio", command="a", env=(("KEY", "new"),)).identity == servers[0].identity


# --- stdio ---------------------------------------------------------------------------------------


async def test_a_tool_is_offered_as_its_server_describes_it(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        tool = await session.tool("plain__echo")
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        assert tool.spec == ToolSpec("plain__echo", "about echo", schema)
        assert (tool.kind, tool.parallel) == ("read", True)
        assert tool.accept({}).describe("/") == Description("plain: Say it again")
        other = await session.tool("plain__hang")
        assert (other.kind, other.parallel) == ("other", False)


async def test_every_call_asks_with_its_arguments_and_the_servers_hint(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        context = Context()
        assert await session.call("plain__echo", {"text": "hi"}, context) == text("hi")
        await session.call("plain__nothing", {}, context)
        summary, server = "call {} of the MCP server plain".format, plain().identity
        assert context.effects == [
            Effect("mcp", summary("echo"), tool="plain__echo", read_only=True, server=server),
            Effect("mcp", summary("nothing"), tool="plain__nothing", server=server),
        ]
        assert context.shown[0] == (TextBlock('{\n  "text": "hi"\n}'),)


async def test_a_refused_call_never_reaches_the_server(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--log", str(log)), cwd=tmp_path) as session:
        with pytest.raises(Refused):
            await session.call("plain__hang", {}, Context(refusal="no"))
        await session.call("plain__echo", {"text": "x"})
    assert "hanging" not in await asyncio.to_thread(log.read_text, "utf-8")


async def test_a_server_gets_its_arguments_environment_and_folder_and_none_of_our_secrets(tmp_path):
    server = plain("--flag", "two words", "$HOME", env=(("TOKEN", "mine"), ("HOME", "/elsewhere")))
    async with running(server, cwd=tmp_path) as session:
        facts = json.loads((await session.call("plain__facts")).text)
    assert facts["args"] == ["--flag", "two words", "$HOME"]
    assert facts["cwd"] == str(tmp_path)
    assert {"TOKEN": "mine", "HOME": "/elsewhere"}.items() <= facts["env"].items()
    assert not {"OPENAI_API_KEY", "HERMES_EDITOR_MODEL"} & facts["env"].keys()


async def test_all_kinds_of_content_become_text_images_and_blocks(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        result = await session.call("plain__everything")
    pixel = base64.b64encode(b"\x89PNG not really").decode()
    said = (
        "hello\n"
        "[an image that cannot be shown to you: image/svg+xml]\n"
        "[audio, audio/wav: you cannot hear it, the user can play it]\n"
        "[resource a.txt <file:///a.txt>]\n"
        "[resource <mem://1>]\ninside\n"
        "[resource <mem://2>, application/zip: binary, not shown to you]"
    )
    image = ImageBlock(pixel, "image/png")
    shown = (TextBlock(said), image, AudioBlock(pixel, "audio/wav"), LinkBlock("file:///a.txt", "a.txt"))
    assert result == ToolResult(said, shown=shown, images=(image,))


async def test_results_without_text_long_ones_and_failures_stay_readable(tmp_path):
    async with running(plain(), cwd=tmp_path, max_result_chars=1000) as session:
        assert await session.call("plain__data") == text('{\n  "n": 1\n}')
        assert await session.call("plain__nothing") == text("(The tool returned nothing.)")
        failure = ToolResult("it broke", failed=True, shown=(TextBlock("it broke"),))
        assert await session.call("plain__fail") == failure
        note = "\n[cut: 99,000 more characters; ask the tool for less]"
        assert await session.call("plain__long") == text("x" * 1000 + note)
        assert (await session.error("plain__wrong")).startswith(
            "The MCP server plain gave an answer that is not MCP: 1 validation error"
        )


async def test_progress_is_shown_while_the_tool_runs(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        context = Context()
        assert await session.call("plain__progress", {}, context) == text("done")
    assert context.outputs == ["[1/2] going\n", "[2/2] going\n"]


async def test_a_server_that_logs_to_stdout_still_works(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        assert await session.call("plain__garbage") == text("after garbage")


async def test_new_tools_are_offered_when_the_server_says_that_they_changed(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        assert "plain__grown" not in await session.names()
        await session.call("plain__grow")
        await session.until_offered("plain__grown")


async def test_all_pages_of_a_listing_are_read(tmp_path):
    async with running(plain("--pages"), cwd=tmp_path) as session:
        assert await session.names() == ["plain__page0", "plain__page1", "plain__page2"]


async def test_a_tool_with_a_broken_schema_is_left_out_and_told(tmp_path):
    async with running(plain("--broken"), cwd=tmp_path) as session:
        assert await session.names() == ["plain__good"]
        told = [(await session.problem()).description for _ in range(4)]
    assert [problem.split(" (")[0] for problem in told] == [
        "Its tool listy",
        "Its tool bare",
        "Its tool a tool without a name",
        "The schema of its tool large is too long; the tool is left out.",
    ]


async def test_a_server_with_very_many_tools_is_cut_and_told(tmp_path):
    async with running(plain("--many"), cwd=tmp_path) as session:
        assert await session.names() == [f"plain__t{number}" for number in range(64)]
        assert await session.problem() == Notice(
            "warning", "MCP server plain", "It has more than 64 tools; only so many are offered."
        )


# --- questions of the server ---------------------------------------------------------------------


async def test_a_servers_question_reaches_the_user_and_the_answer_the_server(tmp_path):
    values = {"name": "Bo", "age": "7", "sure": "yes", "colour": "Green", "sizes": ["S"]}
    context = Context(reply=Reply("answered", values))
    async with running(plain(), cwd=tmp_path) as session:
        result = await session.call("plain__ask", {}, context)
    content = {"name": "Bo", "age": 7, "sure": True, "colour": "g", "sizes": ["S"]}
    assert json.loads(result.text) == {"action": "accept", "content": content}
    fields = (
        Field("name", "Name"),
        Field("age", "age", required=False),
        Field("sure", "sure", ("yes", "no"), required=False),
        Field("colour", "colour", ("Red", "Green"), required=False),
        Field("sizes", "sizes", ("S", "M"), many=True, required=False),
    )
    assert context.questions == [("The MCP server plain asks: Who?", fields)]


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        (Reply("declined", {}), "decline"),
        (Reply("unanswered", {}), "cancel"),
        (Reply("answered", {"name": "Bo", "age": "old"}), "cancel"),
    ],
)
async def test_a_question_without_a_usable_answer_is_a_no(tmp_path, reply, action):
    async with running(plain(), cwd=tmp_path) as session:
        result = await session.call("plain__ask", {}, Context(reply=reply))
    assert json.loads(result.text) == {"action": action}


async def test_a_waiting_question_does_not_let_the_call_time_out_and_ends_with_it(tmp_path):
    async with running(plain(call_seconds=0.1), cwd=tmp_path) as session:
        context = Context()
        call = session.group.create_task(session.call("plain__ask", {}, context))
        await context.asked.wait()
        done, _ = await asyncio.wait({call}, timeout=0.3)
        assert not done
        call.cancel()
        await asyncio.wait({call}, timeout=PATIENCE)
        assert (call.cancelled(), context.withdrawn.is_set()) == (True, True)


async def test_a_server_learns_the_roots_and_may_not_use_our_model(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        roots = json.loads((await session.call("plain__roots")).text)
        sample = json.loads((await session.call("plain__sample")).text)
    assert roots == {"roots": [{"uri": tmp_path.as_uri(), "name": tmp_path.name}]}
    assert sample == {"error": {"code": -32600, "message": "Sampling not supported"}}


# --- servers that fail ---------------------------------------------------------------------------


async def test_a_command_that_does_not_exist_is_a_problem_and_no_error(tmp_path):
    missing = McpServer("gone", "stdio", command="/no/such/program")
    async with running(missing, plain(), cwd=tmp_path) as session:
        assert "plain__echo" in await session.names()
        assert await session.problem() == Notice(
            "warning",
            "MCP server gone did not start",
            "No such file or directory: /no/such/program. Its tools are unavailable in this session.",
        )


async def test_a_server_that_exits_at_once_is_told_with_its_last_words(tmp_path):
    async with running(plain("--exit"), cwd=tmp_path) as session:
        assert await session.names() == []
        assert await session.problem() == Notice(
            "warning",
            "MCP server plain did not start",
            "Connection closed; it exited with code 1; the end of its stderr: a line on stderr no "
            "configuration found. Its tools are unavailable in this session.",
        )


async def test_a_server_that_never_answers_is_given_up(tmp_path):
    async with running(plain("--mute"), cwd=tmp_path, start_seconds=0.3) as session:
        assert await session.names() == []
        assert "It did not answer within 0.3 seconds" in (await session.problem()).description


async def test_a_server_that_only_writes_garbage_is_given_up(tmp_path):
    async with running(plain("--garbage"), cwd=tmp_path) as session:
        assert await session.names() == []
        assert "it wrote something to stdout that is no message" in (await session.problem()).description


async def test_the_first_step_waits_only_so_long_and_later_ones_have_the_tools(tmp_path):
    async with running(plain("--mute", name="mute"), plain(), cwd=tmp_path, wait_seconds=0.01) as session:
        start = time.monotonic()
        await session.names()
        assert time.monotonic() - start < WAIT_SECONDS
        await session.until_offered("plain__echo")


async def test_a_crash_in_mid_call_is_a_tool_error_and_the_next_call_starts_the_server_again(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        first = json.loads((await session.call("plain__facts")).text)["pid"]
        assert STOPPED in await session.error("plain__crash")
        second = json.loads((await session.call("plain__facts")).text)["pid"]
        assert first != second
        problem = await session.problem()
    assert problem.title == "MCP server plain stopped"
    assert problem.description.startswith("It exited with code 3; ")


async def test_a_server_that_crashes_again_is_not_started_a_third_time(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        assert STOPPED in await session.error("plain__crash")
        assert "Its tools are unavailable now" in await session.error("plain__crash")
        assert await session.error("plain__echo", {"text": "x"}) == UNAVAILABLE
        assert await session.names() == []


async def test_calls_at_once_share_one_restart(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--log", str(log)), cwd=tmp_path) as session:
        await session.error("plain__crash")
        said = await asyncio.gather(*(session.call("plain__echo", {"text": str(n)}) for n in range(5)))
    assert [result.text for result in said] == ["0", "1", "2", "3", "4"]
    assert (await asyncio.to_thread(log.read_text, "utf-8")).count("started") == 2


async def test_a_server_that_cannot_be_started_again_is_unavailable(tmp_path):
    async with running(plain("--once", "--log", str(tmp_path / "log")), cwd=tmp_path) as session:
        await session.error("plain__crash")
        assert await session.error("plain__echo", {"text": "x"}) == UNAVAILABLE
        titles = [(await session.problem()).title for _ in range(2)]
    assert titles == ["MCP server plain stopped", "MCP server plain did not start again"]


@pytest.mark.parametrize("tool", ["plain__huge", "plain__flood"])
async def test_too_much_output_ends_the_server_and_not_us(tmp_path, tool):
    async with running(plain(), cwd=tmp_path) as session:
        assert STOPPED in await session.error(tool)
        assert await session.call("plain__echo", {"text": "back"}) == text("back")


async def test_a_call_without_an_answer_times_out_and_the_server_is_told(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--log", str(log), call_seconds=0.2), cwd=tmp_path) as session:
        assert await session.error("plain__hang") == (
            "The MCP server plain did not answer within 0.2 seconds and was told to stop; the call may still "
            "have had an effect. Do something smaller, or something else."
        )
        await appears(log, "cancelled")
        assert await session.call("plain__echo", {"text": "alive"}) == text("alive")


async def test_cancelling_a_call_returns_at_once_and_tells_the_server(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--log", str(log)), cwd=tmp_path) as session:
        call = session.group.create_task(session.call("plain__hang"))
        await appears(log, "hanging")
        start = time.monotonic()
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        assert time.monotonic() - start < PATIENCE / 2
        await appears(log, "cancelled")
        assert await session.call("plain__echo", {"text": "alive"}) == text("alive")


# --- ends ----------------------------------------------------------------------------------------


async def test_the_end_of_a_session_ends_the_server_and_what_it_started(tmp_path):
    async with running(plain(), cwd=tmp_path) as session:
        pids = json.loads((await session.call("plain__child")).text)
        assert all(alive(pid) for pid in pids.values())
    assert not alive(pids["pid"])
    await eventually(lambda: not alive(pids["child"]))


async def test_a_server_that_ignores_everything_is_killed_soon(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--log", str(log)), cwd=tmp_path) as session:
        pid = json.loads((await session.call("plain__facts")).text)["pid"]
        call = session.group.create_task(session.error("plain__stubborn"))
        await appears(log, "ignoring SIGTERM")
        start = time.monotonic()
        await session.source.aclose()
        assert time.monotonic() - start < PATIENCE / 2
        assert not alive(pid)
        assert "stopped before it answered" in await call


async def test_closing_while_servers_start_leaves_nothing_behind(tmp_path):
    log = tmp_path / "log"
    async with running(plain("--mute", "--log", str(log)), cwd=tmp_path, wait_seconds=0.3) as session:
        await session.names()
    await appears(log, "stdin closed")


async def test_two_sessions_have_servers_of_their_own(tmp_path):
    async with running(plain(), cwd=tmp_path) as one, running(plain(), cwd=tmp_path) as other:
        pids = [json.loads((await session.call("plain__facts")).text)["pid"] for session in (one, other)]
        await one.error("plain__crash")
        assert await other.call("plain__echo", {"text": "still here"}) == text("still here")
        assert json.loads((await other.call("plain__facts")).text)["pid"] == pids[1] != pids[0]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- HTTP and SSE, and the newest protocol -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_server_of_the_official_package_works_over(tmp_path, transport):
    server_of = official(transport, headers=(("x-key", "kept"),), call_seconds=1.5)
    async with server_of as server, running(server, cwd=tmp_path) as session:
        assert await session.call("web__add", {"a": 1, "b": 2}) == text("3")
        assert await session.call("web__header", {"name": "x-key"}) == text("kept")
        context = Context()
        assert await session.call("web__work", {}, context) == text("done")
        assert context.outputs == ["[1/2] half\n"]
        await session.call("web__grow")
        await session.until_offered("web__grown")
        assert "did not answer within 1.5 seconds" in await session.error("web__hang")
        assert STOPPED in await session.error("web__huge")
        assert await session.call("web__add", {"a": 1, "b": 2}) == text("3")
        assert STOPPED in await session.error("web__crash")
        assert "its tools are unavailable" in await session.error("web__add", {"a": 1, "b": 2})


@pytest.mark.slow
async def test_a_session_can_end_while_a_connection_breaks(tmp_path):
    async with official("sse") as server, asyncio.timeout(PATIENCE), running(server, cwd=tmp_path) as session:
        await session.error("web__huge")


@pytest.mark.slow
async def test_a_frozen_web_server_does_not_hold_up_the_end_of_the_session(tmp_path):
    async with official("http", call_seconds=0.3) as server:
        async with running(server, cwd=tmp_path) as session:
            assert "did not answer within" in await session.error("web__freeze")
            start = time.monotonic()
        assert time.monotonic() - start < CONNECT_SECONDS


async def test_a_web_server_that_never_answers_is_given_up(tmp_path):
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        web = McpServer("web", "sse", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse")
        async with running(web, cwd=tmp_path, start_seconds=0.3) as session:
            assert await session.names() == []
            assert "It did not answer within 0.3 seconds" in (await session.problem()).description


async def test_a_web_server_that_says_no_is_told_with_its_status(tmp_path):
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        web = McpServer("web", "http", url=f"http://127.0.0.1:{port}/mcp")
        async with running(web, cwd=tmp_path) as session:
            assert await session.names() == []
            problem = await session.problem()
    assert "HTTP 401 Unauthorized" in problem.description


async def test_a_server_that_knows_only_the_newest_protocol_is_understood(tmp_path):
    server = McpServer("modern", "stdio", command=sys.executable, args=(str(SERVERS / "modern.py"),))
    async with running(server, cwd=tmp_path) as session:
        assert await session.names() == ["modern__ask"]
        result = await session.call("modern__ask", {}, Context(reply=Reply("answered", {"name": "Bo"})))
        assert json.loads(result.text) == [{"action": "accept", "content": {"name": "Bo"}}, "s"]
        await session.until_offered("modern__late")
