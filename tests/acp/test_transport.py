"""Lines in, lines out: whatever is sent, the connection lives and says what was wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.acp import schema
from tests.acp.harness import Agent, AgentError, Pool, choosing, environment, holding, is_alive
from tests.acp.script import calls, says

pytestmark = pytest.mark.asyncio(loop_scope="session")
requirement = pytest.mark.requirement

SCRIPT = {
    "hello": [says("Hello to you.")],
    "slow": [says("tick ", repeat=2000, delay=0.01)],
    "flood": [says("x" * 1000, repeat=8000)],
    "print": [calls("run_command", command='echo \'{"jsonrpc": "2.0"}\' | tee /dev/stderr'), says("Ran.")],
    "leak": [calls("run_command", command="echo leaked > /proc/$PPID/fd/1"), says("Ran.")],
    "sleep": [calls("run_command", command="sleep 61 & echo ready; sleep 62"), says("Ran.")],
    "write": [calls("write_file", path="made.txt", content="x"), says("Written.")],
}

CORPUS = schema.path().parents[1] / "corpora" / "dev_jsontestsuite.jsonl"
LINE_LIMIT = 4096
END_LIMIT = 15.0
"""Seconds from the end of the input to the end of the process, less than any of the turns would take."""


async def answers_to(agent: Agent, *lines: bytes) -> list[dict[str, object]]:
    """What is said to these lines, in order, and that the connection lives."""
    before = len(agent.lines)
    for line in lines:
        if agent.audit is not None:
            agent.audit.excuse(line)
        agent.send_bytes(line + b"\n")
    await agent.settle()
    return agent.lines[before:-1]


def codes(answers: list[dict[str, object]]) -> list[tuple[object, object]]:
    """Ids and error codes."""
    return [(answer["id"], answer["error"]["code"] if "error" in answer else None) for answer in answers]


@requirement("transport.bad-json")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"nonsense", -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "initialize"', -32700),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "x"}', -32700),
        (b'{"a": "\xff\xfe"}', -32700),
        (b"\x00", -32700),
        (b'{"a": "\x00"}', -32700),
        (b"\xc3\x28", -32700),
        (b"[" * 100_000, -32700),
        (b'{"a":' * 100_000, -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "x"}]', -32600),
        (b"[1, 2, 3]", -32600),
        (b"1", -32600),
        (b'"text"', -32600),
        (b"null", -32600),
        (b"true", -32600),
        (b"{}", -32600),
        (b'{"id": null}', -32600),
        (b'{"jsonrpc": "2.0"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "x"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "x"}', -32600),
        (b'{"jsonrpc": "2.0", "id": [], "method": "x"}', -32600),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "x"}', -32600),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else str(value),
)
async def test_a_line_that_is_no_message_is_answered_with_an_error_without_an_id(
    agent: Agent, line: bytes, code: int
) -> None:
    assert codes(await answers_to(agent, line)) == [(None, code)]


@requirement("transport.bad-json")
@pytest.mark.parametrize(
    "line",
    [
        b'{"id": 7, "method": "x"}',
        b'{"jsonrpc": "1.0", "id": 7, "method": "x"}',
        b'{"jsonrpc": 2.0, "id": 7, "method": "x"}',
        b'{"jsonrpc": "2.0", "id": 7, "method": 3}',
        b'{"jsonrpc": "2.0", "id": 7, "method": null}',
        b'{"jsonrpc": "2.0", "id": 7}',
        b'{"jsonrpc": "2.0", "id": 7, "result": 1, "error": {"code": 1, "message": "x"}}',
    ],
)
async def test_a_wrong_message_with_a_readable_id_is_answered_under_it(agent: Agent, line: bytes) -> None:
    assert codes(await answers_to(agent, line)) == [(7, -32600)]


@requirement("transport.bad-json")
async def test_every_line_of_the_json_test_suite_is_survived(agent: Agent) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"there is no {CORPUS.name} beside the checkout")
    lines = []
    for row in CORPUS.read_text("utf-8").splitlines():
        case = json.loads(row)
        unit, count = case.get("gen") or (None, 0)
        data = unit.encode() * count if unit else base64.b64decode(case["b64"])
        lines += [part for part in data.replace(b"\r", b"\n").split(b"\n") if part.strip(b" \t")]
    answers = await answers_to(agent, *lines)
    assert len(answers) == len(lines)
    assert all("error" in answer for answer in answers)


@requirement("transport.ids")
@pytest.mark.parametrize(
    "request_id", [0, -1, 2**53, -(2**63), 2**63, 10**30, "", "0", "é\u2028", "x" * 5000]
)
async def test_ids_of_every_kind_come_back_as_they_were(agent: Agent, request_id: object) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request("no/such", {}, request_id=request_id)
    assert caught.value.code == -32601


@requirement("transport.ids")
async def test_a_request_with_a_null_id_is_answered_under_it(agent: Agent) -> None:
    line = b'{"jsonrpc": "2.0", "id": null, "method": "session/list", "params": {}}'
    answers = await answers_to(agent, line)
    assert [(item["id"], "result" in item) for item in answers] == [(None, True)]


@requirement("transport.ids")
async def test_an_id_that_is_in_use_is_refused_and_the_first_request_goes_on(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    turn = session.begin("slow")
    await session.update("agent_message_chunk")
    line = json.dumps({"jsonrpc": "2.0", "id": agent.last_id, "method": "session/list"}).encode()
    assert agent.audit is not None
    agent.audit.excuse(line)
    agent.send_bytes(line + b"\n")
    with pytest.raises(AgentError) as caught:
        await agent.settled(turn)
    assert caught.value.code == -32600
    again = agent.expect(agent.last_id)
    session.cancel()
    assert await agent.settled(again) == {"stopReason": "cancelled"}


@requirement("errors.method")
@requirement("extensions.unknown")
@pytest.mark.parametrize(
    "method", ["", "no/such", "session/update", "_vendor/thing", "$/unknown", "rpc.discover"]
)
async def test_an_unknown_request_is_refused(agent: Agent, method: str) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request(method, {})
    assert caught.value.code == -32601


@requirement("errors.notification")
@requirement("extensions.unknown")
async def test_an_unknown_notification_is_met_with_silence(agent: Agent) -> None:
    methods = ("no/such", "_vendor/thing", "$/unknown", "session/prompt", "session/new")
    lines = [json.dumps({"jsonrpc": "2.0", "method": method, "params": {}}).encode() for method in methods]
    assert await answers_to(agent, *lines) == []


@requirement("errors.response")
async def test_an_answer_to_nothing_is_met_with_silence(agent: Agent) -> None:
    lines = [
        b'{"jsonrpc": "2.0", "id": 4711, "result": {}}',
        b'{"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "no"}}',
        b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "no"}}',
        b'{"jsonrpc": "2.0", "id": 1, "error": "odd"}',
    ]
    assert await answers_to(agent, *lines) == []


@requirement("errors.params")
@pytest.mark.parametrize("params", [[], [1], "text", 3, True, {"cwd": 3}, {"sessionId": None}])
@pytest.mark.parametrize("method", ["session/new", "session/prompt", "session/load", "authenticate"])
async def test_wrong_parameters_are_refused(agent: Agent, method: str, params: object) -> None:
    with pytest.raises(AgentError) as caught:
        await agent.request(method, params)
    assert caught.value.code == -32602


@requirement("errors.lenient")
@requirement("extensions.meta")
async def test_null_parameters_and_unknown_members_are_accepted(agent: Agent) -> None:
    assert "sessions" in await agent.request("session/list", None)
    params = {"cwd": None, "cursor": None, "_meta": {"x": [1]}, "other": {"deep": []}}
    assert "sessions" in await agent.request("session/list", params)
    line = b'{"jsonrpc": "2.0", "id": "extra", "method": "session/list", "trace": 1, "_meta": {}}'
    assert codes(await answers_to(agent, line)) == [("extra", None)]


@requirement("transport.lines")
async def test_crlf_blank_lines_spaces_and_members_in_any_order_are_accepted(agent: Agent) -> None:
    line = b'{"params": {}, "method": "session/list", "id": "a", "jsonrpc": "2.0"}'
    answers = await answers_to(
        agent, line + b"\r", b"", b"\r", b"  \t", b"  " + line.replace(b'"a"', b'"b"') + b"  "
    )
    assert codes(answers) == [("a", None), ("b", None)]


@requirement("transport.lines")
async def test_a_byte_order_mark_in_front_is_skipped(agents: Pool, tmp_path: Path) -> None:
    agent = await agents.start(tmp_path / "home")
    agent.send_bytes(b"\xef\xbb\xbf")
    assert (await agent.initialize())["protocolVersion"] == 1


@requirement("transport.lines")
async def test_a_message_may_come_byte_by_byte(agent: Agent) -> None:
    before = len(agent.lines)
    line = b'{"jsonrpc": "2.0", "id": "slow", "method": "no/such"}\n'
    assert agent.audit is not None
    agent.audit.excuse(line)
    for byte in line:
        agent.send_bytes(bytes([byte]))
        await asyncio.sleep(0)
    await agent.until(lambda: len(agent.lines) > before, "the answer")
    assert codes(agent.lines[before:]) == [("slow", -32601)]


@requirement("transport.lines")
async def test_a_last_line_without_an_end_is_still_served(agents: Pool, tmp_path: Path) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    agent.send_bytes(b'{"jsonrpc": "2.0", "id": "last", "method": "no/such"}')
    agent.end_input()
    assert await agent.exited() == 0
    assert codes(agent.lines[1:]) == [("last", -32601)]


@requirement("transport.long-lines")
async def test_a_line_over_the_limit_is_dropped_with_an_error(agents: Pool, cwd: Path) -> None:
    agent = await agents.get(HERMES_EDITOR_MAX_LINE_BYTES=str(LINE_LIMIT))
    answers = await answers_to(agent, b"x" * (LINE_LIMIT + 1), b'"' + b"y" * 3_000_000 + b'"', b"{" * 10)
    assert codes(answers) == [(None, -32600), (None, -32600), (None, -32700)]
    assert str(LINE_LIMIT) in str(answers[0]["error"])
    session = await agent.new(cwd)
    assert await session.prompt("hello") == "end_turn"


@requirement("transport.long-lines")
@pytest.mark.slow
async def test_a_huge_line_is_dropped_in_bounded_memory(agents: Pool) -> None:
    agent = await agents.get(HERMES_EDITOR_MAX_LINE_BYTES=str(LINE_LIMIT))
    await agent.settle()
    before = psutil.Process(agent.server).memory_info().rss
    for _ in range(64):
        agent.send_bytes(b"x" * 1_000_000)
    assert codes(await answers_to(agent, b"")) == [(None, -32600)]
    assert psutil.Process(agent.server).memory_info().rss - before < 16_000_000


@requirement("transport.pipelining")
async def test_requests_sent_before_any_answer_are_served_in_order(
    agents: Pool, cwd: Path, tmp_path: Path
) -> None:
    agent = await agents.start(tmp_path / "home")
    first = agent.begin("initialize", {"protocolVersion": 1})
    second = agent.begin("session/new", {"cwd": str(cwd), "mcpServers": []})
    third = agent.begin("session/list", {"cwd": str(cwd)})
    await agent.settled(third)
    assert first.done() and second.done()
    listed = [item["sessionId"] for item in third.result()["sessions"]]
    assert listed == [second.result()["sessionId"]]
    answered = [line["id"] for line in agent.lines if "method" not in line]
    assert answered == [1, 2, 3]


@requirement("transport.utf-8")
async def test_every_line_is_one_message_whatever_is_in_the_text(agent: Agent, cwd: Path) -> None:
    session = await agent.new(cwd)
    assert await session.prompt("a\nb\r\nc\u2028d\u0085\ud800e\x00") == "end_turn"
    assert all(line["jsonrpc"] == "2.0" for line in agent.lines)


@requirement("transport.stdout")
@pytest.mark.parametrize("prompt", ["print", "leak"])
async def test_what_a_command_prints_never_reaches_the_protocol(agent: Agent, cwd: Path, prompt: str) -> None:
    agent.handlers["session/request_permission"] = choosing("allow_once")
    session = await agent.new(cwd)
    assert await session.prompt(prompt) == "end_turn"
    assert all("jsonrpc" in line and "leaked" not in line for line in agent.lines)


@requirement("transport.stdout")
async def test_descriptor_one_of_the_process_is_standard_error(agent: Agent) -> None:
    process = Path(f"/proc/{agent.server}/fd")
    if not process.is_dir():
        pytest.skip("this system shows no descriptors of a process")
    assert (process / "1").readlink() == (process / "2").readlink()


@requirement("transport.end")
@pytest.mark.parametrize("prompt", [None, pytest.param("slow", marks=pytest.mark.slow), "sleep", "write"])
async def test_the_end_of_the_input_ends_everything(
    agents: Pool, cwd: Path, tmp_path: Path, prompt: str | None
) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    agent.handlers["session/request_permission"] = holding if prompt == "write" else choosing("allow_once")
    await agent.initialize()
    session = await agent.new(cwd)
    if prompt is not None:
        session.begin(prompt)
    if prompt == "slow":
        await session.update("agent_message_chunk")
    if prompt == "write":
        await agent.question()
    if prompt == "sleep":
        await agent.until(lambda: any("ready" in str(item) for item in session.updates), "the command")
    children = psutil.Process(agent.server).children(recursive=True)
    begun = time.monotonic()
    agent.end_input()
    assert await agent.exited() == 0
    assert time.monotonic() - begun < END_LIMIT
    assert [child for child in children if is_alive(child)] == []


@requirement("transport.end")
@pytest.mark.slow
async def test_a_client_that_stops_reading_does_not_keep_the_process(
    agents: Pool, cwd: Path, tmp_path: Path
) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    session = await agent.new(cwd)
    session.begin("flood")
    await session.update("agent_message_chunk")
    agent.stop_reading()
    for _ in range(5):
        agent.send_bytes(b'{"jsonrpc": "2.0", "id": "x", "method": "no/such"}\n')
        await asyncio.sleep(0.2)
    begun = time.monotonic()
    agent.end_input()
    assert await agent.exited() == 0
    assert time.monotonic() - begun < END_LIMIT


@requirement("transport.end")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(item, marks=pytest.mark.slow) for item in (signal.SIGINT, signal.SIGHUP)),
    ],
)
async def test_a_signal_ends_it_in_order(
    agents: Pool, cwd: Path, tmp_path: Path, number: signal.Signals
) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    session = await agent.new(cwd)
    session.begin("slow")
    await session.update("agent_message_chunk")
    agent.transport.send_signal(number)
    begun = time.monotonic()
    await agent.exited()
    assert time.monotonic() - begun < END_LIMIT
    assert "Traceback" not in agent.stderr


@requirement("transport.protocol")
async def test_the_first_byte_decides_the_protocol(agents: Pool, tmp_path: Path) -> None:
    agent = await agents.start(tmp_path / "home", None, "--standalone")
    assert (await agent.initialize())["protocolVersion"] == 1


@requirement("transport.end")
@pytest.mark.slow
@pytest.mark.parametrize("piped", [True, False])
async def test_input_from_files_and_devices_is_served_to_its_end(tmp_path: Path, piped: bool) -> None:
    lines = tmp_path / "lines.jsonl"
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}
    lines.write_text(json.dumps(initialize) + "\n")
    answers: list[bytes] = []
    for source in (Path("/dev/null"), lines):
        with source.open("rb") as stdin, (tmp_path / "answers").open("w+b") as stdout:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hermes_acp", "acp"),
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE if piped else stdout,
                env=environment(tmp_path),
                cwd=tmp_path,
            )
            async with asyncio.timeout(10):
                written, _ = await process.communicate()
            assert process.returncode == 0
            answers.append(written if piped else (tmp_path / "answers").read_bytes())
    assert answers[0] == b""
    assert json.loads(answers[1])["result"]["protocolVersion"] == 1
