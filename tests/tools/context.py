"""Surroundings of a call of the file tools: real files, and a record of what was asked."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hermes_acp.content import Diff, Location, Shown
from hermes_acp.events import Field, PlanEntry
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.policy.paths import inside, reserve
from hermes_acp.tools.base import Reply, Tool, ToolError, ToolResult
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.editors import EditorError, EditorFiles
from hermes_acp.workspace.execution.local import LocalExecution


@dataclass
class Context:
    """Permits everything but the kinds in `refused`; `meanwhile` runs while the user thinks.

    As the policy, it asks for no read of an ordinary file inside the roots.
    """

    cwd: str
    roots: tuple[str, ...]
    documents: Documents
    execution: LocalExecution
    call_id: str = "call-1"
    session_id: str = "session-1"
    refused: tuple[str, ...] = ()
    meanwhile: Callable[[], object] = lambda: None
    effects: list[Effect] = field(default_factory=list)
    asked: list[tuple[Shown, ...]] = field(default_factory=list)

    async def permit(
        self, effect: Effect, shown: tuple[Shown, ...] = (), locations: tuple[Location, ...] = ()
    ) -> Permit:
        usual = all(inside(path, self.roots) and not reserve(path, ()) for path in effect.paths)
        if effect.kind == "read" and usual:
            return Permit(effect)
        self.effects.append(effect)
        self.asked.append(shown)
        await asyncio.to_thread(self.meanwhile)
        if effect.kind in self.refused:
            raise Refused("The user said no.")
        return Permit(effect)

    def progress(self, output: str = "", shown: tuple[Shown, ...] | None = None) -> None:
        raise AssertionError("the file tools have no progress to report")

    def set_plan(self, entries: tuple[PlanEntry, ...]) -> None:
        raise AssertionError("the file tools have no plan")

    async def ask(self, message: str, fields: tuple[Field, ...]) -> Reply:
        raise AssertionError("the file tools ask nothing")

    @property
    def asked_for(self) -> list[tuple[str, tuple[str, ...]]]:
        """Kind and paths of every effect."""
        return [(effect.kind, effect.paths) for effect in self.effects]


def make_context(folder: Path, editor: EditorFiles | None = None, **settings: object) -> Context:
    """A context whose only root is `folder`."""
    cwd = str(folder.resolve())
    return Context(cwd, (cwd,), Documents((cwd,), lambda: editor), LocalExecution({}), **settings)


async def call(tool: Tool, context: Context, /, **arguments: object) -> ToolResult:
    """Call a tool as the loop does: with arguments that went through JSON."""
    return await tool.accept(json.loads(json.dumps(arguments))).run(context)


async def error(tool: Tool, context: Context, /, **arguments: object) -> str:
    """The words of the error that a call ends with."""
    try:
        result = await call(tool, context, **arguments)
    except ToolError as raised:
        return str(raised)
    raise AssertionError(f"the call succeeded: {result}")


def diffs(result: ToolResult) -> dict[str, tuple[str | None, str]]:
    """Old and new text of every difference, by file name."""
    return {
        Path(shown.path).name: (shown.old_text, shown.new_text)
        for shown in result.shown
        if isinstance(shown, Diff)
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Buffers:
    """An editor that holds unsaved texts, and saves what it is given as `format` makes it."""

    texts: dict[str, str] = field(default_factory=dict)
    can_read: bool = True
    can_write: bool = True
    refuses: str = ""
    format: Callable[[str], str] = str
    written: list[tuple[str, str]] = field(default_factory=list)

    async def read_text(self, path: str) -> str:
        if path not in self.texts:
            raise EditorError("not open")
        return self.texts[path]

    async def write_text(self, path: str, text: str) -> None:
        if self.refuses:
            raise EditorError(self.refuses)
        self.written.append((path, text))
        self.texts[path] = self.format(text)
        await asyncio.to_thread(Path(path).write_bytes, self.texts[path].encode())
