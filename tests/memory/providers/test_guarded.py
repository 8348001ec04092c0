"""A service under guard: what it gives is bounded, what it does wrong is a sentence, and then it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hermes_acp.memory.providers.base import ProviderError, SaidTurn
from hermes_acp.memory.providers.guarded import PASSAGES, PASSAGES_CHARS, TURN_CHARS, Guarded


class Shelf:
    """A service in this process: gives what it has, and fails or hangs when it is told to."""

    def __init__(self, *passages: str) -> None:
        self.passages = passages
        self.turns: list[SaidTurn] = []
        self.ended: list[str] = []
        self.asked = 0
        self.busy = asyncio.Event()
        self.trouble: Exception | None = None
        self.hanging = False

    async def prefetch(self, bank: str, query: str) -> Sequence[str]:
        return await self.ask("", bank, query)

    async def sync_turn(self, bank: str, turn: SaidTurn) -> None:
        self.turns.append(turn)

    async def on_session_end(self, bank: str, session: str) -> None:
        self.ended.append(session)

    async def ask(self, tool: str, bank: str, query: str) -> Sequence[str]:
        self.asked += 1
        self.busy.set()
        if self.hanging:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return self.passages

    async def aclose(self) -> None:
        self.ended.append("closed")


def guarded(shelf: Shelf) -> Guarded:
    async def make() -> Shelf:
        return shelf

    return Guarded("shelf", "127.0.0.1", (), make)


async def warm(shelf: Shelf) -> Guarded:
    service = guarded(shelf)
    await service.warm()
    return service


async def test_a_prompt_does_not_wait_for_a_service_that_nobody_has_loaded() -> None:
    shelf = Shelf("a")
    assert await guarded(shelf).prefetch("b", "q") == ()
    assert shelf.asked == 0


async def test_a_prompt_gets_what_a_service_has_that_is_just_being_loaded() -> None:
    shelf = Shelf("a")
    service = guarded(shelf)
    async with asyncio.TaskGroup() as group:
        group.create_task(service.warm())
        asked = group.create_task(service.prefetch("b", "q"))
    assert asked.result() == ("a",)


async def test_answers_are_bounded() -> None:
    service = await warm(Shelf("a", *(f"  {number} " for number in range(100))))
    assert await service.prefetch("b", "q") == ("a", *map(str, range(PASSAGES - 1)))
    assert await (await warm(Shelf("x", " x", "x "))).prefetch("b", "q") == ("x",)
    service = await warm(Shelf("", "y" * 10, "z" * 1_000_000, "more"))
    assert await service.ask("recall", "b", "q") == ("y" * 10, "z" * (PASSAGES_CHARS - 11) + "…")


async def test_what_is_handed_over_is_bounded() -> None:
    shelf = Shelf()
    await (await warm(shelf)).sync_turn("b", SaidTurn("s", "t", 1.0, "u" * 1_000_000, "a" * 1_000_000))
    assert shelf.turns == [SaidTurn("s", "t", 1.0, "u" * TURN_CHARS, "a" * TURN_CHARS)]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(ProviderError("it is full"), "it is full"), (OSError("no route"), "OSError: no route")],
)
async def test_whatever_goes_wrong_is_a_sentence_and_then_the_service_rests(
    trouble: Exception, said: str
) -> None:
    shelf = Shelf("a")
    service = await warm(shelf)
    shelf.trouble = trouble
    with pytest.raises(ProviderError, match=said):
        await service.prefetch("b", "q")
    shelf.trouble = None
    with pytest.raises(ProviderError, match=said):
        await service.prefetch("b", "q")
    with pytest.raises(ProviderError, match=said):
        await service.sync_turn("b", SaidTurn("s", "t", 1.0, "u", "a"))
    assert await service.ask("recall", "b", "q") == ("a",)


async def test_a_cancelled_question_is_cancelled_and_no_failure() -> None:
    shelf = Shelf("a")
    service = await warm(shelf)
    shelf.hanging = True
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(service.prefetch("b", "q"))
        await shelf.busy.wait()
        asked.cancel()
    assert asked.cancelled()
    shelf.hanging = False
    assert await service.prefetch("b", "q") == ("a",)


@pytest.mark.slow
async def test_a_service_that_hangs_is_not_waited_for() -> None:
    shelf = Shelf("a")
    service = await warm(shelf)
    shelf.hanging = True
    with pytest.raises(ProviderError, match=r"did not answer within 1\.5 s"):
        await service.prefetch("b", "q")


async def test_the_end_is_told_to_services_that_were_spoken_with() -> None:
    silent, spoken = Shelf(), Shelf()
    quiet, loud = guarded(silent), await warm(spoken)
    for service in (quiet, loud):
        await service.on_session_end("b", "s1")
        await service.aclose()
    assert (silent.ended, spoken.ended) == ([], ["s1", "closed"])
