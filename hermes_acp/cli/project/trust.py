"""`hermes-editor project trust` and `untrust`: the answer that the editor asks for, given or taken back."""

from __future__ import annotations

import argparse
import asyncio

from hermes_acp.agent import instructions
from hermes_acp.cli.command import SUCCESS, Subparsers
from hermes_acp.cli.project.store import Store, print_json, shown
from hermes_acp.policy import trust
from hermes_acp.policy.trust import Trust
from hermes_acp.storage.trust import TrustFile
from hermes_acp.workspace import identity
from hermes_acp.workspace.project import find_project

CLIENT = "hermes-editor project"


def register(actions: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    """Add the arguments of both."""
    trusting = actions.add_parser("trust", help="have the agent follow what this folder says to agents now")
    taking_back = actions.add_parser("untrust", help="take that back; the next session asks again")
    for action in (trusting, taking_back):
        action.add_argument("folder", nargs="?", metavar="FOLDER", help="default: this one")
    return trusting, taking_back


async def run(args: argparse.Namespace, store: Store) -> int:
    """Trust what is there now, or take back what was said. Raises `StorageError` and `NoProject`."""
    place = await find_project(await store.folder(args.folder))
    answers = TrustFile(store.paths.data)
    if args.action == "untrust":
        known = await asyncio.to_thread(answers.forget, [place.key])
        said = "is not trusted any more; the next session asks" if known else "was not trusted"
        return _tell(args, {"place": place.key, "answer": None}, f"{shown(place.root)} {said}.")
    found = await instructions.read(await store.folder(args.folder), place)
    project_id = (await identity.identify(place, store.registry, store.env)).record.id
    known = await asyncio.to_thread(answers.get, place.key)
    answer = trust.granted(known, place.key, project_id, sorted(found.features, key=_name), CLIENT)
    await asyncio.to_thread(answers.keep, answer)
    names = ", ".join(shown(feature.name) for feature in sorted(found.features, key=_name))
    said = f"The agent follows {names} of {shown(place.root)} from the next session on."
    if not names:
        said = f"{shown(place.root)} says nothing to agents; what it says later has to be trusted then."
    return _tell(args, members(answer), said)


def members(answer: Trust) -> dict[str, object]:
    """An answer as JSON shows it."""
    names = sorted({feature.name for feature in answer.features})
    return {"place": answer.place, "answer": answer.answer, "since": answer.decided_at, "features": names}


def _name(feature: trust.Feature) -> str:
    return feature.name


def _tell(args: argparse.Namespace, answer: dict[str, object], said: str) -> int:
    if args.json:
        print_json(answer)
    else:
        print(said)
    return SUCCESS
