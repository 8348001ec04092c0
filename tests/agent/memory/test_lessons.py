"""What turns have taught goes with `/undo` and comes back with `/redo`; what the owner wants stays."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hermes_acp.agent.memory.lessons import Owed, owed, owned
from hermes_acp.content import TextBlock
from hermes_acp.events import Envelope, Event, FactNote, MemoryChanged, Rewound, TurnEnded, TurnStarted
from tests.agent.memory.test_notebook import project, remember, told
from tests.agent.server import Desk, Window, act, call, choosing, say, serving
from tests.memory.memories import example
from tests.model_server import Asked, ModelServer, answer

pytestmark = pytest.mark.programs

FORM = "Say Grüß Gott."
SAID = "say Grüß Gott to everybody"
INFERRED = "The tests are slow."
GERMAN = '[{"number": 1, "kind": "preference", "key": "language", "text": "Answer in German."}]'
AGAIN = "say Servus and Grüß Gott to everybody and everywhere"
WARMER = "Say Servus and Grüß Gott."
WARMEST = "Say Servus and Grüß Gott everywhere."


@dataclass
class Thinker(ModelServer):
    """A model that may answer questions about lessons only later."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if "(preference)" in str(asked.body):
            self.asked.set()
            await self.done.wait()
        return await super()._answer(asked, reader, writer)


def thinking(root: Path, thinker: Thinker) -> AbstractAsyncContextManager[Desk]:
    name = "openai/test-model"
    return serving(root, model=name, memory_model=name, model_base_url=thinker.base_url)


async def listed(window: Window) -> str:
    """What the owner is shown of the memory."""
    await window.prompt("/memory")
    return window.texts[-1]


async def said(window: Window, command: str) -> str:
    await window.prompt(command)
    return window.texts[-1]


async def test_a_lesson_goes_with_its_turn_and_comes_back_with_it(tmp_path: Path) -> None:
    project(tmp_path)
    script = [remember(FORM, SAID), say("noted"), remember(INFERRED), say("noted")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt(f"Listen: {SAID}.")
        await window.prompt("Look around.")
        assert told(window) == [("active", FORM), ("proposed", INFERRED)]
        assert "\n\n2 lessons were taken back.\n\n" in f"{await said(window, '/undo 2')}\n\n"
        assert FORM not in (now := await listed(window)) and INFERRED not in now
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert FORM in (now := await listed(window)) and INFERRED not in now
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert INFERRED in await listed(window)
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert INFERRED not in await listed(window)


async def test_what_is_learned_behind_a_turn_goes_with_it_whenever_it_was_undone(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, [say("ok")]) as desk:
        window = await desk.new()
        await window.prompt("Always answer in German.")
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert "German" not in await listed(window)
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert "German" in await listed(window)


async def test_what_the_owner_confirmed_or_said_elsewhere_too_stays(tmp_path: Path) -> None:
    project(tmp_path)
    script = [remember(FORM, SAID), say("noted"), remember(FORM, SAID), remember(INFERRED), say("noted")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new(choosing("confirm"))
        await window.prompt(f"Listen: {SAID}.")
        await window.prompt(f"Again, everybody: {SAID}, and look around.")
        await window.prompt("/memory review")
        assert "lesson" not in await said(window, "/undo")
        assert FORM in (now := await listed(window)) and INFERRED in now
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert FORM not in (now := await listed(window)) and INFERRED in now


async def test_what_the_agent_took_back_in_a_turn_holds_again_without_it(tmp_path: Path) -> None:
    project(tmp_path)
    script = [remember(FORM, SAID), say("noted")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt(f"Listen: {SAID}.")
        [learned] = window.of(MemoryChanged)
        gone = act(call("memory", action="retract", fact=learned.facts[0].fact_id, quote="forget the Grüß"))
        await window.session.set_model(desk.write_script(*script, gone, say("gone")))
        await window.prompt("Please forget the Grüß Gott thing.")
        assert FORM not in await listed(window)
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert FORM in await listed(window)
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert FORM not in await listed(window)


async def test_other_words_for_a_fact_go_with_their_turn_and_the_old_ones_are_back(tmp_path: Path) -> None:
    project(tmp_path)
    script = [remember(FORM, SAID), say("noted")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt(f"Listen: {SAID}.")
        fact_id = window.of(MemoryChanged)[0].facts[0].fact_id
        for number, words in enumerate((WARMER, WARMEST)):
            amend = act(call("memory", action="amend", fact=fact_id, text=words, quote=AGAIN))
            script += [amend, say(f"noted {number}")]
            await window.session.set_model(desk.write_script(*script))
            await window.prompt(f"Better {number}: {AGAIN}.")
        assert WARMEST in await listed(window)
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert WARMER in await listed(window)
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert (FORM in (now := await listed(window))) and WARMER not in now
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert WARMER in await listed(window)
        assert "1 lesson was brought back." in await said(window, "/redo")
        assert (WARMEST in (now := await listed(window))) and "proposed" not in now
        assert "2 lessons were taken back." in await said(window, "/undo 2")
        assert FORM in await listed(window)
        assert "1 lesson was taken back." in await said(window, "/undo")
        assert FORM not in await listed(window)


async def test_a_turn_that_stays_is_thought_about_to_the_end_though_a_later_one_is_taken_back(
    tmp_path: Path,
) -> None:
    project(tmp_path)
    async with Thinker([answer(GERMAN)]) as thinker, thinking(tmp_path, thinker) as desk:
        window = await desk.new()
        await window.prompt("Always answer in German.")
        await thinker.asked.wait()
        await window.prompt("hello")
        assert "lesson" not in await said(window, "/undo")
        assert told(window) == []
        thinker.done.set()
        await window.see(MemoryChanged)
        assert told(window) == [("active", "Answer in German.")]


@pytest.mark.slow
async def test_a_turn_that_is_taken_back_teaches_nothing_any_more(tmp_path: Path) -> None:
    project(tmp_path)
    async with Thinker([answer(GERMAN)]) as thinker, thinking(tmp_path, thinker) as desk:
        window = await desk.new()
        await window.prompt("Always answer in German.")
        await thinker.asked.wait()
        assert "lesson" not in await said(window, "/undo")
        thinker.done.set()
        await window.prompt("hello")
        assert "German" not in await listed(window)


async def test_a_turn_that_taught_nothing_says_nothing_of_lessons(tmp_path: Path) -> None:
    project(tmp_path)
    async with serving(tmp_path, [say("ok")]) as desk:
        window = await desk.new()
        await window.prompt("What is this?")
        assert "lesson" not in await said(window, "/undo") + await said(window, "/redo")


async def test_what_a_killed_server_did_not_come_to_is_made_up_for_behind_the_next_turn(
    tmp_path: Path,
) -> None:
    project(tmp_path)
    async with serving(tmp_path, [remember(FORM, SAID), say("noted")]) as desk:
        window = await desk.new()
        await window.prompt(f"Listen: {SAID}.")
        session_id = window.session.session_id
        # As far as a server comes that is killed right behind the files.
        window.session.hub.publish(Rewound(1, "undo"), "t")
        await window.session.hub.flush()
    async with serving(tmp_path, [say("hello")]) as desk:
        window = await desk.open(session_id)
        await window.session.set_model(desk.write_script(say("hello")))
        await window.prompt("hello again")
        await window.see(MemoryChanged, 2)
        assert told(window)[-1] == ("retracted", FORM)
        assert FORM not in await listed(window)


def test_what_is_owed_follows_from_the_journal_alone() -> None:
    def journal(*events: tuple[str, Event]) -> list[Envelope]:
        return [Envelope("s", seq, turn, 0.0, event) for seq, (turn, event) in enumerate(events, 1)]

    def turn(name: str) -> list[tuple[str, Event]]:
        return [(name, TurnStarted(name, (TextBlock("x"),))), (name, TurnEnded("end_turn"))]

    two = [*turn("a"), *turn("b")]
    undo, redo = ("c", Rewound(2, "undo")), ("d", Rewound(1, "redo"))
    noted = [("c", MemoryChanged(f"of {name}", (), "user", name)) for name in ("b", "a")]
    assert owed(journal(*two)) == []
    owing = [Owed("b", frozenset({3, 4})), Owed("a", frozenset({1, 2}))]
    assert owed(journal(*two, undo)) == owing
    assert owed(journal(*two, undo, *noted)) == []
    assert owed(journal(*two, undo, *noted, redo)) == [Owed("a", by="of a")]
    back = ("d", MemoryChanged("back", (), "user", "a"))
    assert owed(journal(*two, undo, *noted, redo, back)) == []
    again = ("e", Rewound(1, "undo"))
    assert owed(journal(*two, undo, *noted, redo, back, again)) == [Owed("a", frozenset({1, 2}))]


def test_what_the_owner_has_reworded_since_is_theirs() -> None:
    learned = MemoryChanged("c", (FactNote("f", "decision", "active", "x"),), "agent")
    envelopes = [Envelope("s", 1, "t", 1_001.0, learned)]
    as_learned = example(1, id="f")
    assert owned(envelopes, [as_learned]) == frozenset()
    assert owned(envelopes, [replace(as_learned, updated=1_002.0)]) == {"f"}
    assert owned([], [replace(as_learned, updated=1_002.0)]) == frozenset()
