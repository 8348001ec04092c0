"""What sessions are handed by their server: stores, models, and the rooms that are opened late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from hermes_acp.agent.memory.remembering import Opening
from hermes_acp.agent.origins import Origin
from hermes_acp.agent.windows import Windows
from hermes_acp.records import record
from hermes_acp.storage.journal import Journal
from hermes_acp.storage.sessions import SessionTable

if TYPE_CHECKING:
    from hermes_acp.agent.checkpointing import Checkpointing
    from hermes_acp.agent.isolation import Isolation
    from hermes_acp.agent.trust import Trusting


@record
class Services:
    """What a session needs beside its place."""

    journal: Journal
    table: SessionTable
    origin: Origin
    windows: Windows
    isolation: Callable[[], Awaitable[Isolation]]
    checkpointing: Callable[[], Awaitable[Checkpointing]]
    trusting: Callable[[], Awaitable[Trusting]]
    memory: Opening
    surveying: asyncio.Semaphore
    """Sessions look around a few at a time: each starts git several times, and a start halts the loop."""
