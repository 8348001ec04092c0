"""The tool with which the agent keeps what is worth knowing in later sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

from pydantic import Field

from hermes_acp.memory.facts.fact import KEY_CHARS, QUOTE_CHARS, TEXT_CHARS, BadFact, Kind
from hermes_acp.memory.facts.wishes import Wish
from hermes_acp.storage.errors import StorageError
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool

SOURCES = 16
"""Facts that one can be concluded from."""


class Notebook(Protocol):
    """The memory of one session. All methods raise `BadFact` and `StorageError`."""

    async def listing(self, cwd: str, about: str) -> str:
        """What is known in a folder, all of it or what is about something."""
        ...

    async def why(self, cwd: str, typed: str) -> str:
        """Where a fact comes from."""
        ...

    async def grant(self, cwd: str, wish: Wish, quote: str) -> str:
        """Do what the agent wants, as far as it may: what was done. `quote` are words of the user."""
        ...


class MemoryParams(Params):
    """What to do."""

    action: Literal["remember", "amend", "supersede", "retract", "list", "why"]
    text: str = Field(default="", max_length=TEXT_CHARS)
    kind: Kind | None = None
    key: str | None = Field(default=None, max_length=KEY_CHARS)
    quote: str = Field(default="", max_length=QUOTE_CHARS)
    fact: str = ""
    reach: Literal["branch", "project", "user"] = "branch"
    sources: tuple[str, ...] = Field(default=(), max_length=SOURCES)
    file: str = ""


Opening: TypeAlias = Callable[[], Awaitable[Notebook]]


def memory_tools(notebook: Opening) -> tuple[Tool, ...]:
    """The tool on the memory of one session, which is opened at its first use."""

    @tool(MemoryParams, kind="other", describe=_describe)
    async def memory(params: MemoryParams, context: ToolContext) -> ToolResult:
        """Keep what later sessions should know: one short sentence each, no secrets, nothing that the code or
        its history says. `remember` text of a kind, with a `key` for what has one value at a time (package
        manager); `amend` or `supersede` a `fact` by its id; `retract` it; `list` what is known (about
        `text`); `why` a fact is known. What the user said in this session holds at once: give their exact
        words as `quote`. Anything else is a proposal that they confirm. `sources` are facts it follows from,
        `file` the code that says so; `reach` user is for all projects."""
        try:
            book = await notebook()
            if params.action == "list":
                return ToolResult(await book.listing(context.cwd, params.text))
            if params.action == "why":
                return ToolResult(await book.why(context.cwd, params.fact))
            wish = Wish(
                params.action,
                params.text,
                params.kind,
                params.key,
                params.fact,
                params.reach,
                params.sources,
                params.file,
            )
            return ToolResult(await book.grant(context.cwd, wish, params.quote))
        except (BadFact, StorageError) as error:
            raise ToolError(str(error)) from error

    return (memory,)


def _describe(params: MemoryParams, _cwd: str) -> Description:
    about = " ".join((params.text or params.fact).split())[:100]
    return Description(f"Memory: {params.action} {about}".rstrip())
