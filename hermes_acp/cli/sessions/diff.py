"""`hermes-editor sessions diff`: what a session changed on the disk, read from its checkpoints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence

from hermes_acp.agent.checkpointing import of_session
from hermes_acp.agent.history import History, Past
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.cli.command import BAD_USAGE, FAILURE, SUCCESS, Subparsers, fail
from hermes_acp.cli.screen import one_line, safe
from hermes_acp.cli.sessions.store import Store, print_bytes, print_json
from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.records import Checkpoint, CheckpointError, FileChange

NOTHING = "The session changed no files."
NO_PROJECT = "Nothing is kept of the project of this session, so there is nothing to compare."
UNREADABLE = "The checkpoints of the session cannot be read: {}."
NOT_KEPT = "its checkpoints are no longer kept"
NO_TEXT = "is not text, or too much of it"


@record
class Stretch:
    """Turns between which nobody else changed the tree at `root`, the first to the last."""

    turns: tuple[Past, ...]
    root: str
    start: Checkpoint
    end: Checkpoint


def register(actions: Subparsers) -> None:
    """Add the action's arguments."""
    parser = actions.add_parser("diff", help="what a conversation changed on the disk")
    parser.add_argument("session_id", metavar="ID", help="an id, or the beginning of one")
    parser.add_argument(
        "--turn", type=int, metavar="N", help="of one turn only: 1 is the last one, as in /rewind"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(args: argparse.Namespace, store: Store, env: Mapping[str, str]) -> int:
    """Print it. Raises `StorageError` and `NoSession`."""
    row = await store.chosen(args.session_id)
    every = History(await store.events(row)).done
    turns = _chosen(every, args.turn)
    if turns is None:
        print(f"The session has {len(every)} turns: --turn counts them from the last one.", file=sys.stderr)
        return BAD_USAGE
    try:
        checkpoints = await of_session(store.paths.projects, env, row)
        if checkpoints is None:
            return fail(NO_PROJECT if any(turn.before for turn in turns) else NOTHING)
        found = stretches(turns, await checkpoints.list(row.session_id))
        changes = [await checkpoints.changes(each.root, each.start, each.end) for each in found]
    except NotRecorded as error:
        return fail(UNREADABLE.format(error))
    except CheckpointError as error:
        return fail(str(error))
    _tell(found, changes, as_json=args.json)
    return _complain(turns, found)


def stretches(turns: Iterable[Past], kept: Iterable[Checkpoint]) -> list[Stretch]:
    """What the turns did, put together where nothing else happened in between; pure."""
    known = {item.id: item for item in kept}
    found: list[Stretch] = []
    for turn in turns:
        before, after = turn.before, turn.after
        start = known.get(before.checkpoint_id) if before is not None else None
        end = known.get(after.checkpoint_id) if after is not None else None
        if before is None or start is None or end is None:
            continue
        last = found[-1] if found else None
        if last is not None and last.root == before.root and last.end.tree == start.tree:
            found[-1] = Stretch((*last.turns, turn), last.root, last.start, end)
        else:
            found.append(Stretch((turn,), before.root, start, end))
    return found


def _chosen(turns: list[Past], number: int | None) -> list[Past] | None:
    """All turns, or the one with this number from the end; None when there is none."""
    if number is None:
        return turns
    return [turns[-number]] if 1 <= number <= len(turns) else None


def _tell(found: Sequence[Stretch], changes: Sequence[Sequence[FileChange]], *, as_json: bool) -> None:
    if as_json:
        print_json([_members(*pair) for pair in zip(found, changes, strict=True)])
        return
    text = "".join(_patch(item) for each in changes for item in each)
    if sys.stdout.isatty():
        print(safe(text), end="")
    else:
        print_bytes(text.encode("utf-8", "replace"))


def _members(stretch: Stretch, changes: Sequence[FileChange]) -> dict[str, object]:
    files = [{"path": _text(item.path), "kind": item.kind, "patch": item.patch} for item in changes]
    turns = [{"turn_id": turn.turn_id, "title": turn.title, "at": turn.at} for turn in stretch.turns]
    return {"turns": turns, "root": _text(stretch.root), "files": files}


def _patch(change: FileChange) -> str:
    if change.patch is not None:
        return change.patch
    return f"# {one_line(change.path)}: {change.kind}, {NO_TEXT}\n"


def _text(path: str) -> str:
    """A path as JSON can hold it."""
    return path.encode("utf-8", "replace").decode()


def _complain(turns: Sequence[Past], found: Sequence[Stretch]) -> int:
    """Say on standard error which turns are not shown; the exit code."""
    shown = {turn.turn_id for each in found for turn in each.turns}
    left = [
        turn for turn in turns if turn.turn_id not in shown and (turn.before or turn.missed or turn.wrote)
    ]
    for turn in left:
        print(f"Without “{one_line(turn.title)}”: {turn.missed or NOT_KEPT}.", file=sys.stderr)
    if not found and not left:
        print(NOTHING, file=sys.stderr)
    return FAILURE if left else SUCCESS
