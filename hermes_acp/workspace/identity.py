"""Which project a place is: decided once, written into the place, and kept through moves and copies.

What stands in a place (`marks`) says who it is, and the registry says where each project lives. The
registry is written first: after a crash in between, the next turn finds the place by its path and
marks it. Nothing here belongs on the way to the answer of `session/new`; `find_project` does.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hermes_acp.records import record
from hermes_acp.workspace import lineage, marks
from hermes_acp.workspace.lineage import Lineage
from hermes_acp.workspace.locations import inside, printable
from hermes_acp.workspace.project import Project
from hermes_acp.workspace.registry import Record, Registry

TOUCH_SECONDS = 60.0
"""How old the noted time of last use may be."""
PATHS_BOUND = 32
"""Trees, and former places, that are remembered of a project."""
PROPOSALS_BOUND = 8
"""Projects that a place is proposed to join, the ones used last."""


class IdentityError(Exception):
    """A place cannot become what was asked; `str()` says why and what to do."""


@record
class Identified:
    """A place with its id and that of its parent, and the record of its project.

    `proposals` are other projects of which this place seems to be a clone or a copy. They are only
    given when the place has just become a project of its own, which it stays unless `join` is called.
    """

    project: Project
    record: Record
    proposals: tuple[Record, ...] = ()


@record
class _Sight:
    """A place as it was found, where it comes from, and the user's home folder."""

    place: Project
    lineage: Lineage
    home: str


async def identify(place: Project, registry: Registry, env: Mapping[str, str]) -> Identified:
    """The project of a place, which is made when there is none, and noted as used.

    Where the id cannot be written, the registry alone remembers the place. May run git, and take
    seconds on the first look at a large repository; cancelling leaves nothing half done. Raises
    `StorageError` when the registry cannot be used.
    """
    outer = await identify(place.parent, registry, env) if place.parent is not None else None
    place = replace(place, parent=outer.project if outer is not None else None)
    sight = await _look(place, await asyncio.to_thread(_marked, place.key, registry), env)
    record, proposals = await asyncio.to_thread(_settle, sight, registry)
    await _mark(place.key, record.id, env)
    return Identified(replace(place, id=record.id), record, proposals)


def recognised(place: Project, registry: Registry) -> Record | None:
    """The project that a place says it is, else the one that lives there; nothing is written; blocks.

    Raises `StorageError`.
    """
    mark = marks.read(place.key)
    return (registry.get(mark) if mark else None) or _living_at(place.key, registry.all())


def left_behind(place: Project, registry: Registry) -> tuple[str, ...]:
    """The keys under which the project of a place was known where nothing is any more; blocks.

    A place that is only thought to be the project, by its path, left nothing. Raises `StorageError`.
    """
    record = registry.get(place.id) if place.id else None
    if record is None:
        return ()
    keys = dict.fromkeys((*record.keys, *record.former))
    return tuple(key for key in keys if key != place.key and not is_there(key))


def names(place: Project, registry: Registry) -> tuple[str, ...]:
    """All names by which sessions may know the project of a place, that for new ones first; blocks.

    Raises `StorageError`.
    """
    record = recognised(place, registry)
    if record is None:
        return (place.key,)
    others = {name for other in registry.all() if other.id != record.id for name in (other.id, *other.keys)}
    # Where it lived, another project may live now.
    former = (key for key in record.former if key not in others)
    return tuple(dict.fromkeys((place.key, record.id, *record.keys, *former)))


def related(origin: Lineage, keys: Iterable[str], records: Iterable[Record]) -> tuple[Record, ...]:
    """Those of the projects that share remote and first commits with a place; pure.

    A repository is a remote of its own clones, too. Without known first commits nothing is related.
    """
    roots, names = set(origin.roots), {origin.remote, *map(lineage.local, keys)} - {""}
    found = [
        record
        for record in records
        if not roots.isdisjoint(record.lineage.roots)
        and not names.isdisjoint({record.lineage.remote, *map(lineage.local, record.keys)})
    ]
    return tuple(found[:PROPOSALS_BOUND])


def is_there(folder: str) -> bool:
    """Whether a folder is there, or may be: one that we must not look at is not gone; blocks."""
    try:
        return stat.S_ISDIR(Path(folder).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


async def join(project_id: str, place: Project, registry: Registry, env: Mapping[str, str]) -> Record:
    """Make a place one more place of a known project, whatever it was before.

    The project that it was alone in is forgotten when nothing is kept for it. Raises `IdentityError`
    and `StorageError`.
    """
    sight = await _look(place, None, env)
    record = await asyncio.to_thread(_join, project_id, sight, registry)
    await _mark(place.key, record.id, env)
    return record


async def separate(place: Project, registry: Registry, env: Mapping[str, str]) -> Record:
    """Make a place a new project of its own, whatever it was before. Raises `StorageError`."""
    sight = await _look(place, None, env)
    record = await asyncio.to_thread(_separate, sight, registry)
    await _mark(place.key, record.id, env)
    return record


async def move(project_id: str, place: Project, registry: Registry, env: Mapping[str, str]) -> Record:
    """Note that a project lives in `place` now, instead of where it is no more.

    Raises `IdentityError`, also when it is still in all of its places, and `StorageError`.
    """
    sight = await _look(place, None, env)
    record = await asyncio.to_thread(_move, project_id, sight, registry)
    await _mark(place.key, record.id, env)
    return record


async def forget(project_id: str, registry: Registry, env: Mapping[str, str]) -> tuple[str, ...]:
    """Delete the project's folder and its marks; returns the places that still say its id.

    Raises `StorageError`.
    """
    record = await asyncio.to_thread(registry.get, project_id)
    places = record.keys if record is not None else ()
    left = [key for key in places if not await marks.remove(key, project_id, env)]
    await asyncio.to_thread(_remove, project_id, registry)
    return tuple(left)


async def _look(place: Project, known: Record | None, env: Mapping[str, str]) -> _Sight:
    """Asks git for first commits only where they are not known."""
    remote = await asyncio.to_thread(lineage.remote, place)
    roots = known.lineage.roots if known is not None else ()
    origin = Lineage(remote, roots or await lineage.roots(place, env))
    return _Sight(place, origin, env.get("HOME", ""))


async def _mark(key: str, project_id: str, env: Mapping[str, str]) -> None:
    if await asyncio.to_thread(marks.read, key) != project_id:
        await marks.write(key, project_id, env)


# --- decisions, in a thread ----------------------------------------------------------------------


def _marked(key: str, registry: Registry) -> Record | None:
    """The project of a place whose mark and whose record agree."""
    mark = marks.read(key)
    record = registry.get(mark) if mark else None
    return record if record is not None and key in record.keys else None


def _settle(sight: _Sight, registry: Registry) -> tuple[Record, tuple[Record, ...]]:
    """Decide who the place is, and write down what is new about it."""
    known = _marked(sight.place.key, registry)
    if known is not None and _seen(known, sight, registry) == known:
        return known, ()
    with registry.changing():
        record, proposals = _decide(sight, registry)
        return _settled(record, sight, registry), proposals


def _decide(sight: _Sight, registry: Registry) -> tuple[Record, tuple[Record, ...]]:
    key = sight.place.key
    mark = marks.read(key)
    claimed = registry.get(mark) if mark else None
    if mark and claimed is None:
        # The data folder is new, or another user's agent was here first: one id for everybody.
        return _new(mark, sight), ()
    if claimed is not None and key in claimed.keys:
        return claimed, ()
    if claimed is not None and (gone := _gone(claimed, key, sight.home)):
        return _moved(claimed, gone, key), ()
    records = registry.all()
    if (here := _here(sight, records)) is not None:
        return here, ()
    proposals = related(sight.lineage, (key,), records) if claimed is None else (claimed,)
    return _new(str(uuid.uuid4()), sight), proposals


def _here(sight: _Sight, records: Iterable[Record]) -> Record | None:
    """The project that lives in an unmarked place, unless another one has taken its path since."""
    place = sight.place
    found = _living_at(place.key, records)
    if found is not None and found.lineage.agrees(sight.lineage):
        return found
    # A folder that was marked before it became a repository.
    before = _living_at(place.root, records) if place.root != place.key else None
    return before if before is not None and marks.read(place.root) == before.id else None


def _living_at(key: str, records: Iterable[Record]) -> Record | None:
    return next((record for record in records if key in record.keys), None)


def _gone(record: Record, key: str, home: str) -> tuple[str, ...]:
    """The places in which the project is no more, or which are the folder `key` under another name."""
    return tuple(place for place in record.keys if _is_gone(place, record.id, home) or _same(place, key))


def _is_gone(key: str, project_id: str, home: str) -> bool:
    mark = marks.read(key)
    # A place that takes no mark is known by its path alone.
    return mark != project_id and bool(mark or marks.can_hold(key, home) or not is_there(key))


def _same(place: str, key: str) -> bool:
    with suppress(OSError):
        return Path(place).samefile(key)
    return False


def _new(project_id: str, sight: _Sight) -> Record:
    now = time.time()
    return Record(project_id, sight.place.name, (), (), (), sight.lineage, "", now, now)


def _moved(record: Record, gone: tuple[str, ...], key: str) -> Record:
    """The record of a project that lives in `key` instead of where it is gone."""
    keys = tuple(place for place in record.keys if place not in gone)
    former = (*gone, *record.former)
    return replace(record, keys=(key, *keys) if gone else keys, former=former[:PATHS_BOUND])


def _settled(record: Record, sight: _Sight, registry: Registry) -> Record:
    """Write the record down as it is now, and take the place from the project that had it before."""
    key, kept = sight.place.key, registry.get(record.id)
    if kept is None or key not in kept.keys:
        for other in registry.all():
            if other.id != record.id and key in other.keys:
                _leave(other, key, registry)
    seen = _seen(record, sight, registry)
    if seen != kept:
        registry.keep(seen)
    return seen


def _leave(record: Record, key: str, registry: Registry) -> None:
    """A project without a place, for which nothing is kept but its record, is no more."""
    keys = tuple(place for place in record.keys if place != key)
    left = replace(record, keys=keys, former=(key, *record.former)[:PATHS_BOUND])
    if not left.keys and registry.is_empty(record.id):
        registry.remove(record.id)
    else:
        registry.keep(left)


def _seen(record: Record, sight: _Sight, registry: Registry) -> Record:
    """The record with what the place says about itself now."""
    place, now = sight.place, time.time()
    keys = record.keys if place.key in record.keys else (*record.keys, place.key)
    own = inside(place.root, (os.path.realpath(registry.folder),))
    paths = record.paths if own else (place.root, *(path for path in record.paths if path != place.root))
    parent = place.parent.id if place.parent is not None else record.parent
    used_lately = 0 <= now - record.last_used < TOUCH_SECONDS
    return replace(
        record,
        name=place.name if place.key == keys[0] else record.name,
        keys=keys,
        former=tuple(path for path in record.former if path not in keys),
        paths=tuple(path for path in paths if is_there(path))[:PATHS_BOUND],
        lineage=Lineage(
            sight.lineage.remote or record.lineage.remote, record.lineage.roots or sight.lineage.roots
        ),
        parent="" if parent == record.id else parent,
        last_used=record.last_used if used_lately else now,
    )


def _join(project_id: str, sight: _Sight, registry: Registry) -> Record:
    with registry.changing():
        return _settled(_known(project_id, registry), sight, registry)


def _separate(sight: _Sight, registry: Registry) -> Record:
    with registry.changing():
        return _settled(_new(str(uuid.uuid4()), sight), sight, registry)


def _move(project_id: str, sight: _Sight, registry: Registry) -> Record:
    key = sight.place.key
    with registry.changing():
        record = _known(project_id, registry)
        gone = _gone(record, key, sight.home)
        if key not in record.keys and record.keys and not gone:
            raise IdentityError(
                f"{printable(record.name)} is still in {printable(record.keys[0])}. To have both places "
                f"belong to it, use `hermes-editor project join {record.id}` in the other one."
            )
        return _settled(_moved(record, gone, key), sight, registry)


def _known(project_id: str, registry: Registry) -> Record:
    record = registry.get(project_id)
    if record is None:
        raise IdentityError(
            f"There is no project {printable(project_id)!r}: `hermes-editor project list` shows them."
        )
    return record


def _remove(project_id: str, registry: Registry) -> None:
    with registry.changing():
        registry.remove(project_id)
