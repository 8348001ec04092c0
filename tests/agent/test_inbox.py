"""What waits in a session: one turn at a time, in order, and each prompt ends once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermes_acp.agent.hub import Hub
from hermes_acp.agent.inbox import Inbox
from hermes_acp.content import TextBlock
from hermes_acp.events import Event, PromptDropped
from hermes_acp.ops import Prompt, Steer
from hermes_acp.storage.database import Database
from hermes_acp.storage.journal import Journal


def prompt(turn_id: str, text: str = "hello") -> Prompt:
    return Prompt(turn_id, (TextBlock(text),), "w1")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A hub that shows live events; nothing durable is written here."""
    return Hub("s1", Journal(Database(tmp_path / "sessions.db")), 0, 0.0)


async def test_prompts_come_in_their_order_and_count_as_running_at_once(hub: Hub) -> None:
    inbox = Inbox(hub)
    assert not inbox.busy
    first, second = prompt("t1"), prompt("t2", "/memory")
    assert inbox.enqueue(first) and inbox.enqueue(second)
    assert (await inbox.next(), inbox.running, inbox.aside) == (first, "t1", False)
    assert (await inbox.next(), inbox.running, inbox.aside) == (second, "t2", True)
    assert inbox.busy


async def test_a_turn_cancelled_before_its_first_step_is_dropped_with_what_joined_it(hub: Hub) -> None:
    inbox, reader = Inbox(hub), hub.subscribe(answers=False)
    inbox.enqueue(prompt("t1"))
    began = await inbox.next()
    assert inbox.steer(Steer((TextBlock("and that"),), "w2"))
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(inbox.follow(began, tasks.create_task(asyncio.sleep(60))))
        await asyncio.sleep(0)
        assert inbox.cancel("t1", "w2")
        await following
    assert (inbox.running, inbox.cancelled_by, list(inbox.steering)) == (None, "w2", [])
    dropped: list[tuple[str, Event]] = [(item.turn_id, item.event) for item in reader.take()]
    assert dropped == [("t1", PromptDropped())]


async def test_a_closed_inbox_drops_what_waits_and_what_still_comes(hub: Hub) -> None:
    inbox, reader = Inbox(hub), hub.subscribe(answers=False)
    inbox.enqueue(prompt("t1"))
    await inbox.close("w1")
    assert not inbox.enqueue(prompt("t2"))
    assert not inbox.cancel(None, "w1")
    assert not inbox.steer(Steer((TextBlock("late"),), "w1"))
    assert [(item.turn_id, item.event) for item in reader.take()] == [
        ("t1", PromptDropped()),
        ("t2", PromptDropped()),
    ]


async def test_a_window_takes_back_its_own_prompts_alone(hub: Hub) -> None:
    inbox = Inbox(hub)
    for turn_id in ("t1", "t2", "t3"):
        inbox.enqueue(prompt(turn_id))
    await inbox.withdraw(["t1", "t3", "gone"], "w1")
    assert (await inbox.next()).turn_id == "t2"
    assert not inbox.cancel("t1", "w1")
