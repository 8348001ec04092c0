"""Carrying out the plan of a restore: contents fetched, files swapped, all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hermes_acp.records import record
from hermes_acp.workspace.checkpoints.merge import Plan, Step, empty_folders
from hermes_acp.workspace.checkpoints.records import (
    Checkpoint,
    CheckpointError,
    Outcome,
    Restored,
    RestoredFile,
    Span,
)
from hermes_acp.workspace.checkpoints.store import Store, batches
from hermes_acp.workspace.checkpoints.tree import Tree
from hermes_acp.workspace.finish import to_the_end
from hermes_acp.workspace.locations import printable
from hermes_acp.workspace.places import PROGRAM
from hermes_acp.workspace.swap import Clash, DamagedJournal, Exchange, Order, Swap, read, take_back

NAMED = 5
"""So many files are named in a message."""


@record
class Request:
    """What shall be restored, from what is there now, and how the checkpoint after it is called."""

    spans: Sequence[Span]
    before: Checkpoint
    label: str


async def carry_out(store: Store, tree: Tree, plan: Plan, request: Request) -> Restored:
    """Do what a plan without conflicts says, and record the tree as it is then.

    When that ends early, by an error or a cancel, what was done is taken back first.
    """
    spans, before = request.spans, request.before
    empty = empty_folders(spans, before)
    if not plan.steps and set(empty) == set(before.beside.folders):
        return Restored((), (), plan.skipped, before, before)
    exchanges = tuple(
        Exchange(step.path, step.before, step.after, _made_mode(step, spans)) for step in plan.steps
    )
    label = f"{before.session} {before.number}"
    order = Order(tree.root, tree.object_format, exchanges, before.beside.folders, empty, label)
    swap = Swap(order, tree.journal)
    try:
        await to_the_end(asyncio.to_thread(swap.prepare))
        await _stage(store, tree, swap, plan)
        await to_the_end(asyncio.to_thread(swap.apply))
        after = await tree.record(before.session, request.label)
        await to_the_end(asyncio.to_thread(swap.finish))
    except Clash as clash:
        await recover(store, tree)
        return Restored((), clash.conflicts, plan.skipped, before, before)
    except BaseException:
        await recover(store, tree)
        raise
    return Restored(tuple(map(_restored, plan.steps)), (), plan.skipped, before, after)


async def recover(store: Store, tree: Tree) -> tuple[str, ...]:
    """Take back a restore that did not end; gives the files that somebody changed since."""
    try:
        journal = await to_the_end(asyncio.to_thread(read, tree.journal))
        try:
            if journal is not None and journal.label:
                await _unsay(store, tree, journal.label)
        finally:
            kept = await to_the_end(asyncio.to_thread(take_back, tree.journal))
    except DamagedJournal as error:
        raise CheckpointError(str(error)) from error
    return kept


async def _unsay(store: Store, tree: Tree, label: str) -> None:
    """Forget the checkpoint after the restore, which would say that it was done."""
    session, _, number = label.partition(" ")
    after = [each for each in await store.list(session) if each.number > int(number)]
    if said := [each for each in after if each.root == tree.root]:
        await tree.disown()
        await store.forget(said)


async def _stage(store: Store, tree: Tree, swap: Swap, plan: Plan) -> None:
    wanted = {step.after.blob: step.path for step in plan.steps if step.after}
    sizes = await store.sizes(sorted(wanted), tree.object_variables)
    if lost := sorted(wanted[blob] for blob in wanted.keys() - sizes.keys()):
        names = ", ".join(map(printable, lost[:NAMED])) + (", …" if len(lost) > NAMED else "")
        raise CheckpointError(
            f"the contents of {names} were in your repository when the checkpoint was taken and are no "
            "longer. Leave these files out, or fetch the commits that held them"
        )
    for group in batches(sizes):
        contents = await store.contents(group, tree.object_variables)
        await to_the_end(asyncio.to_thread(swap.stage, contents))


def _made_mode(step: Step, spans: Sequence[Span]) -> int:
    """The permission bits that a file had when it was last recorded, for one that has to be made."""
    file, program = spans[-1].start.beside.usual
    usual = program if step.after is not None and step.after.mode == PROGRAM else file
    for span in reversed(spans):
        for path, mode in span.start.beside.modes:
            if path == step.path:
                return mode
    return usual


def _restored(step: Step) -> RestoredFile:
    outcome: Outcome = "merged" if step.merged else "replaced"
    if step.before is None:
        outcome = "created"
    if step.after is None:
        outcome = "deleted"
    return RestoredFile(step.path, outcome)
