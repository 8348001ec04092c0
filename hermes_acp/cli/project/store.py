"""What is kept of projects, as the commands about them read it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from hermes_acp import config
from hermes_acp.cli.command import table
from hermes_acp.cli.sessions import store
from hermes_acp.policy.rules.rules import Rule
from hermes_acp.policy.trust import Trust
from hermes_acp.records import record
from hermes_acp.storage.read_only import ReadOnlyDatabase
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.storage.trust import TrustFile
from hermes_acp.workspace import identity
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.registry import Record, Registry

SHOWN = 10
"""Projects that are named when what was typed fits several."""
NOWHERE = "not found in"
"""What stands before a place that is not there, so that it is noticed."""


class NoProject(Exception):
    """What was typed names no project, or several, or no folder; `str()` says which."""


@record
class Store:
    """The registry and the database of a user. All methods raise `StorageError`; none writes."""

    paths: config.Paths
    registry: Registry
    env: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Store:
        """The store in the folders that the environment names."""
        paths = config.paths(env)
        return cls(paths, Registry(paths.projects), env)

    async def records(self) -> list[Record]:
        """All projects, the one used last first."""
        return await asyncio.to_thread(self.registry.all)

    async def chosen(self, typed: str) -> Record:
        """The project with this id or name, or the only one whose id begins so. Raises `NoProject`."""
        records = await self.records()
        fits = [record for record in records if record.id == typed]
        fits = fits or [record for record in records if record.name == typed]
        fits = fits or [record for record in records if typed and record.id.startswith(typed.lower())]
        if not fits:
            raise NoProject(f"There is no project {shown(typed)!r}: `hermes-editor project list` shows them.")
        if len(fits) > 1:
            listing = table([(record.id, shown(_place(record))) for record in fits[:SHOWN]])
            raise NoProject(f"{len(fits)} projects fit {shown(typed)!r}. Type more of an id:\n{listing}")
        return fits[0]

    async def folder(self, typed: str | None) -> str:
        """A folder that is there, this one when none was typed. Raises `NoProject`."""
        folder = await asyncio.to_thread(os.path.realpath, typed or ".")
        if not await asyncio.to_thread(Path(folder).is_dir):
            raise NoProject(f"{shown(folder)} is not a folder.")
        return folder

    async def of_folder(self, typed: str | None) -> Record:
        """The project of a folder. Raises `NoProject`."""
        place = await find_project(await self.folder(typed))
        record = await asyncio.to_thread(identity.recognised, place, self.registry)
        if record is None:
            raise NoProject(f"{shown(place.root)} is no project yet: it becomes one at the first turn in it.")
        return record

    async def missing(self, records: Iterable[Record]) -> frozenset[str]:
        """The places of these projects that are not there."""
        keys = [key for record in records for key in record.keys]
        return await asyncio.to_thread(lambda: frozenset(key for key in keys if not identity.is_there(key)))

    async def sessions(self, records: list[Record]) -> dict[str, list[SessionRow]]:
        """The sessions of each of all the projects, by its id."""
        owners = _owners(records)
        found: dict[str, list[SessionRow]] = {record.id: [] for record in records}
        for row in await (await store.Store.open(self.paths)).all():
            if (owner := owners.get(row.project)) is not None:
                found[owner].append(row)
        return found

    async def answers(self) -> dict[str, Trust]:
        """What the user said about places that bring something to be trusted, by place."""
        found = await asyncio.to_thread(TrustFile(self.paths.data).all)
        return {trust.place: trust for trust in found}

    async def rules(self, record: Record, records: list[Record]) -> list[Rule]:
        """The rules that hold in the whole of a project; `records` are all."""
        database = await ReadOnlyDatabase.existing(self.paths.database)
        rules = await Rules(database).list_all() if database is not None else []
        owners = _owners(records)
        return [
            rule for rule in rules if rule.scope == "project" and owners.get(rule.origin.project) == record.id
        ]


def columns(
    record: Record, sessions: int, missing: frozenset[str], answers: Mapping[str, Trust]
) -> tuple[str, ...]:
    """A line of the listing, fit for a terminal."""
    when = datetime.fromtimestamp(record.last_used).astimezone().strftime("%Y-%m-%d %H:%M")
    place = shown(_place(record))
    name = shown(record.name)
    if missing.issuperset(record.keys):
        place = f"{NOWHERE} {place}"
    trust = next((answers[key].answer for key in record.keys if key in answers), "-")
    return (record.id, when, str(sessions), trust, name, place)


def shown(text: str) -> str:
    """Text of any length fit for a line on a terminal: nothing in it is invisible."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_json(what: object) -> None:
    """Print JSON in ASCII, because paths may have bytes that are no text."""
    print(json.dumps(what, indent=2))


def _place(record: Record) -> str:
    """The folder by which people know a project."""
    place = next(iter((*record.keys, *record.former, *record.paths)), "-")
    return place.removesuffix("/.git") or "/"


def _owners(records: list[Record]) -> dict[str, str]:
    """The project of each place and id that sessions and rules name; whoever lives there goes first."""
    lived = {key: record.id for record in reversed(records) for key in record.former}
    live = {key: record.id for record in reversed(records) for key in (record.id, *record.keys)}
    return lived | live
