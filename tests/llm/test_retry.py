from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.llm import retry, scripted
from hermes_acp.llm.base import FinishPart, LoginNeeded, Part, Request, TextPart, Transient, UserMessage
from hermes_acp.llm.retry import Retrying

REQUEST = Request("", (UserMessage((TextBlock("hi"),)),))


class Clock:
    """Time that passes at once; remembers how long was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def model(tmp_path: Path, parts: str) -> scripted.ScriptedModel:
    path = tmp_path / "script.jsonl"
    path.write_text(f'{{"parts": [{parts}]}}\n')
    return await scripted.open_model(str(path))


def stream(asked: scripted.ScriptedModel, clock: Clock) -> AsyncGenerator[Part | Retrying, None]:
    return retry.stream(asked, REQUEST, sleep=clock.sleep, jitter=lambda: 0.0)


async def test_an_overload_is_waited_out(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "overload", "times": 2}, {"text": "ok"}'), Clock()
    reason = "The scripted model is overloaded."
    assert [part async for part in stream(asked, clock)] == [
        Retrying(2, 0.5, reason, discard=False),
        Retrying(3, 1.0, reason, discard=False),
        TextPart("ok"),
        FinishPart("stop"),
    ]
    assert clock.slept == [0.5, 1.0]


async def test_a_cut_answer_is_discarded_and_begun_anew(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"text": "a"}, {"fault": "cut"}, {"text": "b"}'), Clock()
    assert [part async for part in stream(asked, clock)] == [
        TextPart("a"),
        Retrying(2, 0.5, "The scripted answer broke off.", discard=True),
        TextPart("a"),
        TextPart("b"),
        FinishPart("stop"),
    ]


async def test_the_providers_wish_is_honoured(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "overload", "retry_after": 7}'), Clock()
    _ = [part async for part in stream(asked, clock)]
    assert clock.slept == [7.0]


async def test_a_wish_beyond_the_bound_ends_the_attempts(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "overload", "retry_after": 3600}'), Clock()
    with pytest.raises(Transient):
        _ = [part async for part in stream(asked, clock)]
    assert clock.slept == []


async def test_the_attempts_are_bounded(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "overload", "times": 1000}'), Clock()
    with pytest.raises(Transient):
        _ = [part async for part in stream(asked, clock)]
    assert clock.slept == [0.5, 1.0, 2.0, 4.0]


async def test_other_errors_pass_at_once(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "auth"}'), Clock()
    with pytest.raises(LoginNeeded):
        _ = [part async for part in stream(asked, clock)]
    assert clock.slept == []


async def test_delays_are_spread_but_stay_below_the_bound(tmp_path: Path) -> None:
    asked, clock = await model(tmp_path, '{"fault": "overload", "retry_after": 60}'), Clock()
    _ = [part async for part in retry.stream(asked, REQUEST, sleep=clock.sleep, jitter=lambda: 0.99)]
    assert clock.slept == [retry.MAX_DELAY]


async def test_closing_the_stream_closes_the_models(tmp_path: Path) -> None:
    asked = await model(tmp_path, '{"text": "a"}, {"wait": 3600}')
    parts = retry.stream(asked, REQUEST)
    assert await anext(parts) == TextPart("a")
    await parts.aclose()
    assert [part async for part in parts] == []
