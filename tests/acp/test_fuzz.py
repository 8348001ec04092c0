"""Ten thousand damaged frames to one process: it answers what can be answered, and lives."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acp.harness import Agent, Pool
from tests.acp.script import says

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = {"hello": [says("Hello to you.")]}

FRAMES = 10_000
BATCH = 250
"""Frames between two pauses, so that the pipe is not the thing tested."""
DEPTH = 150
"""Nesting up to which a frame has to be understood."""
SEED = 20_261_121

Json = dict[str, Any]
Value = Any
Mutation = Callable[[random.Random, Json], bytes]


def valid_frames(session_id: str, empty_id: str, cwd: str) -> list[Json]:
    """One frame of every method that a client may call."""
    content = [{"type": "text", "text": "hello"}, {"type": "resource_link", "uri": "file:///a", "name": "a"}]
    one = {"sessionId": session_id}
    place = {"cwd": cwd, "mcpServers": []}
    return [
        {"method": "initialize", "params": {"protocolVersion": 1, "clientCapabilities": {"fs": {}}}},
        {"method": "authenticate", "params": {"methodId": "provider-key"}},
        {"method": "session/new", "params": place | {"cwd": "/nowhere/at/all"}},
        {"method": "session/load", "params": place | {"sessionId": empty_id}},
        {"method": "session/resume", "params": place | {"sessionId": "nobody"}},
        {"method": "session/list", "params": {"cwd": cwd, "cursor": None}},
        {"method": "session/close", "params": {"sessionId": "nobody"}},
        {"method": "session/delete", "params": {"sessionId": "nobody"}},
        {"method": "session/prompt", "params": one | {"prompt": content}},
        {"method": "session/set_mode", "params": one | {"modeId": "plan"}},
        {"method": "session/set_config_option", "params": one | {"configId": "effort", "value": "low"}},
        {"method": "session/cancel", "params": one},
        {"method": "$/cancel_request", "params": {"requestId": 1}},
        {"method": "_session/steering", "params": one | {"prompt": content}},
        {"result": {"outcome": {"outcome": "cancelled"}}},
    ]


# --- mutations -----------------------------------------------------------------------------------


def unchanged(_chance: random.Random, frame: Json) -> bytes:
    return json.dumps(frame).encode()


def flipped(chance: random.Random, frame: Json) -> bytes:
    data = bytearray(json.dumps(frame).encode())
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def cut(chance: random.Random, frame: Json) -> bytes:
    data = json.dumps(frame).encode()
    return data[: chance.randrange(len(data))]


def spliced(chance: random.Random, frame: Json) -> bytes:
    data = json.dumps(frame).encode()
    start, end = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:]


def retyped(chance: random.Random, frame: Json) -> bytes:
    return json.dumps(_replaced(chance, frame, _odd_value)).encode()


def doubled(chance: random.Random, frame: Json) -> bytes:
    name = chance.choice(list(frame))
    member = json.dumps({name: _odd_value(chance)})[1:-1]
    whole = json.dumps(frame)
    return (f"{whole[:-1]}, {member}}}" if chance.random() < 0.5 else f"{{{member}, {whole[1:]}").encode()


def nested(chance: random.Random, frame: Json) -> bytes:
    depth = chance.choice([3, 50, 120, 300, 5_000])
    bracket = chance.choice([("[", "]"), ('{"a":', "}")])
    deep = f"{bracket[0] * depth}1{bracket[1] * depth}"
    return json.dumps(frame).replace('"params": {', f'"params": {{"deep": {deep}, ', 1).encode()


def renamed(chance: random.Random, frame: Json) -> bytes:
    ids = [0, -1, 2**64, 10**40, "", "x", "\ud800", None, True, 1.5, [], {}]
    return json.dumps(frame | {"id": chance.choice(ids)}).encode()


def spaced(chance: random.Random, frame: Json) -> bytes:
    blank = chance.choice([b"\r", b" ", b"\t", b"\xef\xbb\xbf", b"\x00", b"\x0b"])
    data = json.dumps(frame).encode()
    place = chance.choice([0, len(data), data.index(b" ")])
    return data[:place] + blank + data[place:]


MUTATIONS: tuple[Mutation, ...] = (
    unchanged,
    flipped,
    flipped,
    cut,
    spliced,
    retyped,
    retyped,
    retyped,
    doubled,
    nested,
    renamed,
    spaced,
)


def _odd_value(chance: random.Random) -> Value:
    return chance.choice(
        [
            *(None, True, False, 0, -1, 1.5, 1e308, 2**63, 10**50, -(10**300)),
            *("", "x" * 3000, "\x00", "\ud83d", "../../../etc/passwd", "é\u2028\U0001f600", "{}"),
            *(
                [],
                [[]],
                [None],
                {},
                {"": {}},
                {"type": "text"},
                ["a"] * 50,
                {"a": 1} | {"b": [1, {"c": None}]},
            ),
        ]
    )


def _replaced(chance: random.Random, value: Value, make: Callable[[random.Random], Value]) -> Value:
    """The value with one place in it, at any depth, replaced or removed."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        if chance.random() < 0.15:
            return {key: item for key, item in value.items() if key != name}
        return value | {name: _replaced(chance, value[name], make)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], _replaced(chance, value[place], make), *value[place + 1 :]]
    return make(chance)


# --- what has to be answered ---------------------------------------------------------------------


def readable_id(line: bytes) -> int | str | None:
    """The id under which this line has to be answered; None where that is not required."""
    try:
        message = json.loads(line.decode().strip(" \t\r"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or "method" not in message or _depth(message) > DEPTH:
        return None
    found = message.get("id")
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def _no_number(name: str) -> Value:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Value) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            item
            for inner in level
            if isinstance(inner, list | dict)
            for item in (inner.values() if isinstance(inner, dict) else inner)
        ]
    return depth


def known(identity: int | str) -> int | str:
    """How an id comes back: half a surrogate pair is replaced."""
    return (
        identity.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if isinstance(identity, str)
        else identity
    )


@pytest.mark.slow
@pytest.mark.requirement("transport.fuzz")
async def test_ten_thousand_damaged_frames_are_survived(agents: Pool, cwd: Path, tmp_path: Path) -> None:
    agent = await agents.start(tmp_path / "home", audit=False)
    await agent.initialize()
    session = await agent.new(cwd)
    frames = valid_frames(session.id, (await agent.new(cwd)).id, str(cwd))
    chance = random.Random(SEED)
    expected: set[int | str] = set()
    for number in range(1, FRAMES + 1):
        frame = {"jsonrpc": "2.0", "id": 1_000_000 + number, **chance.choice(frames)}
        data = chance.choice(MUTATIONS)(chance, frame)
        lines = data.split(b"\n")
        expected |= {known(found) for found in map(readable_id, lines) if found is not None}
        agent.send_bytes(data + b"\n")
        if number % BATCH == 0:
            await answered(agent, number)
    await answered(agent, FRAMES + 1)
    await agent.until(lambda: not expected - agent.answered, "every answer")
    assert "Traceback" not in agent.stderr, agent.stderr
    last = await agent.new(cwd)
    assert await last.prompt("hello") == "end_turn"


async def answered(agent: Agent, number: int) -> None:
    """Wait until the agent has read what was sent."""
    line = json.dumps({"jsonrpc": "2.0", "id": f"batch-{number}", "method": "_test/nothing"})
    agent.send_bytes(line.encode() + b"\n")
    await agent.until(lambda: f"batch-{number}" in agent.answered, "the batch")
