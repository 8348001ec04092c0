"""References in prompts: what they stand for reaches the model, and what is wrong reaches the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.events import Notice, Steered, ToolCallFinished, TurnEnded
from tests.agent.server import messages, say, serving

pytestmark = pytest.mark.programs


async def test_a_file_that_is_referred_to_is_read_before_the_model_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Read.")]) as desk:
        (desk.folder / "price.py").write_text("PRICE = 41\n")
        window = await desk.new()
        assert await window.prompt("Explain @file:price.py") == TurnEnded("end_turn")
        (added,) = window.of(Steered)
        assert "PRICE = 41" in str(added.content)
        assert [event.outcome for event in window.of(ToolCallFinished)] == ["completed"]
        assert "PRICE = 41" in str(messages(window.session))


async def test_a_wrong_reference_stays_text_and_the_user_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Hm.")]) as desk:
        window = await desk.new()
        assert await window.prompt("Explain @file:gone.py, me@example.org") == TurnEnded("end_turn")
        assert window.of(Steered) == []
        assert "gone.py" in window.of(Notice)[0].title


async def test_a_prompt_without_references_reads_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("Hello.")]) as desk:
        window = await desk.new()
        assert await window.prompt("Write to me@example.org") == TurnEnded("end_turn")
        assert window.of(ToolCallFinished) == []
