"""The sessions of the server: listing, finding one by what the user typed, opening it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from hermes_acp.cli.acp_client import Agent
from hermes_acp.cli.attach import received
from hermes_acp.records import record
from hermes_acp.server.messages import Json

NAME = "hermes-editor-attach"
CAPABILITIES: Json = {
    "session": {"notices": {}, "compaction": {}},
    "elicitation": {"form": {}},
    "_meta": {"terminal_output": True},
}
NEVER = datetime.fromtimestamp(0, UTC)
PAGES = 40
"""Pages of the list that are read; older sessions are reached by their id alone."""


class NoSession(Exception):
    """What the user typed names no session, or several; `str()` says which."""


@record
class Listed:
    """A session as the list has it; `updated` is in UTC."""

    session_id: str
    cwd: str
    title: str = ""
    updated: datetime = NEVER
    running: bool = False
    directories: tuple[str, ...] = ()


async def listing(agent: Agent) -> tuple[Listed, ...]:
    """The sessions, newest first. Raises `AgentError` and `AgentGone`."""
    found: list[Listed] = []
    params: Json = {}
    for _ in range(PAGES):
        page = await agent.call("session/list", params)
        found += map(_listed, received.objects(page.get("sessions")))
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            break
        params = {"cursor": cursor}
    return tuple(found)


async def load(agent: Agent, session: Listed) -> Json:
    """Open a session; all of it is shown before this returns. Raises `AgentError` and `AgentGone`."""
    return await agent.call(
        "session/load",
        {
            "sessionId": session.session_id,
            "cwd": session.cwd,
            "mcpServers": [],
            "additionalDirectories": list(session.directories),
        },
    )


async def create(agent: Agent, cwd: str) -> tuple[Listed, Json]:
    """Make a session in a folder. Raises `AgentError` and `AgentGone`."""
    answer = await agent.call("session/new", {"cwd": cwd, "mcpServers": []})
    return Listed(str(answer.get("sessionId")), cwd), answer


def named(sessions: Sequence[Listed], word: str) -> Listed:
    """The session with this id, or the only one whose id begins so. Raises `NoSession`."""
    found = [item for item in sessions if item.session_id.startswith(word)]
    exact = next((item for item in found if item.session_id == word), None)
    if exact is not None:
        return exact
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSession(f"There is no session {word!r}: `hermes-editor sessions list` shows them.")
    raise NoSession(f"{len(found)} sessions begin with {word!r}: type more of the id.")


def ordered(sessions: Sequence[Listed], cwd: str) -> tuple[Listed, ...]:
    """Those of this folder first, each part newest first."""
    newest = sorted(sessions, key=lambda item: item.updated, reverse=True)
    return tuple(sorted(newest, key=lambda item: not same_folder(item.cwd, cwd)))


def matching(sessions: Sequence[Listed], typed: str) -> tuple[Listed, ...]:
    """Those in whose title, folder or id every typed word occurs."""
    words = typed.casefold().split()

    def fits(item: Listed) -> bool:
        hay = f"{item.title} {item.cwd} {item.session_id}".casefold()
        return all(word in hay for word in words)

    return tuple(item for item in sessions if fits(item))


def same_folder(one: str, other: str) -> bool:
    """Whether two absolute paths are written for the same folder; nothing is looked up."""
    return os.path.normpath(one) == os.path.normpath(other)


def age(moment: datetime, now: datetime) -> str:
    """How long ago, in one short word."""
    seconds = max(0.0, (now - moment).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def _listed(item: Json) -> Listed:
    return Listed(
        session_id=str(item.get("sessionId")),
        cwd=str(item.get("cwd") or "/"),
        title=received.line(item.get("title")),
        updated=_moment(item.get("updatedAt")),
        running=received.members(received.members(item.get("_meta")).get("hermes")).get("running") is True,
        directories=tuple(map(str, received.items(item.get("additionalDirectories")))),
    )


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return NEVER
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
