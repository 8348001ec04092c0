from typing import Any

import pytest

from hermes_acp.content import AudioBlock, Block, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import ToolRequest
from hermes_acp.llm.anthropic_messages import MARK, continues_thoughtless, convert, finish, to_tools
from hermes_acp.llm.base import AssistantMessage, Message, Request, ToolMessage, ToolSpec, UserMessage
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.history import NO_OUTPUT, NO_RESULT, NO_SIGHT, NO_WORDS
from hermes_acp.llm.opaque import Opaque
from hermes_acp.llm.route import Dialect

DIALECT = Dialect("anthropic/m")
PICTURE = ImageBlock("QUJD", "image/png")
SEEN = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}


def sent(*messages: Message, dialect: Dialect = DIALECT) -> list[Any]:
    """What is sent, without the marks."""
    whole = finish(Converted(convert).messages(Request("", messages), dialect))
    return [
        message | {"content": [{key: block[key] for key in block if key not in MARK} for block in content]}
        for message in whole
        if isinstance(content := message["content"], list)
    ]


def user(*blocks: Block | str) -> UserMessage:
    return UserMessage(tuple(TextBlock(block) if isinstance(block, str) else block for block in blocks))


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def use(call_id: str, **arguments: object) -> dict[str, object]:
    return {"type": "tool_use", "id": call_id, "name": "read", "input": arguments}


def result(call_id: str, content: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def call(call_id: str, arguments: str = "{}") -> ToolRequest:
    return ToolRequest(call_id, "read", arguments)


def test_a_conversation_keeps_its_order() -> None:
    history = (
        user("hi"),
        AssistantMessage("I look.", (call("a", '{"path": "x"}'), call("b"))),
        ToolMessage("b", "read", ""),
        ToolMessage("a", "read", "text", (PICTURE,)),
        user("and?"),
        AssistantMessage("Done."),
        user("thanks"),
    )
    assert sent(*history) == [
        {"role": "user", "content": [text("hi")]},
        {"role": "assistant", "content": [text("I look."), use("a", path="x"), use("b")]},
        {
            "role": "user",
            "content": [result("a", [text("text"), SEEN]), result("b", NO_OUTPUT), text("and?")],
        },
        {"role": "assistant", "content": [text("Done.")]},
        {"role": "user", "content": [text("thanks")]},
    ]


@pytest.mark.parametrize(
    ("history", "roles"),
    [
        ((), ["user"]),
        ((AssistantMessage("a"), user("b")), ["user", "assistant", "user"]),
        ((user("a"), AssistantMessage(" \n"), user("b")), ["user"]),
        ((user("a"), AssistantMessage("b"), AssistantMessage("c"), user("d")), ["user", "assistant", "user"]),
        ((user("a"), ToolMessage("unasked", "read", "x")), ["user"]),
    ],
)
def test_the_user_begins_and_the_roles_take_turns(history: tuple[Message, ...], roles: list[str]) -> None:
    assert [message["role"] for message in sent(*history)] == roles


def test_a_call_that_was_cut_short_gets_a_result() -> None:
    assert sent(user("a"), AssistantMessage("", (call("x"),)), user("b"))[2]["content"] == [
        result("x", NO_RESULT),
        text("b"),
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ('{"a"', {"malformed_arguments": '{"a"'}),
        ("[1]", {"malformed_arguments": "[1]"}),
    ],
)
def test_arguments_are_always_an_object(written: str, meant: dict[str, object]) -> None:
    assert sent(user("a"), AssistantMessage("", (call("x", written),)))[1]["content"] == [use("x", **meant)]


def test_ids_of_other_providers_become_acceptable_and_stay_paired() -> None:
    strange = "functions.read:0 ü"
    whole = sent(user("a"), AssistantMessage("", (call(strange),)), ToolMessage(strange, "read", "x"))
    call_id = whole[1]["content"][0]["id"]
    assert call_id.startswith("call_")
    assert call_id.replace("_", "").isalnum()
    assert whole[2]["content"] == [result(call_id, "x")]


def test_thoughts_go_back_between_the_text_and_the_calls_where_they_were() -> None:
    first = {"type": "thinking", "thinking": "hm", "signature": "S1"}
    second = {"type": "redacted_thinking", "data": "D"}
    blocks: list[dict[str, object]] = [
        first,
        {"type": "text", "size": 2},
        second,
        {"type": "text", "size": 3},
        {"type": "tool_use", "id": "b"},
        {"type": "tool_use", "id": "gone"},
    ]
    opaque = Opaque("anthropic/m", blocks).dump()
    message = AssistantMessage("ab\n cde", (call("a"), call("b")), "hm", opaque)
    assert sent(user("?"), message)[1]["content"] == [
        first,
        text("ab"),
        second,
        text("\n c"),
        use("b"),
        text("de"),
        use("a"),
    ]


def test_the_thoughts_of_another_model_stay_behind() -> None:
    opaque = Opaque("anthropic/other", [{"type": "thinking", "thinking": "x", "signature": "S"}]).dump()
    for left in (opaque, "{", "[]", None):
        message = AssistantMessage("a", opaque=left)
        assert sent(user("?"), message)[1]["content"] == [text("a")]


def test_a_turn_that_began_without_thoughts_is_noticed() -> None:
    signed = Opaque("anthropic/m", [{"type": "thinking", "thinking": "x", "signature": "S"}]).dump()
    thoughtful = AssistantMessage("", (call("a"),), "x", signed)
    thoughtless = AssistantMessage("", (call("b"),))
    results = ToolMessage("a", "read", ""), ToolMessage("b", "read", "")
    assert not continues_thoughtless((user("?"),), DIALECT)
    assert not continues_thoughtless((user("?"), thoughtful, results[0], thoughtless, results[1]), DIALECT)
    assert continues_thoughtless((user("?"), thoughtless, results[1]), DIALECT)
    assert continues_thoughtless((user("?"), thoughtful, results[0]), Dialect("anthropic/other"))
    assert not continues_thoughtless((user("?"), thoughtless, results[1], user("!")), DIALECT)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (PICTURE, SEEN),
        (
            ImageBlock("", "image/png", "https://example.org/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        ),
        (
            ImageBlock("QUJD", "image/jpg"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}},
        ),
        (ResourceBlock("file:///a", None, "QUJD", "image/png"), SEEN),
        (
            ResourceBlock("file:///a.pdf", None, "QUJD", "application/pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"},
                "title": "file:///a.pdf",
            },
        ),
        (ResourceBlock("file:///a", "x < y"), text('<resource uri="file:///a">\nx < y\n</resource>')),
        (LinkBlock("file:///a", "a", size=3), text("[a](file:///a) (3 bytes)")),
    ],
)
def test_what_the_user_shows_is_sent(block: Block, part: dict[str, object]) -> None:
    assert sent(user(block)) == [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (ImageBlock("QUJD", "image/tiff"), "image/tiff was left out"),
        (AudioBlock("QUJD", "audio/wav"), "audio/wav was left out"),
        (ResourceBlock("file:///a", None, "QUJD", "application/zip"), "file:///a"),
        (TextBlock(" "), NO_WORDS),
    ],
)
def test_what_cannot_be_sent_is_said(block: Block, words: str) -> None:
    (part,) = sent(user(block))[0]["content"]
    assert words in part["text"]


def test_a_model_without_eyes_is_told_of_images() -> None:
    blind = Dialect("anthropic/m", images=False)
    assert sent(user(PICTURE), dialect=blind)[0]["content"] == [text(NO_SIGHT)]


def test_the_ends_of_this_request_and_of_the_one_before_are_marked() -> None:
    history: list[Message] = [user("1"), AssistantMessage("2"), user("3"), AssistantMessage("4"), user("5")]
    converted = Converted(convert)
    for end in (3, 5):
        request = Request("", tuple(history[:end]))
        whole = finish(converted.messages(request, DIALECT))
        marks = [place for place, message in enumerate(whole) if MARK.keys() & message["content"][-1].keys()]  # type: ignore[index]
        assert marks == [end - 3, end - 1]


def test_tools_carry_their_schemas() -> None:
    schema: dict[str, object] = {"type": "object", "properties": {}}
    assert to_tools([ToolSpec("read", "Read", schema)]) == [
        {"name": "read", "description": "Read", "input_schema": schema}
    ]
