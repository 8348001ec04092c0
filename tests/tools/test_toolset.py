"""The tools of one session, whoever they come from."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from terminal_context import RecordingContext, call

from hermes_acp.events import Notice
from hermes_acp.llm.base import ToolSpec
from hermes_acp.tools.base import Description, Tool, ToolContext, ToolResult
from hermes_acp.tools.toolset import Toolset
from hermes_acp.tools.typed import TypedTool
from hermes_acp.workspace.execution.local import LocalExecution


@dataclass
class Source:
    """A source that is slow to start."""

    names: tuple[str, ...]
    closed: bool = False

    async def tools(self) -> Sequence[Tool]:
        await asyncio.sleep(0)
        return [foreign(name) for name in self.names]

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def next_problem(self) -> Notice:
        return Notice("warning", "a server is slow")

    async def aclose(self) -> None:
        self.closed = True


def foreign(name: str) -> Tool:
    async def run(params: BaseModel, context: ToolContext) -> ToolResult:
        return ToolResult(name)

    spec = ToolSpec(name, "", {})
    return TypedTool(BaseModel, spec, "other", False, lambda params, cwd: Description(name), run)


async def names(toolset: Toolset) -> list[str]:
    return [tool.spec.name for tool in await toolset.tools()]


async def test_our_own_tools_come_first_and_in_the_same_order_every_time():
    own = await names(Toolset())
    assert {"read_file", "run_command", "process", "plan", "ask_user"} <= set(own)
    toolset = Toolset(Source(("b__x", "b__a", "a__x")))
    assert await names(toolset) == await names(toolset) == [*own, "b__x", "b__a", "a__x"]


async def test_a_source_cannot_replace_a_tool_that_is_there():
    toolset = Toolset(Source(("run_command", "a__x", "a__x")))
    tools = await toolset.tools()
    assert len({tool.spec.name for tool in tools}) == len(tools)
    assert toolset.find("run_command") is next(tool for tool in tools if tool.spec.name == "run_command")
    assert toolset.find("run_command").kind == "execute"


async def test_tools_are_found_by_name_once_they_were_given():
    toolset = Toolset(Source(("a__x",)))
    assert toolset.find("plan") is not None
    assert toolset.find("a__x") is None
    await toolset.tools()
    assert toolset.find("a__x") is not None
    assert toolset.find("nothing") is None


async def test_problems_of_the_source_are_passed_on():
    assert await Toolset(Source(())).next_problem() == Notice("warning", "a server is slow")


async def test_two_sessions_do_not_see_each_others_processes_and_each_ends_its_own(tmp_path):
    execution = LocalExecution({"PATH": os.defpath})
    context = RecordingContext(str(tmp_path), execution)
    source, nothing = Source(()), ToolResult("There are no background processes.")
    first, second = Toolset(source), Toolset()
    await call(first.find("run_command"), context, command="sleep 300", background=True)
    assert await call(second.find("process"), context, action="list") == nothing
    await first.aclose()
    assert source.closed
    assert await call(first.find("process"), context, action="list") == nothing
    await second.aclose()
    await execution.aclose()


async def test_a_command_is_ended_after_the_timeout_of_the_settings(tmp_path):
    execution = LocalExecution({"PATH": os.defpath})
    toolset = Toolset(command_timeout=0.05)
    result = await call(
        toolset.find("run_command"), RecordingContext(str(tmp_path), execution), command="exec sleep 300"
    )
    assert result.text == "timed out after 0.05 s and was ended; set a longer timeout or background"
    await execution.aclose()
