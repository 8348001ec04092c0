"""The tools for git: `git` looks at status, differences and history, `git_commit` commits."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from hermes_acp.content import Location, TerminalRef, TextBlock
from hermes_acp.policy.effects import Effect
from hermes_acp.policy.paths import secret
from hermes_acp.records import record
from hermes_acp.tools import terminal_text
from hermes_acp.tools.base import Description, Params, Tool, ToolContext, ToolError, ToolResult
from hermes_acp.tools.typed import tool
from hermes_acp.workspace import git_sense_changes, git_sense_log
from hermes_acp.workspace.execution.base import Launch, Process
from hermes_acp.workspace.git_sense import (
    FileState,
    GitTrouble,
    Status,
    View,
    files_of,
    open_view,
    pathspec,
    status,
)
from hermes_acp.workspace.locations import DocumentError, inside, printable, resolve

LOG_COMMITS = 10
"""Commits that `log` gives unless it is asked for more."""

STATUS_FILES = 200
"""Most files that `status` names."""

COMMIT_PATHS = 500
"""Most paths of one commit that are named one by one."""

COMMIT_SECONDS = 300.0
"""How long a commit may take: hooks of the user run with it, and some run tests."""

_PATTERNS = "*?[\\"
_PARTIAL = ("merge", "cherry-pick", "rebase")
"""In the middle of these git commits everything or nothing."""

_TITLES = {
    "status": "Git status",
    "diff": "Git diff",
    "staged": "Git diff of what is staged",
    "unstaged": "Git diff of what is not staged",
    "log": "Git log",
    "show": "Git show",
}


class Git(Params):
    """Parameters of `git`."""

    what: Literal["status", "diff", "staged", "unstaged", "log", "show"]
    rev: str | None = Field(None, description="diff, log: also a..b; show: also rev:path")
    path: str | None = None
    limit: int = Field(LOG_COMMITS, ge=1, le=git_sense_log.COMMITS)


class GitCommit(Params):
    """Parameters of `git_commit`."""

    message: str = Field(min_length=1)
    paths: list[str] | None = Field(
        None, max_length=COMMIT_PATHS, description="commit these, new ones too; default: what is staged"
    )


def git_tools(env: Mapping[str, str]) -> tuple[Tool, ...]:
    """The tools; `env` is the environment for git when it only looks."""

    @tool(Git, kind="read", describe=_describe, parallel=True)
    async def git(params: Git, context: ToolContext) -> ToolResult:
        """Look at the repository: status; diff (files against rev, default HEAD); staged; unstaged; log; show
        (a commit with its changes). Status also tells how commit messages are written here."""
        try:
            view = await _view(context, env)
            return ToolResult(await _look(view, params, context))
        except GitTrouble as error:
            raise ToolError(str(error)) from error

    @tool(GitCommit, kind="execute", describe=_describe_commit)
    async def git_commit(params: GitCommit, context: ToolContext) -> ToolResult:
        """Commit as the user, hooks included. Only when the user asked for a commit."""
        try:
            view = await _view(context, env)
            plan = await _plan(view, params, context)
        except GitTrouble as error:
            raise ToolError(str(error)) from error
        return await _commit(plan, context)

    return (git, git_commit)


def _describe(params: Git, _cwd: str) -> Description:
    about = " ".join(printable(part) for part in (params.rev, params.path) if part)
    return Description(f"{_TITLES[params.what]} {about}".rstrip())


def _describe_commit(params: GitCommit, _cwd: str) -> Description:
    return Description(terminal_text.title(f"Commit: {params.message.strip()}"))


async def _view(context: ToolContext, env: Mapping[str, str]) -> View:
    view = await open_view(context.cwd, context.roots, env)
    if (effect := view.reading(context.cwd)) is not None:
        await context.permit(effect)
    return view


# --- looking -------------------------------------------------------------------------------------


async def _look(view: View, params: Git, context: ToolContext) -> str:
    specs = () if params.path is None else (pathspec(await _within(view, params.path, context)),)
    match params.what:
        case "status":
            return await _status(view)
        case "log":
            return await _log(view, params, specs)
        case "show":
            return await _show(view, params.rev or "", specs, context)
        case "staged":
            span = await git_sense_changes.staged(view)
        case "unstaged":
            span = git_sense_changes.unstaged(view)
        case "diff" if params.rev:
            span = await git_sense_changes.since(view, params.rev)
        case "diff":
            span = await git_sense_changes.uncommitted(view)
    if specs:
        span = git_sense_changes.Span(span.title, span.sides, specs, span.untracked, secrets=True)
    return (await git_sense_changes.report(view, span)).text


async def _within(view: View, path: str, context: ToolContext) -> str:
    """A path as the repository names it: links are followed but for the last name."""
    try:
        await asyncio.to_thread(resolve, context.cwd, path)
        parent, _, name = path.rstrip("/").rpartition("/")
        folder = await asyncio.to_thread(resolve, context.cwd, parent or ("/" if path[:1] == "/" else "."))
        if name in ("", ".", ".."):
            folder, name = await asyncio.to_thread(resolve, folder, name or "."), ""
    except DocumentError as error:
        raise ToolError(str(error)) from error
    real = f"{folder.rstrip('/')}/{name}".rstrip("/")
    top = files_of(view)
    if not (inside(real, (top,)) and inside(real, context.roots)):
        raise ToolError(f"{printable(real)} is not in the files of the repository {printable(top)}.")
    if secret(real):
        await context.permit(Effect("read", f"Read {printable(real)}", paths=(real,), cwd=context.cwd))
    return real[len(top) + 1 :] or "."


async def _status(view: View) -> str:
    found = await status(view)
    habits = git_sense_log.habits(await git_sense_log.commits(view, git_sense_log.HABIT_COMMITS))
    return "\n".join(filter(None, (_branch(found), *_groups(found.files), habits)))


def _branch(found: Status) -> str:
    lines = [f"branch {found.branch}" if found.branch else f"detached at {(found.commit or '')[:10]}"]
    if found.upstream:
        distance = "gone" if found.ahead is None else f"ahead {found.ahead}, behind {found.behind}"
        lines[0] += f", upstream {found.upstream} ({distance})"
    if found.commit is None:
        lines[0] += ", no commits yet"
    if found.operation:
        lines.append(f"a {found.operation} is in progress")
    if found.locked:
        lines.append("index.lock is held: another git command is running, or died")
    return "\n".join(lines)


def _groups(files: tuple[FileState, ...]) -> list[str]:
    if not files:
        return ["clean"]
    groups: dict[str, list[str]] = {}
    for file in files[:STATUS_FILES]:
        name = printable(file.path)
        if file.old_path is not None:
            name = f"{printable(file.old_path)} -> {name}"
        if file.code == "??":
            groups.setdefault("untracked", []).append(name)
        elif file.conflict:
            groups.setdefault("conflicts", []).append(f"{file.code} {name}")
        else:
            index, tree = file.code
            if index != ".":
                groups.setdefault("staged", []).append(f"{index} {name}")
            if tree != ".":
                groups.setdefault("not staged", []).append(f"{tree} {name}")
    order = ("conflicts", "staged", "not staged", "untracked")
    lines = [
        line
        for group in order
        if group in groups
        for line in (f"{group}:", *(f"  {n}" for n in groups[group]))
    ]
    if len(files) > STATUS_FILES:
        lines.append(f"[{len(files) - STATUS_FILES} more]")
    return lines


async def _log(view: View, params: Git, specs: tuple[str, ...]) -> str:
    commits = await git_sense_log.commits(view, params.limit, params.rev or "", specs)
    lines = [f"{commit.line}{' (merge)' if len(commit.parents) > 1 else ''}" for commit in commits]
    return "\n".join(lines) or "There are no such commits."


async def _show(view: View, rev: str, specs: tuple[str, ...], context: ToolContext) -> str:
    if ":" in rev and not rev.startswith(":/"):
        if git_sense_log.hides(rev):
            path = f"{view.tree.top or view.tree.git_dir}/{rev.partition(':')[2]}"
            await context.permit(Effect("read", f"Read {printable(rev)}", paths=(path,), cwd=context.cwd))
        return await git_sense_log.show_object(view, rev)
    found = await git_sense_log.commits(view, 1, rev)
    return (await git_sense_log.show(view, found[0], specs)).text if found else "There are no commits yet."


# --- committing ----------------------------------------------------------------------------------


@record
class _Plan:
    """A commit before it is made: the command, and what it would contain, in words."""

    command: str
    preview: str


async def _plan(view: View, params: GitCommit, context: ToolContext) -> _Plan:
    if "\0" in params.message or not params.message.strip():
        raise ToolError("The message is empty or contains NUL.")
    top = files_of(view)
    names = [await _within(view, path, context) for path in params.paths or ()]
    found = await status(view)
    if found.locked:
        raise ToolError(
            "index.lock is held: another git command is running, or died. Wait, or let the user remove "
            f"{printable(str(Path(view.tree.git_dir, 'index.lock')))}."
        )
    if names and found.operation in _PARTIAL:
        raise ToolError(
            f"A {found.operation} is in progress: stage what was solved and commit without paths."
        )
    if conflicts := [printable(file.path) for file in found.files if file.conflict]:
        raise ToolError(f"There are conflicts: {', '.join(conflicts[:10])}. Solve and stage them first.")
    commit = f"git commit -m {shlex.quote(params.message.strip())}"
    if not names:
        span = await git_sense_changes.staged(view)
        span = git_sense_changes.Span("Staged changes", span.sides)
        staged = await git_sense_changes.overview(view, span)
        if not staged.files and not found.operation:
            raise ToolError("Nothing is staged: name the paths to commit.")
        return _Plan(commit, staged.text)
    chosen = [file for file in found.files if any(_about(file, name) for name in names)]
    if same := [name for name in names if not any(_about(file, name) for file in chosen)]:
        raise ToolError(
            f"Nothing is changed in {printable(', '.join(same[:10]))}: there is nothing to commit."
        )
    words = [_word(_joined(top, name), context.cwd) for name in names]
    new = [_word(_joined(top, path), context.cwd) for path in _new(chosen, names)]
    add = f"git add -- {' '.join(new)} && " if new else ""
    preview = "\n".join(["Files:", *(f"{file.code} {printable(file.path)}" for file in chosen)])
    return _Plan(f"{add}{commit} -- {' '.join(words)}", preview)


def _about(file: FileState, name: str) -> bool:
    """Whether a path that was named is that of the file, of a folder around it or of something in it."""
    paths = [path.rstrip("/") for path in (file.path, file.old_path) if path]
    return name == "." or any(_below(path, name) or _below(name, path) for path in paths)


def _new(files: Sequence[FileState], names: Sequence[str]) -> Iterator[str]:
    """What git has to be told of first: no more of an untracked folder than was named."""
    for path in (file.path.rstrip("/") for file in files if file.code == "??"):
        if any(name == "." or _below(path, name) for name in names):
            yield path
        else:
            yield from (name for name in names if _below(name, path))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _joined(top: str, name: str) -> str:
    return top if name == "." else f"{top.rstrip('/')}/{name}"


def _word(path: str, cwd: str) -> str:
    """A path as a word of the command; characters that git would take for a pattern stand for themselves."""
    relative = path[len(cwd) + 1 :] if inside(path, (cwd,)) and path != cwd else path
    relative = "." if path == cwd else relative
    special = relative.startswith(":") or any(char in relative for char in _PATTERNS)
    return shlex.quote(f":(literal){relative}" if special else relative)


async def _commit(plan: _Plan, context: ToolContext) -> ToolResult:
    command = terminal_text.visible(plan.command)
    effect = Effect("execute", terminal_text.title(command), command=plan.command, cwd=context.cwd)
    question = f"{terminal_text.fenced(command, 'sh')}\n\n{terminal_text.fenced(plan.preview)}"
    permit = await context.permit(effect, (TextBlock(question),), (Location(context.cwd),))
    process = await context.execution.start(permit, Launch(plan.command, context.cwd))
    try:
        in_time = await _finish(process, context)
        exit_status = await process.wait()
        text = terminal_text.shortened(await process.output()).text().strip()
    finally:
        # Kills what still runs: this is the way out of a cancelled call.
        await process.release()
    terminal = () if process.terminal_id is None else (TerminalRef(process.terminal_id),)
    if exit_status.code == 0:
        return ToolResult(text, shown=terminal, exit=exit_status)
    how = terminal_text.ending(exit_status) if in_time else f"stopped after {COMMIT_SECONDS:g} s"
    note = f"[not committed: {how}; what was staged for it stays staged]"
    return ToolResult(f"{text}\n{note}".strip(), failed=True, shown=terminal, exit=exit_status)


async def _finish(process: Process, context: ToolContext) -> bool:
    """Show the output until the end; False when it took too long and was ended."""
    deadline = asyncio.timeout(COMMIT_SECONDS)
    try:
        async with deadline:
            if process.terminal_id is not None:
                context.progress(shown=(TerminalRef(process.terminal_id),))
            else:
                async for piece in process.chunks():
                    context.progress(output=piece)
            await process.wait()
    except TimeoutError:
        if not deadline.expired():
            raise
        await process.kill()
        return False
    return True
