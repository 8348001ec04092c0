"""The options of a session: shown whole, set one by one, kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hermes_acp.agent.options import EFFORTS, MODES, BadOption, Choices
from hermes_acp.events import OptionsChanged, OptionValue
from tests.agent.server import say, serving

MODELS = (OptionValue("a/x", "a/x"), OptionValue("b/y", "b/y"))
CHOICES = Choices("ask", "a/x", "default")


def test_every_option_names_its_current_value_and_all_others() -> None:
    mode, model, effort, isolation = CHOICES.options(MODELS)
    assert (mode.option_id, mode.category, mode.current, mode.values) == ("mode", "mode", "ask", MODES)
    assert (model.option_id, model.category, model.current, model.values) == ("model", "model", "a/x", MODELS)
    assert (effort.option_id, effort.category, effort.current, effort.values) == (
        "effort",
        "thought_level",
        "default",
        EFFORTS,
    )
    assert (isolation.option_id, isolation.current) == ("isolation", "in_place")
    assert [item.value for item in isolation.values] == ["in_place", "worktree"]


def test_a_model_that_nobody_offers_any_more_stays_among_the_values() -> None:
    _, model, *_ = Choices("ask", "old/z", "default").options(MODELS)
    assert model.values == (OptionValue("old/z", "old/z"), *MODELS)


def test_each_option_is_set_by_itself() -> None:
    assert CHOICES.with_option("mode", "plan", MODELS) == Choices("plan", "a/x", "default")
    assert CHOICES.with_option("model", "b/y", MODELS) == Choices("ask", "b/y", "default")
    assert CHOICES.with_option("effort", "high", MODELS) == Choices("ask", "a/x", "high")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("modes", "ask", "no option 'modes': use mode, model, effort or isolation"),
        ("", "", "no option ''"),
        ("mode", "yolo", "Mode cannot be 'yolo': choose one of ask, accept_edits, auto, full, plan"),
        ("mode", "", "Mode cannot be ''"),
        ("model", "c/z", "Model cannot be 'c/z': choose one of a/x, b/y"),
        ("effort", "HIGH", "choose one of default, none, low, medium, high"),
    ],
)
def test_bad_names_and_values_are_refused_with_the_good_ones(option: str, value: str, words: str) -> None:
    with pytest.raises(BadOption, match=words):
        CHOICES.with_option(option, value, MODELS)


async def test_options_set_at_once_are_all_kept(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("hi")], models="scripted/b,scripted/c") as desk:
        window = await desk.new()
        session = window.session
        await asyncio.gather(
            session.set_option("mode", "plan"),
            session.set_option("model", "scripted/c"),
            session.set_option("effort", "low"),
        )
        with pytest.raises(BadOption):
            await session.set_option("mode", "none")
        assert session.choices == Choices("plan", "scripted/c", "low")
        await window.see(OptionsChanged, 3)
        assert window.of(OptionsChanged)[-1].options == session.options()
    async with serving(tmp_path, [say("hi")]) as desk:
        again = await desk.open(session.session_id)
        assert again.session.choices == Choices("plan", "scripted/c", "low")
