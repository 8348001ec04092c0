"""What `@` references stand for, read for the model: bounded, and saying where it comes from."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from hermes_acp.content import Block, ResourceBlock, TextBlock
from hermes_acp.policy.effects import Effect, Permit, Refused
from hermes_acp.records import record
from hermes_acp.workspace import git_sense_changes, git_sense_log, symbols
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.git_sense import GitTrouble, View, open_view
from hermes_acp.workspace.locations import DocumentError, inside, printable, resolve
from hermes_acp.workspace.references import Completion, Reference, Wrong, completions, find
from hermes_acp.workspace.ripgrep import Query, SearchError, list_files

REFERENCES = 20
"""References of one prompt that are read."""

TOTAL_CHARS = 120_000
"""Characters of all references of one prompt."""

REFERENCE_CHARS = 40_000
"""Characters of one reference."""

LINE_CHARS = 2_000
"""Longer lines are cut."""

FILES = 400
"""Names of a folder that are given."""

OFFERED_FILES = 20_000
"""Files of a project among which completions are looked for."""

LISTING_SECONDS = 2.0
"""How long files are looked for while somebody types."""


@record
class Reading:
    """How references of one session are read.

    `permit` passes the policy as a tool call does, and raises `Refused`. `env` is the environment
    for git; `cwd` and `roots` are absolute, real paths.
    """

    cwd: str
    roots: tuple[str, ...]
    documents: Documents
    env: Mapping[str, str]
    permit: Callable[[Effect], Awaitable[Permit]]


@record
class Expansion:
    """What a prompt's references stand for, and sentences for the user on those that are wrong."""

    blocks: tuple[ResourceBlock, ...] = ()
    problems: tuple[str, ...] = ()


class Unresolved(Exception):
    """A reference stands for nothing; `str()` is a sentence for the user."""


async def expand(content: Sequence[Block], reading: Reading) -> Expansion:
    """Read the references in the texts of a prompt; the prompt itself stays as it is.

    Each is read once, one after the other. What a reference brings may be cancelled at any time.
    """
    texts = [block.text for block in content if isinstance(block, TextBlock) and "@" in block.text]
    if not texts:
        return Expansion()
    # In a thread, because a prompt may be megabytes of pasted text.
    found = await asyncio.to_thread(lambda: [item for text in texts for item in find(text)])
    problems = [item.problem for item in found if isinstance(item, Wrong)]
    distinct = {item.text: item for item in found if isinstance(item, Reference)}
    if len(distinct) > REFERENCES:
        problems.append(f"Only the first {REFERENCES} of {len(distinct)} references were read.")
    blocks: list[ResourceBlock] = []
    room = TOTAL_CHARS
    for reference in list(distinct.values())[:REFERENCES]:
        if room <= 0:
            problems.append(f"{reference.text} was not read: those before it filled the room there is.")
            continue
        try:
            block = await resolve_reference(reference, reading, min(room, REFERENCE_CHARS))
        except Unresolved as error:
            problems.append(str(error))
            continue
        room -= len(block.text or "")
        blocks.append(block)
    return Expansion(tuple(blocks), tuple(dict.fromkeys(map(printable, problems))))


async def resolve_reference(
    reference: Reference, reading: Reading, room: int = REFERENCE_CHARS
) -> ResourceBlock:
    """One reference as text of about `room` characters; its first line says what it is.

    Raises `Unresolved`, also for what was not permitted.
    """
    try:
        match reference.kind:
            case "file":
                return await _file(reference, reading, room)
            case "folder":
                return await _folder(reference, reading, room)
            case "symbol":
                return await _symbol(reference, reading, room)
            case "diff" | "staged" | "git":
                return await _git(reference, reading, room)
    except (DocumentError, GitTrouble, SearchError) as error:
        raise Unresolved(f"{reference.text} was not read: {error}") from error
    except Refused as refusal:
        why = "nobody was there to permit it" if refusal.unanswered else "it is not permitted"
        raise Unresolved(f"{reference.text} was not read: {why}.") from refusal


async def complete(typed: str, cwd: str, roots: tuple[str, ...]) -> tuple[Completion, ...]:
    """What the word `typed` behind an `@` can become, with a look at the project where that is needed."""
    kind, colon, rest = typed.partition(":")
    if colon and kind in ("file", "folder"):
        return completions(typed, await _names(cwd, OFFERED_FILES, LISTING_SECONDS))
    if colon and kind == "symbol" and rest:
        try:
            return completions(typed, names=await symbols.names(rest, roots))
        except SearchError:
            return ()
    return completions(typed)


# --- files and folders ---------------------------------------------------------------------------


async def _file(reference: Reference, reading: Reading, room: int) -> ResourceBlock:
    path = await _permitted(reference, reading)
    if await asyncio.to_thread(Path(path).is_dir):
        raise Unresolved(f"{reference.text} is a folder: write @folder:{reference.target}.")
    name = _name(path, reading.cwd)
    uri = Path(path).as_uri()
    try:
        document = await reading.documents.read(path)
    except DocumentError as error:
        # The model learns that it is there, and that a command has to look at it.
        return ResourceBlock(uri, f"{reference.text}: not read. {error}")
    if not document.exists:
        raise Unresolved(f"{reference.text} was not read: there is no file {name}.")
    lines = document.text.removesuffix("\n").split("\n") if document.text else []
    first, last = reference.lines or (1, len(lines))
    if first > max(1, len(lines)):
        raise Unresolved(f"{reference.text} was not read: {name} has {len(lines)} lines.")
    last = min(last, len(lines))
    if reference.lines is not None:
        uri += f"#L{first}-L{last}"
    return ResourceBlock(uri, _numbered(name, lines, (first, last), room), mime_type="text/plain")


def _numbered(name: str, lines: Sequence[str], span: tuple[int, int], room: int) -> str:
    """Lines below one that says which they are, and how much is missing."""
    first, last = span
    if not lines:
        return f"{name} is empty"
    taken: list[str] = []
    cut = 0
    for line in lines[first - 1 : last]:
        if len(line) > LINE_CHARS:
            cut += 1
            line = f"{line[:LINE_CHARS]}[… {len(line) - LINE_CHARS:,} more characters]"
        room -= len(line) + 1
        if room < 0:
            break
        taken.append(line)
    end = first + len(taken) - 1
    header = f"{name} lines {first}-{end} of {len(lines)}"
    if end < last:
        header += f" (cut: {last - end} more lines, read them with read_file and offset={end + 1})"
    if cut:
        header += f" ({cut} long lines are cut)"
    return "\n".join([header, *taken])


async def _folder(reference: Reference, reading: Reading, room: int) -> ResourceBlock:
    path = await _permitted(reference, reading)
    name = _name(path, reading.cwd)
    if not await asyncio.to_thread(Path(path).is_dir):
        raise Unresolved(f"{reference.text} was not read: there is no folder {name}.")
    names = await _names(path, FILES + 1, LISTING_SECONDS)
    shown: list[str] = []
    for file in names[:FILES]:
        room -= len(file) + 1
        if room < 0:
            break
        shown.append(printable(file))
    more = " or more" if len(names) > FILES else ""
    cut = f", {len(shown)} are listed" if len(shown) < len(names) else ""
    header = f"{name}: {min(len(names), FILES)}{more} files{cut}, without what git ignores"
    return ResourceBlock(Path(path).as_uri(), "\n".join([header, *shown]), mime_type="text/plain")


async def _permitted(reference: Reference, reading: Reading) -> str:
    """The real path that is named, after the policy let it be read."""
    path = await asyncio.to_thread(resolve, reading.cwd, reference.target)
    await reading.permit(Effect("read", f"Read {printable(path)}", paths=(path,), cwd=reading.cwd))
    return path


async def _names(folder: str, most: int, seconds: float) -> list[str]:
    """The files below a folder, relative to it, without what git ignores."""
    start = len(folder.rstrip("/")) + 1
    found: list[str] = []

    def take(path: str) -> bool:
        found.append(path[start:])
        return len(found) < most

    program = await asyncio.to_thread(shutil.which, "rg")
    await list_files(Query(folder, seconds=seconds), program, take)
    return found


def _name(path: str, cwd: str) -> str:
    below = inside(path, (cwd,)) and path != cwd
    return printable(path[len(cwd.rstrip("/")) + 1 :] if below else path)


# --- symbols -------------------------------------------------------------------------------------


async def _symbol(reference: Reference, reading: Reading, room: int) -> ResourceBlock:
    await reading.permit(Effect("read", f"Look for {reference.text}", paths=reading.roots, cwd=reading.cwd))
    found = await symbols.definitions(reference.target, reading.roots, reading.documents)
    if not found:
        raise Unresolved(f"{reference.text} was not read: no definition of it was found.")
    texts = [f"Definitions of {reference.target}, found by how their lines look:"]
    for place in found:
        header = f"{_name(place.path, reading.cwd)} lines {place.first}-{place.last}"
        room -= len(header) + len(place.text) + 2
        texts.append(header if room < 0 else f"{header}\n{place.text}")
    return ResourceBlock(f"symbol:{quote(reference.target)}", "\n\n".join(texts), mime_type="text/plain")


# --- git -----------------------------------------------------------------------------------------


async def _git(reference: Reference, reading: Reading, room: int) -> ResourceBlock:
    view = await open_view(reading.cwd, reading.roots, reading.env)
    if (effect := view.reading(reading.cwd)) is not None:
        await reading.permit(effect)
    uri = f"git:{reference.text[1:].replace(':', '/')}"
    if reference.kind == "git":
        return ResourceBlock(uri, await _last_commits(view, reference, room), mime_type="text/x-diff")
    staged = reference.kind == "staged"
    span = await (git_sense_changes.staged if staged else git_sense_changes.uncommitted)(view)
    report = await git_sense_changes.report(view, span, room)
    if not (report.files or report.untracked):
        raise Unresolved(f"{reference.text} stands for nothing: there are no such changes.")
    return ResourceBlock(uri, report.text, mime_type="text/x-diff")


async def _last_commits(view: View, reference: Reference, room: int) -> str:
    commits = await git_sense_log.commits(view, reference.count)
    if not commits:
        raise Unresolved(f"{reference.text} was not read: there are no commits yet.")
    texts = [f"The last {len(commits)} commits, newest first"]
    for at, commit in enumerate(commits):
        if room <= 0:
            texts += [f"[not shown for want of room: {len(commits) - at} more]"]
            texts += [other.line for other in commits[at:]]
            break
        shown = await git_sense_log.show(view, commit, room=max(1, room // (len(commits) - at)))
        room -= len(shown.text)
        texts.append(shown.text)
    return "\n\n".join(texts)
