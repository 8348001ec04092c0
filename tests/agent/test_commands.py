"""Slash commands: what they do, and what is not one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.agent.commands import COMMANDS, Invocation, parse
from hermes_acp.content import Block, ImageBlock, TextBlock
from hermes_acp.events import OptionsChanged, StepStarted, TitleChanged, TurnEnded
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import act, messages, say, serving

DONE = TurnEnded("end_turn")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", Invocation("help", "")),
        ("  /title  Fix the  test \n", Invocation("title", "Fix the  test")),
        ("/compact\nthe tests", Invocation("compact", "the tests")),
        ("/unknown thing", None),
        ("/", None),
        ("", None),
        ("/usr/bin/env is missing", None),
        ("say /help", None),
        ("/helpme", None),
    ],
)
def test_a_command_is_a_known_word_behind_a_slash_at_the_beginning(
    text: str, command: Invocation | None
) -> None:
    assert parse((TextBlock(text),)) == command


@pytest.mark.parametrize("content", [(), (ImageBlock("", "image/png"), TextBlock("/help"))])
def test_only_a_text_that_comes_first_can_be_a_command(content: tuple[Block, ...]) -> None:
    assert parse(content) is None


async def test_commands_are_answered_without_asking_the_model(tmp_path: Path) -> None:
    script = [
        {"context_window": 200},
        act({"text": "hi"}, {"usage": {"input": 40, "output": 10, "cost": 0.25}}, when={"user": ""}),
    ]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        assert await window.prompt("/usage") == DONE
        await window.prompt("hello")
        for command in ("/help", "/tools", "/usage"):
            assert await window.prompt(command) == DONE
        empty, _, told, tools, usage = window.texts
        assert empty == "Context: 0 of 200 tokens (0 %). Cost so far: unknown."
        assert told.startswith("\n".join(f"- `/{item.name}`: {item.description}" for item in COMMANDS))
        assert "- `@git:`: the last commits with their changes, 1 to 20" in told
        assert "- `read_file`: " in tools
        assert "- `run_command`: " in tools
        assert usage == "Context: 50 of 200 tokens (25 %). Cost so far: 0.2500 US dollars."
        assert [item.step for item in window.of(StepStarted)] == [1]
        check_all(window.seen)
        check_messages(messages(window.session))


async def test_a_command_names_no_session_and_title_does(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("hi")]) as desk:
        window = await desk.new()
        await window.prompt("/help")
        assert window.of(TitleChanged) == []
        await window.prompt("/title")
        assert "/title Fix the login test" in window.texts[-1]
        await window.prompt("/title The  great\nrefactoring")
        assert window.of(TitleChanged) == [TitleChanged("The great refactoring")]
        await window.prompt("hello")
        assert window.session.title == "The great refactoring"
        await window.prompt("/title " + "long " * 50)
        assert len(window.session.title or "") <= 60
    async with serving(tmp_path, [say("hi")]) as desk:
        again = await desk.open(window.session.session_id)
        assert again.session.title == window.session.title


async def test_the_model_can_be_switched_by_name_and_the_session_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("I am one"), say("still one")]) as desk:
        other = desk.write_script(say("never"), say("I am two"))
        window = await desk.new()
        await window.prompt("who are you?")
        await window.prompt("/model")
        assert "(current)" in window.texts[-1]
        assert await window.prompt(f"/model {other}") == DONE
        assert window.of(OptionsChanged)[-1].options == window.session.options()
        assert next(item.current for item in window.session.options() if item.option_id == "model") == other
        failed = await window.prompt("/model nonsense")
        assert isinstance(failed, TurnEnded)
        assert "does not name a model" in (failed.error or "")
        assert next(item.current for item in window.session.options() if item.option_id == "model") == other
        check_all(window.seen)


async def test_a_session_whose_model_is_gone_can_be_given_another(tmp_path: Path) -> None:
    async with serving(tmp_path, [], model=f"scripted/{tmp_path}/gone.jsonl") as desk:
        window = await desk.new()
        assert isinstance(await window.prompt("hello"), TurnEnded)
        other = desk.write_script(act({"text": "here"}, when={"user": ""}))
        assert await window.prompt("/help") == DONE
        assert await window.prompt(f"/model {other}") == DONE
        assert await window.prompt("hello") == DONE
        assert window.texts[-1] == "here"
