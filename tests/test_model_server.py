"""The model server as a program: the way other processes use it."""

import asyncio
import json
import sys
from pathlib import Path

from hermes_acp.content import TextBlock
from hermes_acp.llm.base import Request, TextPart, UserMessage
from hermes_acp.llm.openai_wire import OpenAIModel
from hermes_acp.llm.route import Dialect, Route
from tests import model_server
from tests.model_server import answer


async def test_the_program_prints_its_port_serves_and_ends_with_its_input(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([answer("hello")]))
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        model_server.__file__,
        str(script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    model = OpenAIModel(Route("openai/m", "m", Dialect("m"), f"http://127.0.0.1:{port}/v1"))
    request = Request("", (UserMessage((TextBlock("hi"),)),))
    assert TextPart("hello") in [part async for part in model.stream(request)]
    await model.aclose()
    server.stdin.close()
    assert await server.wait() == 0
