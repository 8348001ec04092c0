"""Everything that one turn may use, in one place."""

from __future__ import annotations

from collections import deque
from dataclasses import field

from hermes_acp.agent.approvals import Approvals
from hermes_acp.agent.context import Surroundings
from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.screening import Screening
from hermes_acp.agent.turn_files import TurnFiles
from hermes_acp.agent.windows import Windows
from hermes_acp.events import Event, Steered
from hermes_acp.llm.base import Effort, Model, Request, ToolSpec
from hermes_acp.records import mutable, record
from hermes_acp.storage.sessions import SessionRow
from hermes_acp.tools.base import SessionTools
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.execution.base import Execution


@record
class Place:
    """Where a session works."""

    cwd: str
    roots: tuple[str, ...]
    documents: Documents
    execution: Execution


def workplace(row: SessionRow, roots: tuple[str, ...], windows: Windows) -> Place:
    """Where a session works: the first of `roots`. An editor's buffers are of its own tree only."""
    lender = windows.files if row.isolation == "in_place" else lambda: None
    return Place(roots[0], roots, Documents(roots, lender), windows)


@record
class Prepared:
    """What a session needs for its first turn and not before."""

    tools: SessionTools
    surroundings: Surroundings


@mutable
class Turn:
    """One turn of one session."""

    turn_id: str
    hub: Hub
    conversation: Conversation
    model: Model
    effort: Effort
    ready: Prepared
    approvals: Approvals
    place: Place
    max_steps: int
    steering: deque[Steered] = field(default_factory=deque[Steered])
    files: TurnFiles | None = None
    """Notes what the turn does to files; None where that is of no use."""
    screen: Screening = field(default_factory=Screening)
    """What texts from outside pass."""

    @property
    def tools(self) -> SessionTools:
        """What the model can do."""
        return self.ready.tools

    def publish(self, event: Event) -> None:
        """Tell the windows and remember for the model. Raises `StorageError`."""
        self.conversation.apply(self.hub.publish(event, self.turn_id))

    async def join_steering(self) -> None:
        """Take in what the user said meanwhile. Raises `StorageError`; what is not on disk waits on."""
        said = tuple(self.steering)
        for message in said:
            self.publish(await self.screen.steered(message, self.publish))
        if said:
            await self.hub.flush()
        for _ in said:
            self.steering.popleft()

    def request(self, tools: tuple[ToolSpec, ...]) -> Request:
        """The next request to the model."""
        return Request(
            system=self.ready.surroundings.system(self.approvals.mode),
            messages=self.conversation.messages,
            tools=tools,
            effort=self.effort,
            session_id=self.hub.session_id,
        )
