"""`/undo`, `/redo` and `/rewind`: turns are taken back or brought back, their files and their words together.

Files come first, because they may refuse: then nothing at all has happened. Loaded at the first use.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import orjson

from hermes_acp.agent import ids
from hermes_acp.agent.approvals import Asker
from hermes_acp.agent.history import History, Past
from hermes_acp.agent.recorded import NotRecorded
from hermes_acp.agent.restoring import Plan, Restoring, Situation, fill, name_of, named
from hermes_acp.content import TextBlock
from hermes_acp.events import Field, MessageCompleted, Rewound, ToolCallFinished, ToolCallStarted
from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.records import CheckpointError, Outcome, Restored, RestoredFile

LISTED = 20
"""So many turns are listed."""
OFFERED = 9
"""And so many of them offered as choices."""
FILES_SHOWN = 50
"""More files are only counted."""

NOTHING = {"undo": "There is no turn that could be taken back.", "redo": "Nothing was taken back."}
USAGE = "Say how many turns: `/{command} 2`. `keep` and paths behind it leave those files as they are."
CHOOSE = "Back to before which turn?"
DONE: dict[Direction, str] = {
    "undo": (
        "Taken back: {turns}.{files}\n\n"
        "The model no longer knows of it; what you see of it above is left on the screen alone. "
        "`/redo` brings it back."
    ),
    "redo": "Brought back: {turns}.{files}\n\nThe model knows of it again.",
}
CONFLICTS: dict[Direction, str] = {
    "undo": "Nothing was taken back, because it would overwrite work of yours:",
    "redo": "Nothing was brought back, because it would overwrite work of yours:",
}
ADVICE = (
    "Move your changes out of the way and say it again, or leave files as they are: "
    "`/{direction} {count} keep PATH…`, or all of them without a path."
)
WORDS: dict[Direction, dict[Outcome, str]] = {
    "undo": {
        "created": "is back",
        "replaced": "is as it was before",
        "deleted": "is gone again",
        "merged": "is as it was before, with what you changed since",
    },
    "redo": {
        "created": "is there again",
        "replaced": "is changed again",
        "deleted": "is gone again",
        "merged": "is changed again, with what you changed since",
    },
}

Direction: TypeAlias = Literal["undo", "redo"]


class BadWish(Exception):
    """What was typed behind a command makes no sense; `str()` says what would."""


@record
class Wish:
    """What was typed: how many turns, and files to be left as they are; None: all of them."""

    count: int | None
    keep: tuple[str, ...] | None = ()


async def run(situation: Situation, command: str, rest: str) -> str:
    """Do what the command says. Gives what was done, or why it was not. Raises `StorageError`.

    A cancel leaves everything as it was, or is too late: then all of it was done.
    """
    try:
        wish = wish_of(rest, command)
        if command == "rewind" and wish.count is None:
            return await _choose(situation)
        direction: Direction = "redo" if command == "redo" else "undo"
        return await _rewind(situation, direction, wish)
    except BadWish as error:
        return str(error)
    except (CheckpointError, NotRecorded) as error:
        return f"Nothing was done. {_sentence(str(error))}"


def wish_of(rest: str, command: str) -> Wish:
    """What was typed behind a command. Raises `BadWish`."""
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise BadWish(USAGE.format(command=command)) from error
    count = int(words.pop(0)) if words and words[0].isdecimal() and len(words[0]) < 10 else None
    if not words:
        wish = Wish(count)
    elif words[0] == "keep":
        wish = Wish(count, tuple(map(os.path.normpath, words[1:])) or None)
    else:
        raise BadWish(USAGE.format(command=command))
    if count == 0:
        raise BadWish(USAGE.format(command=command))
    return wish


# --- choosing ------------------------------------------------------------------------------------


async def _choose(situation: Situation) -> str:
    """List the turns, and let the user choose one where somebody can."""
    turns = list(reversed(situation.history.done))
    if not turns:
        return NOTHING["undo"]
    listing = listing_of(turns, "/rewind 2")
    if not situation.approvals.answerers():
        return listing
    situation.publish(MessageCompleted(ids.message(), listing))
    count = await _asked(situation, turns[:OFFERED])
    if count is None:
        return "Nothing was taken back."
    return await _rewind(situation, "undo", Wish(count))


async def _asked(situation: Situation, turns: Sequence[Past]) -> int | None:
    choices = tuple(f"{number}: {turn.title}" for number, turn in enumerate(turns, 1))
    call_id = ids.call()
    situation.publish(ToolCallStarted(call_id, "rewind", CHOOSE, "other", "{}"))
    chosen = ""
    try:
        asker = Asker(call_id, CHOOSE, situation.publish, situation.flush)
        answer = await situation.approvals.question(asker, CHOOSE, (Field("turn", CHOOSE, choices),))
        values = cast("dict[str, object]", orjson.loads(answer.values)) if answer.values else {}
        chosen = str(values.get("turn", ""))
    except asyncio.CancelledError:
        situation.publish(ToolCallFinished(call_id, "cancelled", "The user stopped this."))
        raise
    count = choices.index(chosen) + 1 if chosen in choices else None
    said = chosen if count is not None else "No turn was chosen."
    situation.publish(ToolCallFinished(call_id, "completed", said, (TextBlock(said),)))
    return count


def listing_of(turns: Sequence[Past], example: str) -> str:
    """The turns that can be taken back, the latest first, and what goes back to before the second one."""
    lines = [f"{number}. {name_of(turn)}{_files_of(turn)}" for number, turn in enumerate(turns[:LISTED], 1)]
    more = [f"\n… and {len(turns) - LISTED} before them."] if len(turns) > LISTED else []
    head = f"The last turns, the latest first. `{example}` goes back to before the second one.\n"
    return "\n".join([head, *lines, *more])


def _files_of(turn: Past) -> str:
    if turn.missed:
        return ", files cannot be brought back"
    changed = turn.before and turn.after and turn.before.checkpoint_id != turn.after.checkpoint_id
    return ", changed files" if changed else ""


# --- rewinding -----------------------------------------------------------------------------------


async def _rewind(situation: Situation, direction: Direction, wish: Wish) -> str:
    turns = _turns(situation.history, direction, wish.count or 1)
    rewound = Rewound(len(turns), direction)
    kept = await situation.checkpointing.kept(situation.place.cwd)
    plan = Plan(rewound, turns)
    if wish.keep is not None:
        known = {item.id: item for item in await kept.checkpoints.list(situation.session_id)}
        await asyncio.to_thread(fill, plan, known)
    restoring = Restoring(situation, kept.checkpoints, plan, wish.keep or ())
    if conflicts := await restoring.run():
        lines = "\n".join(f"- {line}" for line in conflicts)
        advice = ADVICE.format(direction=direction, count=rewound.count)
        return f"{CONFLICTS[direction]}\n\n{lines}\n\n{advice}"
    return _told(plan, restoring.restored, await situation.lessons())


def _turns(history: History, direction: Direction, count: int) -> list[Past]:
    """The turns in the order in which they are dealt with. Raises `BadWish`."""
    possible = history.done if direction == "undo" else history.undone
    if not possible:
        raise BadWish(NOTHING[direction])
    if count > len(possible):
        what = "taken back" if direction == "undo" else "brought back"
        raise BadWish(f"Only {len(possible)} turns can be {what}: nothing was done.")
    return possible[: -count - 1 : -1]


# --- what is said --------------------------------------------------------------------------------


def _told(plan: Plan, restored: Mapping[str, Restored], learned: str) -> str:
    direction = plan.rewound.direction
    titles = ", ".join(map(name_of, plan.turns))
    files = [item for each in restored.values() for item in each.files]
    skipped = [str(item) for each in restored.values() for item in each.skipped]
    notes = [*filter(None, (learned,)), *plan.notes, *(f"Left alone: {line}." for line in skipped)]
    if any(turn.summarised for turn in plan.turns) and direction == "undo":
        notes.append("What was summarised stays in the summary: the model still knows that.")
    text = DONE[direction].format(turns=titles, files=_file_list(files, WORDS[direction]))
    return "\n\n".join([text, *notes])


def _file_list(files: Sequence[RestoredFile], words: Mapping[Outcome, str]) -> str:
    if not files:
        return " No file had to be changed."
    lines = [f"- {named(item.path)} {words[item.outcome]}" for item in files[:FILES_SHOWN]]
    more = [f"- and {len(files) - FILES_SHOWN} more files"] if len(files) > FILES_SHOWN else []
    return "\n\n" + "\n".join([*lines, *more])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
