import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from hermes_acp.content import TextBlock
from hermes_acp.events import Usage
from hermes_acp.llm import scripted
from hermes_acp.llm.base import (
    AssistantMessage,
    ContextOverflow,
    FinishPart,
    LoginNeeded,
    Message,
    ModelError,
    OpaquePart,
    Part,
    Request,
    StreamCut,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolMessage,
    Transient,
    UsagePart,
    UserMessage,
)
from hermes_acp.llm.scripted import ScriptedModel


async def model(tmp_path: Path, *lines: object) -> ScriptedModel:
    script = tmp_path / "script.jsonl"
    script.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return await scripted.open_model(str(script))


def user(text: str) -> UserMessage:
    return UserMessage((TextBlock(text),))


async def parts(asked: ScriptedModel, *messages: Message, session: str = "", system: str = "") -> list[Part]:
    request = Request(system, messages or (user("hi"),), session_id=session)
    return [part async for part in asked.stream(request)]


async def said(asked: ScriptedModel, *messages: Message, system: str = "") -> str:
    found = await parts(asked, *messages, system=system)
    return "".join(part.text for part in found if isinstance(part, TextPart))


async def test_an_answer_plays_all_kinds_of_parts(tmp_path: Path) -> None:
    asked = await model(
        tmp_path,
        "// a comment",
        "",
        {
            "parts": [
                {"thought": "hm"},
                {"text": "hello", "chunks": 2},
                {"text": "x", "repeat": 2},
                {"tool": "read_file", "arguments": {"path": "ä"}, "chunks": 2},
                {"tool": "list_dir", "raw": '{"path": ', "id": "mine"},
                {"wait": 0},
                {"opaque": "state"},
                {"usage": {"input": 3, "output": 2, "cached": 1, "cost": 0.5}},
            ]
        },
    )
    assert await parts(asked) == [
        ThoughtPart("hm"),
        TextPart("he"),
        TextPart("llo"),
        TextPart("x"),
        TextPart("x"),
        ToolCallPart(0, '{"path', "call_1_0", "read_file"),
        ToolCallPart(0, '": "ä"}'),
        ToolCallPart(1, '{"path": ', "mine", "list_dir"),
        OpaquePart("state"),
        UsagePart(Usage(3, 2, 1, 0.5)),
        FinishPart("tool_calls"),
    ]


async def test_answers_without_condition_come_in_order_and_then_say_that_they_are_over(
    tmp_path: Path,
) -> None:
    asked = await model(
        tmp_path, {"parts": [{"text": "one"}]}, {"parts": [{"text": "two"}], "finish": "length"}
    )
    assert await parts(asked, user("a")) == [TextPart("one"), FinishPart("stop")]
    history = (user("a"), AssistantMessage("one"), user("b"))
    assert await parts(asked, *history) == [TextPart("two"), FinishPart("length")]
    over = await said(asked, *history, AssistantMessage("two"), user("c"))
    assert "exhausted" in over
    assert "2 answers" in over


async def test_the_place_is_read_off_the_history_so_sessions_do_not_mix(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"parts": [{"text": "one"}]}, {"parts": [{"text": "two"}]})
    assert [await said(asked, user("a")) for _ in range(3)] == ["one"] * 3


async def test_conditions_choose_the_answer(tmp_path: Path) -> None:
    asked = await model(
        tmp_path,
        {"when": {"system": "summar"}, "parts": [{"text": "summary"}]},
        {"when": {"user": "(?i)fix"}, "parts": [{"tool": "read", "arguments": {}}]},
        {"when": {"user": "(?i)fix", "result": "1 failed"}, "parts": [{"text": "fixing"}]},
        {"when": {"result": "passed"}, "parts": [{"text": "green"}]},
        {"parts": [{"text": "first"}]},
        {"parts": [{"text": "second"}]},
    )
    fix = (user("Fix it"), AssistantMessage("", thought="x"), ToolMessage("a", "read", "1 failed"))
    assert await said(asked, user("x"), system="please summarise") == "summary"
    assert (await parts(asked, user("fix")))[-1] == FinishPart("tool_calls")
    assert await said(asked, *fix) == "fixing"
    assert await said(asked, user("run"), AssistantMessage("x"), ToolMessage("a", "r", "2 passed")) == "green"
    assert await said(asked, *fix, AssistantMessage("fixing"), user("and now")) == "first"
    assert (
        await said(asked, *fix, AssistantMessage("fixing"), user("a"), AssistantMessage("b"), user("c"))
        == "second"
    )


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("overload", Transient),
        ("cut", StreamCut),
        ("auth", LoginNeeded),
        ("overflow", ContextOverflow),
        ("error", ModelError),
    ],
)
async def test_faults_are_raised_once_for_each_conversation(
    tmp_path: Path, fault: str, kind: type[ModelError]
) -> None:
    asked = await model(tmp_path, {"parts": [{"fault": fault, "message": "as told"}, {"text": "ok"}]})
    for session in ("a", "b"):
        with pytest.raises(kind, match="as told") as caught:
            await parts(asked, session=session)
        assert type(caught.value) is kind
        assert await parts(asked, session=session) == [TextPart("ok"), FinishPart("stop")]


async def test_a_wait_ends_at_once_when_cancelled(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"parts": [{"text": "a"}, {"wait": 3600}]})
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await parts(asked)
    assert time.monotonic() - started < 60


async def test_a_long_answer_lets_others_run(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"parts": [{"text": "x", "repeat": 10_000_000}]})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await parts(asked)


async def test_ten_thousand_chunks_are_exact(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"parts": [{"text": "word ", "repeat": 10_000}]})
    assert await said(asked) == "word " * 10_000


async def test_chunks_and_delays_keep_the_text(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"parts": [{"text": "abc", "chunks": 10, "delay": 0.001}]})
    assert (await parts(asked))[:-1] == [TextPart("a"), TextPart("b"), TextPart("c")]


async def test_a_header_says_what_the_model_is(tmp_path: Path) -> None:
    asked = await model(tmp_path, {"context_window": 900, "accepts_images": False}, {"parts": []})
    assert (asked.name, asked.context_window, asked.accepts_images) == (
        f"scripted/{tmp_path}/script.jsonl",
        900,
        False,
    )
    async with aclosing(_closed(asked)) as stream:
        assert [part async for part in stream] == [FinishPart("stop")]


async def _closed(asked: ScriptedModel) -> AsyncGenerator[Part, None]:
    await asked.aclose()
    async for part in asked.stream(Request("", ())):
        yield part


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: Expecting"),
        ("[]", "line 2: an answer is a JSON object"),
        ('{"parts": [], "whn": {}}', "line 2: whn"),
        ('{"parts": [{"txt": "a"}]}', "line 2: part 1 has none of text, thought"),
        ('{"parts": [{"text": ""}]}', "line 2: part 1: text"),
        ('{"parts": [{"text": "a", "chunks": 0}]}', "line 2: part 1: chunks"),
        ('{"parts": [{"text": "a"}, {"wait": -1}]}', "line 2: part 2: wait"),
        ('{"parts": [{"fault": "fire"}]}', "line 2: part 1: fault"),
        ('{"parts": [], "when": {"user": "("}}', "line 2: when.user"),
        ('{"parts": [], "finish": "never"}', "line 2: finish"),
        ("[" * 100_000, "line 2"),
    ],
)
async def test_a_bad_script_is_refused_with_line_and_problem(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        await model(tmp_path, {"parts": []}, line)
    assert problem in str(caught.value)


async def test_scripts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text("// nothing\n")
    for name, problem in (
        ("missing", "cannot be read"),
        ("binary", "cannot be read"),
        ("empty", "no answers"),
    ):
        with pytest.raises(ModelError, match=problem):
            await scripted.open_model(str(tmp_path / name))
    with pytest.raises(ModelError, match="cannot be read"):
        await scripted.open_model(str(tmp_path))
