"""What a tool is: typed parameters, an async function, and what it may ask of its surroundings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from hermes_acp.content import ImageBlock, Location, Shown
from hermes_acp.events import ExitStatus, Field, Notice, PlanEntry, ToolKind
from hermes_acp.llm.base import ToolSpec
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.records import record
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.execution.base import Execution


class Params(BaseModel):
    """Base of all tool parameters: unknown members are refused, so that typos reach the model."""

    model_config = ConfigDict(extra="forbid")


@record
class ToolResult:
    """The outcome of a call: `text` for the model, `shown` for the person."""

    text: str
    failed: bool = False
    shown: tuple[Shown, ...] = ()
    locations: tuple[Location, ...] = ()
    images: tuple[ImageBlock, ...] = ()
    exit: ExitStatus | None = None
    title: str | None = None


class ToolError(Exception):
    """An expected failure; `str()` tells the model what happened and what to do instead."""


@record
class Reply:
    """The user's answer to a question: values by field name, or why there is none."""

    outcome: str
    values: dict[str, object]


class ToolContext(Protocol):
    """What one call may use. Every effect needs a permit, and only `permit` gives one."""

    @property
    def call_id(self) -> str:
        """The id of this call."""
        ...

    @property
    def session_id(self) -> str:
        """The session that this call belongs to."""
        ...

    @property
    def cwd(self) -> str:
        """The session's working directory: absolute, real path."""
        ...

    @property
    def roots(self) -> tuple[str, ...]:
        """`cwd` and the additional directories: absolute, real paths."""
        ...

    @property
    def documents(self) -> Documents:
        """The files, with the editor's unsaved text where the editor shares it."""
        ...

    @property
    def execution(self) -> Execution:
        """Where commands run."""
        ...

    async def permit(
        self, effect: Effect, shown: tuple[Shown, ...] = (), locations: tuple[Location, ...] = ()
    ) -> Permit:
        """Pass the policy, asking the user where it says so. Raises `Refused`.

        `shown` is what the user sees in the question: exactly what will happen.
        """
        ...

    def progress(self, output: str = "", shown: tuple[Shown, ...] | None = None) -> None:
        """Tell the windows how it goes; `output` is appended, `shown` replaces."""
        ...

    def set_plan(self, entries: tuple[PlanEntry, ...]) -> None:
        """Replace the plan that the windows show."""
        ...

    async def ask(self, message: str, fields: tuple[Field, ...]) -> Reply:
        """Ask the user; waits as long as somebody is there to answer."""
        ...


P = TypeVar("P", bound=BaseModel)
Run = Callable[[P, ToolContext], Awaitable[ToolResult]]


@record
class Description:
    """How a call is announced before it runs."""

    title: str
    locations: tuple[Location, ...] = ()


class Call(Protocol):
    """Arguments that were accepted, ready to run once."""

    def describe(self, cwd: str) -> Description:
        """The title and places of this call; no I/O."""
        ...

    async def run(self, context: ToolContext) -> ToolResult:
        """Do it. Raises `ToolError` and `Refused`; anything else is a bug."""
        ...


class Tool(Protocol):
    """A tool of any origin: ours or an MCP server's."""

    @property
    def spec(self) -> ToolSpec:
        """What the model is told."""
        ...

    @property
    def kind(self) -> ToolKind:
        """The category that editors show."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether calls may run beside other calls (they change nothing)."""
        ...

    def accept(self, arguments: dict[str, object]) -> Call:
        """Check the arguments. Raises `ToolError` that says what is wrong with them."""
        ...


class ToolSource(Protocol):
    """Tools that come with a session and may take time to appear, such as MCP servers."""

    async def run(self) -> None:
        """Live with the session, which runs this as a task; ends when cancelled."""
        ...

    async def next_problem(self) -> Notice:
        """Wait for the next thing that the user should know."""
        ...

    async def tools(self) -> Sequence[Tool]:
        """The tools; waits, within a named bound, for servers that are still starting."""
        ...

    async def aclose(self) -> None:
        """End everything that was started."""
        ...


class SessionTools(Protocol):
    """All tools of one session."""

    async def run(self) -> None:
        """Live with the session, which runs this as a task; ends when cancelled."""
        ...

    async def next_problem(self) -> Notice:
        """Wait for the next thing that the user should know."""
        ...

    async def tools(self) -> Sequence[Tool]:
        """The tools as the model gets them: our own first, in a stable order."""
        ...

    def find(self, name: str) -> Tool | None:
        """The tool of that name among those that `tools` gave last."""
        ...

    async def aclose(self) -> None:
        """End everything that the session's tools have started."""
        ...
