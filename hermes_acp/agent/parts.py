"""What the pieces of one session share."""

from __future__ import annotations

import asyncio

from hermes_acp.agent.approvals import Approvals
from hermes_acp.agent.hub import Hub
from hermes_acp.agent.inbox import Inbox
from hermes_acp.agent.memory.remembering import Remembering
from hermes_acp.agent.services import Services
from hermes_acp.agent.transcript import Transcript
from hermes_acp.agent.turn_files import Recording
from hermes_acp.policy.masking import Masks
from hermes_acp.records import record


@record
class Parts:
    """The parts of a session that know nothing of each other's work; `tasks` live as long as it does."""

    services: Services
    hub: Hub
    approvals: Approvals
    inbox: Inbox
    transcript: Transcript
    recording: Recording
    memory: Remembering
    masks: Masks
    tasks: asyncio.TaskGroup


def of_session(services: Services, hub: Hub, approvals: Approvals, tasks: asyncio.TaskGroup) -> Parts:
    """The parts of a new session, none of which has done anything yet."""
    inbox = Inbox(hub)
    transcript = Transcript(hub, inbox)
    return Parts(
        services=services,
        hub=hub,
        approvals=approvals,
        inbox=inbox,
        transcript=transcript,
        recording=Recording(hub.session_id, services.checkpointing, tasks.create_task),
        memory=Remembering(services.memory, transcript.tell, tasks.create_task),
        masks=Masks(services.origin.secrets),
        tasks=tasks,
    )
