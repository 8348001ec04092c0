"""What is known, for those who work in a project: read at once, changed durably, written to git later."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hermes_acp.memory import scopes
from hermes_acp.memory.facts import ids, undoing, writing
from hermes_acp.memory.facts.changes import Change
from hermes_acp.memory.facts.edits import Edit, moved
from hermes_acp.memory.facts.evidence import MessageText, checked
from hermes_acp.memory.facts.fact import BadFact, Fact, decode, moment, name_of, parse_file
from hermes_acp.memory.facts.planning import plan
from hermes_acp.memory.facts.reading import Review, from_files, known_from, known_to, reviews
from hermes_acp.memory.facts.repository import Repository
from hermes_acp.memory.facts.undoing import Void
from hermes_acp.memory.scopes import USER, Asked, Branches, Move, Place
from hermes_acp.memory.user_model import claims
from hermes_acp.records import record
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.fact_commits import LogEntry, RepositoryError
from hermes_acp.storage.facts import FactTables, Queued

ATTEMPTS = 50
"""Times that a change is made anew because another one came between."""
LINGER = 0.5
"""Seconds that the writer waits for more changes, to write them together."""
RETRY = 30.0
"""Seconds after which the writer looks at the queue even when nobody called it."""
NO_CHANGE = "There is no change {change_id} here: `memory log` lists the changes."

T = TypeVar("T")

logger = logging.getLogger(__name__)


@record
class Applied:
    """A change that is on disk: its id, the facts of its parts, what it did, what its author should know."""

    change_id: str
    ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()


@record
class Forgotten:
    """Facts that are gone: the one that was meant and those derived from it."""

    ids: tuple[str, ...]


class Facts:
    """The facts of the user and of all projects.

    Reading raises `StorageError`; changing raises `BadFact`, too, for what cannot be done, and what
    needs the history `RepositoryError`. A cancelled change is made or not made, never half.
    """

    def __init__(
        self,
        tables: FactTables,
        repository_of: Callable[[str], Repository],
        message: MessageText | None = None,
    ) -> None:
        self._tables = tables
        self._repository_of = repository_of
        self._message = message or tables.message
        self._repositories: dict[str, Repository] = {}
        self._seen: set[str] = set()
        self._news = asyncio.Event()
        self._read: tuple[tuple[int, Place], list[tuple[Fact, ...]]] | None = None

    # --- reading -----------------------------------------------------------------------------------

    async def visible(self, place: Place) -> list[Fact]:
        """What holds at a place, the narrowest scope first, in each the newest first."""
        # A page, and each prompt behind it, want the same.
        key = (await self._tables.version(), place)
        if self._read is None or self._read[0] != key:
            self._read = (key, await self._layers(place))
        *layers, user = self._read[1]
        return await asyncio.to_thread(lambda: scopes.visible([*layers, claims.holding(user, time.time())]))

    async def _layers(self, place: Place) -> list[tuple[Fact, ...]]:
        """The facts that may hold at a place, the narrowest scope first; the user's last."""
        layers = [(place.project, scope) for scope in place.scopes] if place.project else []
        layers += [(parent, scopes.PROJECT) for parent in place.parents]
        lists = [
            await self._tables.list(store, (scope,), ("active", "superseded")) for store, scope in layers
        ]
        # What speaks against a claim stands in the other answers to its question.
        lists.append(await self._tables.list(USER, (USER,), ("active", "superseded", "proposed")))
        return await asyncio.to_thread(lambda: [decode(data) for data in lists])

    async def all(self, store: str) -> dict[str, Fact]:
        """Every fact of a store (`USER`, or a project's id), whatever became of it, by id."""
        data = await self._tables.list(store)
        return await asyncio.to_thread(lambda: {fact.id: fact for fact in decode(data)})

    async def version(self) -> int:
        """A number that every change makes larger."""
        return await self._tables.version()

    async def scopes(self, store: str) -> set[str]:
        """The scopes that a store has facts in."""
        return await self._tables.scopes(store)

    async def here(self, place: Place) -> dict[str, Fact]:
        """The facts that somebody at a place can change, by id: the project's and the user's."""
        return await self._here(place)

    async def review(self, place: Place) -> list[Review]:
        """Proposals that wait for an answer, each with what it would replace."""
        return await asyncio.to_thread(reviews, await self._here(place), place)

    async def uses(self, store: str) -> Mapping[str, int]:
        """How often facts of a store were of use."""
        return await self._tables.uses(store)

    async def note_uses(self, store: str, fact_ids: Collection[str]) -> None:
        """Count one more use of each of these."""
        await self._tables.note_uses(store, fact_ids)

    # --- changing ----------------------------------------------------------------------------------

    async def apply(self, place: Place, changes: Sequence[Change], session: str = "") -> Applied:
        """Make these changes, all of them or none; on disk on return.

        Quotes are looked up: a fact of the agent without a quote that was found is a proposal.
        """
        proven = await checked(changes, self._message)

        async def make(change_id: str, at: float) -> tuple[Applied, list[Queued]]:
            facts = await self._here(place)
            made = await asyncio.to_thread(plan, proven, facts, place, at, ids.rising(at))
            stores = _by_store(made.edits, place)
            rows = [writing.queued(store, change_id, at, part, session) for store, part in stores.items()]
            return Applied(change_id, made.ids, made.notes, made.edits), rows

        return await self._make(make)

    async def revert(self, place: Place, change_id: str, session: str = "") -> Applied:
        """Take a change back, and what was derived from it; what came later stays. Itself a change."""
        histories = await self._histories(place, change_id)
        if not any(histories.values()):
            raise BadFact(NO_CHANGE.format(change_id=change_id))

        async def make(own_id: str, at: float) -> tuple[Applied, list[Queued]]:
            rows: list[Queued] = []
            done: list[Edit] = []
            for store, history in histories.items():
                facts = await self.all(store) if history else {}
                edits = await asyncio.to_thread(undoing.revert, history, facts)
                rows += [writing.queued(store, own_id, at, edits, session)] if edits else []
                done += edits
            return Applied(own_id, tuple(edit.after.id for edit in done), (), tuple(done)), rows

        return await self._make(make)

    async def unlearn(self, place: Place, void: Void, changes: Collection[str] = ()) -> Applied:
        """Have some events of a session count as evidence no more; see `undoing.unlearn`.

        `changes` were made there, in order: their edits are read from the history.
        """
        histories = [await self._histories(place, change_id) for change_id in changes]
        edits = [edit for history in histories for part in history.values() for edit in part]
        void = replace(void, edits=edits)

        async def make(change_id: str, at: float) -> tuple[Applied, list[Queued]]:
            facts = await self._here(place)
            edits = await asyncio.to_thread(undoing.unlearn, void, facts, at)
            stores = _by_store(edits, place)
            rows = [
                writing.queued(store, change_id, at, part, void.session) for store, part in stores.items()
            ]
            return Applied(change_id, tuple(edit.after.id for edit in edits), (), edits), rows

        return await self._make(make)

    async def forget(self, store: str, fact_id: str) -> Forgotten:
        """Remove a fact and what was derived from it: from the index, the history and the disk.

        Once this has begun it is finished, if need be at the next start. The conversation in which
        the fact was said, copies of the database and other clones of the history are not touched.
        """

        async def make(change_id: str, at: float) -> tuple[Forgotten, list[Queued]]:
            facts = await self.all(store)
            if fact_id not in facts:
                raise BadFact(f"There is no fact {fact_id} here: list the facts for their ids.")
            gone, edits = await asyncio.to_thread(undoing.forget, fact_id, facts)
            rows = [writing.queued_purge(store, change_id, at, gone)]
            rows += [writing.queued(store, change_id, at, edits)] if edits else []
            return Forgotten(tuple(sorted(gone))), rows

        forgotten = await self._make(make)
        await self.drain(store)
        return forgotten

    async def reconcile(
        self, store: str, repository: str, now: Branches, session: str = ""
    ) -> tuple[Move, ...]:
        """Have the facts follow their branches, after a look at one of the project's repositories.

        `repository` tells clones apart (`Project.key`); `session` is the one whose HEAD is detached.
        """
        places = {place: known_from(data) for place, data in (await self._tables.known(store)).items()}
        known = places.pop(repository, {})
        elsewhere = {scope for others in places.values() for scope in others}

        async def make(change_id: str, at: float) -> tuple[tuple[Move, ...], list[Queued]]:
            found = scopes.reconcile(await self._tables.scopes(store), known, now)
            moves = tuple(move for move in found if move.why != "deleted" or move.source not in elsewhere)
            facts = await self.all(store) if moves else {}
            edits = await asyncio.to_thread(moved, facts, moves)
            return moves, [writing.queued(store, change_id, at, edits, session)] if edits else []

        moves = await self._make(make)
        used = await self._tables.scopes(store)
        if (kept := scopes.look(known, now, used, session)) != known:
            await self._tables.keep_known(store, repository, known_to(kept))
        return moves

    async def asked(self, store: str, repository: str) -> Asked:
        """What the next look at a repository should find out for `reconcile`."""
        known = known_from((await self._tables.known(store)).get(repository, b"{}"))
        return scopes.asked(known, await self._tables.scopes(store))

    async def sessions_at(self, store: str, repository: str, commit: str) -> frozenset[str]:
        """The scopes of sessions that stood at a commit, without a branch, at their last look."""
        known = known_from((await self._tables.known(store)).get(repository, b"{}"))
        return frozenset(
            scope for scope, item in known.items() if scope.startswith(scopes.SESSION) and item.tip == commit
        )

    async def recover(self, store: str, branch: str) -> Applied:
        """Bring the facts of a deleted branch back to a branch of that name."""
        move = Move("recovered", f"{scopes.ARCHIVE}{branch}", f"{scopes.OVERLAY}{branch}")

        async def make(change_id: str, at: float) -> tuple[Applied, list[Queued]]:
            edits = await asyncio.to_thread(moved, await self.all(store), (move,))
            if not edits:
                raise BadFact(f"Nothing was kept of a branch {branch}.")
            found = tuple(edit.after.id for edit in edits)
            return Applied(change_id, found, (), edits), [writing.queued(store, change_id, at, edits)]

        return await self._make(make)

    async def tellers(self, facts: Collection[Fact]) -> tuple[str, ...]:
        """The sessions in which these facts were said or shown: what is forgotten stays in them."""
        said = {item.session for fact in facts for item in fact.evidence}
        named = await self._tables.telling([fact.id for fact in facts])
        return tuple(sorted({*said, *named} - {""}))

    # --- the history -------------------------------------------------------------------------------

    async def log(self, store: str, limit: int, fact_id: str = "") -> Sequence[LogEntry]:
        """The last changes, of one fact only if one is named, the newest first."""
        return await self._reading(
            store, lambda repository: repository.log(limit, name_of(fact_id) if fact_id else "")
        )

    async def changed(self, store: str, change_id: str) -> tuple[Edit, ...]:
        """What a change did; empty when there was no such change."""
        return await self._edits(store, change_id)

    async def kept_edits(self, place: Place) -> list[str]:
        """Files that somebody edited and whose facts have changed since: they stay, and are told of once."""
        stores = [store for store in (place.project, USER) if store]
        return [file for store in stores for file in await self._repository(store).kept_edits()]

    async def rebuild(self, store: str) -> tuple[str, ...]:
        """Make the index anew from the history; a sentence for each file that is none of a fact."""
        await self.drain(store)
        files = await self._reading(store, lambda repository: repository.files())
        found, problems = await asyncio.to_thread(from_files, files)

        async def make(change_id: str, at: float) -> tuple[tuple[str, ...], list[Queued]]:
            facts = dict(found)
            for change in await self._tables.pending(store, writing.BATCH):
                facts |= {fact.id: fact for fact in writing.facts_of(change)}
            whole = await asyncio.to_thread(writing.queued_whole, store, change_id, at, list(facts.values()))
            return problems, [whole]

        return await self._make(make)

    async def problems(self, store: str) -> tuple[str, ...]:
        """What is wrong with the history, and files in it that are none of a fact; empty when it is sound."""
        unsound = await self._reading(store, lambda repository: repository.problems())
        files = await self._reading(store, lambda repository: repository.files())
        _, unread = await asyncio.to_thread(from_files, files)
        return (*unsound, *unread)

    # --- writing -----------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Write what is queued whenever there is something, until cancelled; failures are tried again."""
        while True:
            self._news.clear()
            try:
                await self.drain()
            except (RepositoryError, StorageError) as error:
                logger.warning("what was learned is safe, but not in its repository yet: %s", error)
            try:
                async with asyncio.timeout(RETRY):
                    await self._news.wait()
                await asyncio.sleep(LINGER)
            except TimeoutError:
                pass

    async def drain(self, store: str | None = None) -> None:
        """Write what is queued now, of one store or of all. What fails stays queued, and is raised."""
        waiting = await self._tables.waiting()
        failures: list[RepositoryError | StorageError] = []
        for name in waiting if store is None else [store] * (store in waiting):
            try:
                await writing.drain(
                    self._tables, self._repository(name), name, doubtful=name not in self._seen
                )
                self._seen.add(name)
            except (RepositoryError, StorageError) as error:
                failures.append(error)
        if failures:
            # The others are written all the same.
            raise failures[0]

    def close(self) -> None:
        """Give back what is open; what is queued is written by the next one who opens the database."""
        for repository in self._repositories.values():
            repository.close()
        self._repositories.clear()

    def _repository(self, store: str) -> Repository:
        if store not in self._repositories:
            self._repositories[store] = self._repository_of(store)
        return self._repositories[store]

    async def _reading(self, store: str, read: Callable[[Repository], Awaitable[T]]) -> T:
        """What the repository says once everything is in it."""
        await self.drain(store)
        repository = self._repository(store)
        async with repository.locked():
            return await read(repository)

    async def _histories(self, place: Place, change_id: str) -> dict[str, tuple[Edit, ...]]:
        """What a change did to each store of a place."""
        return {store: await self._edits(store, change_id) for store in (place.project, USER) if store}

    async def _edits(self, store: str, change_id: str) -> tuple[Edit, ...]:
        versions = await self._reading(store, lambda repository: repository.versions(change_id))
        return tuple(
            Edit(None if item.before is None else parse_file(item.before), parse_file(item.after))
            for item in versions
        )

    async def _here(self, place: Place) -> dict[str, Fact]:
        """The facts that somebody at a place can change."""
        user = await self.all(USER)
        return user | await self.all(place.project) if place.project else user

    async def _make(self, make: Callable[[str, float], Awaitable[tuple[T, list[Queued]]]]) -> T:
        """Queue what `make` makes of the facts as they are, again when somebody else was quicker."""
        for _ in range(ATTEMPTS):
            version = await self._tables.version()
            at = moment(time.time())
            result, rows = await make(ids.new(at), at)
            if not rows or await self._tables.append(rows, version):
                self._news.set()
                return result
        raise StorageError(
            f"The facts changed {ATTEMPTS} times while this change was made: nothing was done. Try again."
        )


def _by_store(edits: Iterable[Edit], place: Place) -> dict[str, list[Edit]]:
    stores: dict[str, list[Edit]] = {}
    for edit in edits:
        store = scopes.store_of(edit.after.scope, place.project)
        if not store:
            raise BadFact("This folder is no project yet, so nothing can be remembered of it.")
        stores.setdefault(store, []).append(edit)
    return stores
