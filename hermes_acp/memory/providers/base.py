"""What a memory service outside of this program does for a session: the contract of its adapters.

An adapter is handed texts without secrets, and what it gives is data of strangers: others limit how long
it may take, screen its answers and tell the user of failures. So it only speaks with its service, and
raises `ProviderError` where that says no; whatever else it raises counts as a failure, too. Each call may
be cancelled at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hermes_acp.records import record


class ProviderError(Exception):
    """A service did not do what it was asked for; `str()` is a clause that says why."""


@record
class SaidTurn:
    """What was said in a turn, without secrets: no file and no output of a tool. `at` in seconds."""

    session: str
    turn: str
    at: float
    user: str
    agent: str


@record
class ProviderTool:
    """Something that the model can ask a service; the name is a word, unique within the provider.

    The model is told of it before the client of the service is loaded, so it stands beside the adapter.
    """

    name: str
    description: str


class Provider(Protocol):
    """A memory service. A `bank` is the memory of one project: nothing of one may show up in another."""

    async def prefetch(self, bank: str, query: str) -> Sequence[str]:
        """The passages that fit what the user says now, the best first; none for a bank that is not there."""
        ...

    async def sync_turn(self, bank: str, turn: SaidTurn) -> None:
        """Take in a turn that has ended; the same turn again changes nothing."""
        ...

    async def on_session_end(self, bank: str, session: str) -> None:
        """A session has left memory: nothing of it follows, unless it is opened again."""
        ...

    async def ask(self, tool: str, bank: str, query: str) -> Sequence[str]:
        """The passages that answer a question of the model's, put to one of the service's tools."""
        ...

    async def aclose(self) -> None:
        """Give back what is open; nothing is asked afterwards."""
        ...
