"""The way of changes from the queue into the repository: each exactly once, in order, many at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Sequence
from typing import cast

import orjson

from hermes_acp.memory.facts.edits import Edit
from hermes_acp.memory.facts.fact import Fact, decode, format_file, name_of
from hermes_acp.memory.facts.repository import Repository
from hermes_acp.storage.fact_commits import FactCommit
from hermes_acp.storage.facts import FactTables, Queued

BATCH = 200
"""Changes that are written together."""
BATCHES = 10_000
"""Batches of one `drain`; what is beyond waits for the next one."""
LISTED = 20
"""Facts, and places of evidence, that the message of a commit names."""


def queued(store: str, change_id: str, at: float, edits: Sequence[Edit], session: str = "") -> Queued:
    """A change as it is queued."""
    listed = [
        {"fact": edit.after, "was": edit.before.scope}
        if edit.before is not None and edit.before.scope != edit.after.scope
        else {"fact": edit.after}
        for edit in edits
    ]
    return Queued(store, change_id, "change", at, session, orjson.dumps(listed))


def queued_whole(store: str, change_id: str, at: float, facts: Sequence[Fact]) -> Queued:
    """The whole index of a store, as it is to be."""
    return Queued(store, change_id, "rebuild", at, "", orjson.dumps([{"fact": fact} for fact in facts]))


def queued_purge(store: str, change_id: str, at: float, fact_ids: Collection[str]) -> Queued:
    """Facts that are to be gone."""
    listed = [{"fact": {"id": fact_id}} for fact_id in sorted(fact_ids)]
    return Queued(store, change_id, "purge", at, "", orjson.dumps(listed))


async def drain(tables: FactTables, repository: Repository, store: str, *, doubtful: bool) -> int:
    """Write what is queued; the number of changes. Raises `RepositoryError` and `StorageError`.

    What fails, or is cancelled, stays in the queue. With `doubtful`, or after a crash, changes that are
    in the history already are not written again.
    """
    written = 0
    async with repository.locked() as crashed:
        for _ in range(BATCHES):
            batch = await tables.pending(store, BATCH)
            if not batch:
                break
            for group in _groups(batch):
                await _write(tables, repository, group, doubtful=doubtful or crashed)
                # Before the next group: what is purged may not be left in the queue either.
                await tables.done(group)
            written += len(batch)
        if written:
            await repository.tidy()
    return written


def _groups(batch: Sequence[Queued]) -> list[list[Queued]]:
    """Neighbours of one kind, in order."""
    return [[*group] for _, group in itertools.groupby(batch, key=lambda item: item.kind)]


async def _write(
    tables: FactTables, repository: Repository, changes: Sequence[Queued], *, doubtful: bool
) -> None:
    if changes[0].kind == "change":
        commits = await asyncio.to_thread(lambda: [_commit(change) for change in changes])
        await repository.commit(commits, doubtful=doubtful)
    elif changes[0].kind == "purge":
        await repository.purge([name_of(fact_id) for change in changes for fact_id in ids_of(change)])
        await tables.scrub()


def ids_of(change: Queued) -> list[str]:
    """The facts that a change is about."""
    return [
        item["fact"]["id"] for item in cast("list[dict[str, dict[str, str]]]", orjson.loads(change.facts))
    ]


def facts_of(change: Queued) -> tuple[Fact, ...]:
    """The facts as a change leaves them; of a purge there are none."""
    if change.kind == "purge":
        return ()
    listed = cast("list[dict[str, object]]", orjson.loads(change.facts))
    return decode(orjson.dumps([item["fact"] for item in listed]))


def _commit(change: Queued) -> FactCommit:
    files: dict[str, dict[str, str | None]] = {}
    merges: dict[str, str] = {}
    facts = facts_of(change)
    left = [item.get("was") for item in cast("list[dict[str, str]]", orjson.loads(change.facts))]
    for fact, was in zip(facts, left, strict=True):
        files.setdefault(fact.scope, {})[name_of(fact.id)] = format_file(fact)
        if was:
            files.setdefault(was, {})[name_of(fact.id)] = None
            merges[was] = fact.scope
    return FactCommit(change.change_id, _message(change, facts), change.at, files, merges)


def _message(change: Queued, facts: Sequence[Fact]) -> str:
    """What changed, without a word of any fact."""
    count = "1 fact" if len(facts) == 1 else f"{len(facts)} facts"
    lines = [f"Change {count}", ""]
    lines += [f"{fact.id} {fact.kind} {fact.status}" for fact in facts[:LISTED]]
    lines += [f"and {len(facts) - LISTED} more"] if len(facts) > LISTED else []
    lines += ["", f"Hermes-Change: {change.change_id}"]
    lines += [f"Hermes-Session: {change.session}"] if change.session else []
    places = dict.fromkeys(f"{item.session}:{item.seq}" for fact in facts for item in fact.evidence)
    lines += [f"Hermes-Evidence: {place}" for place in [*places][:LISTED]]
    return "\n".join(lines) + "\n"
