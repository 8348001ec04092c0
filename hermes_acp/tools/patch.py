"""The tool that applies a patch to several files at once, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hermes_acp.content import Diff, Location
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.records import record
from hermes_acp.tools.access import announce, explained, locate, open_document, shorten
from hermes_acp.tools.base import Description, Params, ToolContext, ToolError, ToolResult
from hermes_acp.tools.hunks import apply_hunks, contents
from hermes_acp.tools.patch_format import FileChange, parse
from hermes_acp.tools.typed import tool
from hermes_acp.workspace.documents import Document, Documents
from hermes_acp.workspace.locations import DocumentError, printable

FILES = 200
"""Most files of one patch."""

RESTORE_SECONDS = 10.0
"""How long putting files back may take when a patch fails or is cancelled midway."""


class ApplyPatch(Params):
    """Parameters of `apply_patch`."""

    patch: str


@record
class _Step:
    """One file: what it was, what it shall be (None deletes it), and the first line that changes."""

    before: Document
    text: str | None
    line: int = 1

    @property
    def diff(self) -> Diff:
        old = self.before.text if self.before.exists else None
        return Diff(self.before.path, self.text or "", old)

    @property
    def verb(self) -> str:
        if self.text is None:
            return "delete"
        return "change" if self.before.exists else "create"


def _announce(params: ApplyPatch, cwd: str) -> Description:
    try:
        first, *others = parse(params.patch)
    except ToolError:
        return Description("Apply a patch")
    more = f" and {len(others)} more" if others else ""
    places = [place for change in (first, *others) for place in announce("Patch", change.path, cwd).locations]
    return Description(f"Patch {printable(first.path)}{more}", tuple(places[:FILES]))


@tool(ApplyPatch, kind="edit", describe=_announce)
async def apply_patch(params: ApplyPatch, context: ToolContext) -> ToolResult:
    """Change several files, all or none. Takes a unified diff, or `*** Begin Patch` with
    `*** Add File:`, `*** Update File:`, `*** Move to:`, `*** Delete File:` and `*** End Patch`."""
    changes = await asyncio.to_thread(parse, params.patch)
    if len(changes) > FILES:
        raise ToolError(f"The patch changes {len(changes)} files, the limit is {FILES}: split it.")
    steps = await _plan(context, changes)
    effect = Effect(
        "write",
        _summary(steps, context.cwd).capitalize(),
        paths=tuple(step.before.path for step in steps),
        cwd=context.cwd,
    )
    places = tuple(Location(step.before.path, step.line) for step in steps if step.text is not None)
    permit = await context.permit(effect, tuple(step.diff for step in steps), places)
    stored = await _write(context, permit, steps)
    return ToolResult(
        f"Done: {_summary(stored, context.cwd)}.",
        shown=tuple(step.diff for step in stored),
        locations=places,
    )


def _summary(steps: Sequence[_Step], cwd: str) -> str:
    return ", ".join(f"{step.verb} {shorten(step.before.path, cwd)}" for step in steps)


# --- planning ------------------------------------------------------------------------------------


async def _plan(context: ToolContext, changes: Sequence[FileChange]) -> list[_Step]:
    """What to do with every file: writes first, so that a rename never loses the text."""
    steps: list[_Step] = []
    for change in changes:
        steps += await _steps(context, change)
    paths = [step.before.path for step in steps]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        name = shorten(twice, context.cwd)
        raise ToolError(f"The patch names {name} twice: put all changes of a file into one section.")
    return sorted(steps, key=lambda step: step.text is None)


async def _steps(context: ToolContext, change: FileChange) -> list[_Step]:
    if change.action == "add":
        before = await _absent(context, change.path)
        name = shorten(before.path, context.cwd)
        return [_Step(replace(before, mode=change.mode), contents(name, change.hunks))]
    if change.action == "delete" or change.target is not None:
        await _no_link(context, change.path)
    before = await open_document(context, change.path)
    name = shorten(before.path, context.cwd)
    if not before.exists:
        raise ToolError(f"{name} does not exist, so the patch cannot {change.action} it.")
    text, line = await asyncio.to_thread(apply_hunks, name, before.text, change.hunks)
    if change.action == "delete":
        if change.hunks and text:
            raise ToolError(f"{name} has more lines than the patch removes: nothing was deleted.")
        return [_Step(before, None)]
    if change.target is None:
        return [_Step(before, text, line)]
    target = await _absent(context, change.target)
    return [_Step(replace(before, path=target.path, text="", exists=False), text, line), _Step(before, None)]


async def _absent(context: ToolContext, path: str) -> Document:
    real = await locate(context, path)
    with explained():
        document = await context.documents.read(real)
    if document.exists:
        name = shorten(real, context.cwd)
        raise ToolError(f"{name} exists already: update or delete it instead. Nothing was written.")
    return document


async def _no_link(context: ToolContext, path: str) -> None:
    """Deleting through a link would delete the file that it leads to."""
    if await asyncio.to_thread(Path(context.cwd, path).is_symlink):
        raise ToolError(f"{path} is a link: use a command to remove or rename links.")


# --- writing -------------------------------------------------------------------------------------


async def _write(context: ToolContext, permit: Permit, steps: Sequence[_Step]) -> list[_Step]:
    """All steps, with the texts that are stored now; after a failure or a cancel, none of them."""
    begun: list[_Step] = []
    try:
        for step in steps:
            begun.append(step)
            begun[-1] = await _apply(context.documents, permit, step)
    except DocumentError as error:
        lost = await _restore(context.documents, permit, begun)
        raise ToolError(f"{error} {_restored(lost, len(begun) - 1, context.cwd)}") from error
    except asyncio.CancelledError:
        await _restore(context.documents, permit, begun)
        raise
    return begun


async def _apply(documents: Documents, permit: Permit, step: _Step) -> _Step:
    if step.text is None:
        await documents.delete(permit, step.before)
        return step
    return replace(step, text=(await documents.write(permit, step.before, step.text)).real.text)


async def _restore(documents: Documents, permit: Permit, begun: Sequence[_Step]) -> list[str]:
    """Put back what the steps did, last first; gives the files where that failed."""
    lost = [step.before.path for step in begun]
    try:
        async with asyncio.timeout(RESTORE_SECONDS):
            for step in reversed(begun):
                with suppress(DocumentError):
                    await _put_back(documents, permit, step)
                    lost.remove(step.before.path)
    except TimeoutError:
        return lost
    return lost


async def _put_back(documents: Documents, permit: Permit, step: _Step) -> None:
    """Undo one step where it was done; what somebody else wrote in the meantime stays."""
    now = await documents.read(step.before.path)
    if now.exists != (step.text is not None) or (now.exists and step.text not in (now.text, now.real.text)):
        return
    if not step.before.exists:
        await documents.delete(permit, now)
    elif now.exists:
        await documents.write(permit, now, step.before.text)
    else:
        await documents.write(permit, replace(step.before, text="", exists=False), step.before.text)


def _restored(lost: Sequence[str], done: int, cwd: str) -> str:
    if lost:
        names = ", ".join(shorten(path, cwd) for path in lost)
        return f"These files could not be put back: {names}. Look at them before you go on."
    return f"The {done} files written before it were put back." if done else "No file was changed."


TOOLS = (apply_patch,)
