"""Asks the user, once a session at most, whether what a project brings along may act.

Loaded when the first project brings something: the identity of projects takes a moment to import.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hermes_acp.agent import ids, instructions
from hermes_acp.agent.approvals import Asker
from hermes_acp.agent.instructions import Instructions
from hermes_acp.agent.recorded import Written
from hermes_acp.agent.turn import Turn
from hermes_acp.config import Paths
from hermes_acp.content import Location, TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    Choice,
    Notice,
    ToolCallFinished,
    ToolCallStarted,
    ToolOutcome,
)
from hermes_acp.policy import trust
from hermes_acp.policy.rules.rules import code
from hermes_acp.policy.trust import Feature, Standing, Trust
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.trust import TrustFile
from hermes_acp.workspace import identity, marks
from hermes_acp.workspace.project import INSTRUCTION_NAMES, Project
from hermes_acp.workspace.registry import Registry

TITLE = "Trust this folder?"
NAMED = 8
"""Files that a question names; of the others only the number."""
CHOICES = (
    Choice("trust", "Trust this folder", "allow_always"),
    Choice("not_now", "Not now", "reject_once"),
    Choice("never", "Never", "reject_always"),
)
SAID = {
    "trust": "The user trusts this folder.",
    "not_now": "Not now: the texts of the project are shown to the model as data.",
    "never": "Never: the texts of the project are shown to the model as data, and nobody is asked again.",
}
SUSPICIOUS = "Suspicious text in what the project says to agents"
UNTRUSTED = "This folder is not trusted: {names} is shown to the model as data, not as instructions"
HOW = "`hermes-editor project trust` trusts the folder."

logger = logging.getLogger(__name__)


class Trusting:
    """What one session takes from its project. `env` is the environment for git."""

    def __init__(self, store: TrustFile, registry: Registry, env: Mapping[str, str]) -> None:
        self._store = store
        self._registry = registry
        self._env = env
        self._decided: Instructions | None = None
        self._seen: frozenset[Feature] | None = None

    async def settle(self, turn: Turn) -> None:
        """Make of the project's texts what the user thinks of them, asking where they have to say so.

        They stay that for the session: a change counts from the next one on. Raises `StorageError` when the
        journal is broken.
        """
        found = turn.ready.surroundings.instructions
        if found is None or not found.texts:
            return
        if self._decided is None or self._seen != found.features:
            enabled = await self._decide(turn, found)
            self._decided = await asyncio.to_thread(found.trusting, enabled)
            self._seen = found.features
            if self._decided.suspicious:
                turn.publish(Notice("warning", SUSPICIOUS, self._decided.suspicious))
        turn.screen.tainted |= bool(self._decided.suspicious)
        around = replace(turn.ready.surroundings, instructions=self._decided)
        turn.ready = replace(turn.ready, surroundings=around)

    async def edited(self, turn: Turn) -> None:
        """The turn is over: an edit of trusted instructions that the user allowed is no reason to ask."""
        found = turn.ready.surroundings.instructions
        written = turn.files.written if turn.files is not None else {}
        ours = {path: item for path, item in written.items() if Path(path).name in INSTRUCTION_NAMES}
        if found is None or not ours or turn.approvals.mode == "full":
            # In mode `full` nobody saw the edit before it was made.
            return
        try:
            await asyncio.to_thread(self._note, found.place, ours)
        except StorageError as error:
            logger.warning("the user will be asked about %s again: %s", found.place.root, error)

    def _note(self, place: Project, written: Mapping[str, Written]) -> None:
        known = self._store.get(place.key)
        for path, item in written.items():
            if known is None or not item.sure or not item.after.exists:
                continue
            text = item.before.text if item.before.exists else None
            before = instructions.feature(path, place.root, text) if text is not None else None
            after = instructions.feature(path, place.root, item.after.text)
            if (now := trust.rewritten(known, before, after)) is not None:
                known = now
                self._store.keep(known)

    async def _decide(self, turn: Turn, found: Instructions) -> frozenset[Feature]:
        """What is enabled; a store that cannot be used enables nothing."""
        place = found.place
        try:
            known, project_id = await asyncio.to_thread(self._known, place)
        except StorageError as error:
            turn.publish(Notice("warning", UNTRUSTED.format(names=_names(found.features)), str(error)))
            return frozenset()
        stands = trust.standing(known, project_id, found.features)
        if not stands.asks:
            return stands.enabled
        if not turn.approvals.answerers():
            turn.publish(Notice("info", UNTRUSTED.format(names=_names(stands.asks)), HOW))
            return stands.enabled
        option_id, client = await self._ask(turn, found, stands)
        try:
            return await self._learn(found, stands, known, option_id, client)
        except StorageError as error:
            turn.publish(Notice("warning", "Your answer could not be kept", str(error)))
            return found.features if option_id == "trust" else frozenset()

    async def _learn(
        self, found: Instructions, stands: Standing, known: Trust | None, option_id: str | None, client: str
    ) -> frozenset[Feature]:
        place = found.place
        if option_id == "trust":
            project_id = (await identity.identify(place, self._registry, self._env)).record.id
            answer = trust.granted(known, place.key, project_id, found.features, client)
            await asyncio.to_thread(self._store.keep, answer)
            return found.features
        if option_id == "never":
            project_id = known.identity if known is not None else ""
            await asyncio.to_thread(self._store.keep, trust.refused(place.key, project_id, client))
            return frozenset()
        return stands.enabled

    def _known(self, place: Project) -> tuple[Trust | None, str]:
        """What the user said about a place, and which project is there now; blocks."""
        known = self._store.get(place.key)
        return known, self._identity(place) if known is not None else ""

    def _identity(self, place: Project) -> str:
        """What the place itself says it is; the registry knows a place that cannot say it."""
        mark = marks.read(place.key)
        if mark or marks.can_hold(place.key, self._env.get("HOME", "")):
            return mark
        record = identity.recognised(place, self._registry)
        return record.id if record is not None else ""

    async def _ask(self, turn: Turn, found: Instructions, stands: Standing) -> tuple[str | None, str]:
        """The option that was chosen, None when nobody did, and the window."""
        call_id = ids.call()
        places = tuple(Location(item.path) for item in found.texts if item.feature in stands.asks)
        turn.publish(ToolCallStarted(call_id, "trust", TITLE, "other", "", places))
        said, outcome = "", "cancelled"
        question = ApprovalRequested(
            request_id=ids.request(),
            call_id=call_id,
            title=TITLE,
            reason=reason(found.place.root, stands),
            choices=CHOICES,
            shown=(TextBlock(reason(found.place.root, stands)),),
            locations=places,
        )
        try:
            chosen, client = await turn.approvals.choose(
                Asker(call_id, TITLE, turn.publish, turn.hub.flush), question
            )
            option_id = chosen.option_id if chosen is not None else None
            said = SAID.get(option_id or "", "Nobody answered, so nothing of the project is trusted.")
            outcome = "completed"
        finally:
            ended: ToolOutcome = "completed" if outcome == "completed" else "cancelled"
            turn.publish(ToolCallFinished(call_id, ended, said, (TextBlock(said),) if said else ()))
        return option_id, client


def open_trusting(places: Paths, env: Mapping[str, str]) -> Trusting:
    """What a session of these folders takes from its project."""
    return Trusting(TrustFile(places.data), Registry(places.projects), env)


def reason(root: str, stands: Standing) -> str:
    """What the person reads before they answer."""
    names = _names(stands.asks)
    what = f"{names} of {code(root)}"
    match stands.reason:
        case "changed":
            begin = f"{what} changed, or is new, since you trusted this folder."
        case "replaced":
            begin = f"Another project than the one you trusted is in {code(root)} now. It brings {names}."
        case _:
            begin = f"{what} wants to tell the agent how to work here."
    return (
        f"{begin} If you trust it, the model follows it like your own words. If not, it is only data. "
        "Nothing else of the project is enabled, and every effect is judged as before."
    )


def _names(features: frozenset[Feature] | tuple[Feature, ...]) -> str:
    names = sorted({feature.name for feature in features})
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(code, names[:NAMED])) + more
