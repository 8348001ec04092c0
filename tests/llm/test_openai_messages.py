import json

from hermes_acp.content import AudioBlock, ImageBlock, LinkBlock, ResourceBlock, TextBlock
from hermes_acp.events import ToolRequest
from hermes_acp.llm.base import AssistantMessage, Message, Request, ToolMessage, ToolSpec, UserMessage
from hermes_acp.llm.converted import Converted
from hermes_acp.llm.encoding import encode
from hermes_acp.llm.history import NO_OUTPUT, NO_RESULT, NO_SIGHT, NO_WORDS, has_images
from hermes_acp.llm.opaque import Opaque
from hermes_acp.llm.openai_messages import convert, finish, to_tools
from hermes_acp.llm.route import Dialect

DIALECT = Dialect("openai/test")


def user(text: str) -> UserMessage:
    return UserMessage((TextBlock(text),))


def to_messages(request: Request, dialect: Dialect) -> list[dict[str, object]]:
    return finish(request.system, Converted(convert).messages(request, dialect), dialect)


def sent(*messages: Message, dialect: Dialect = DIALECT) -> list[dict[str, object]]:
    return to_messages(Request("", messages), dialect)


def call(call_id: str, arguments: str = "{}", name: str = "read") -> ToolRequest:
    return ToolRequest(call_id, name, arguments)


def wire_call(call_id: str, arguments: str = "{}") -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": "read", "arguments": arguments}}


def result(call_id: str, text: str) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def test_a_conversation_keeps_its_order() -> None:
    request = Request(
        "be brief",
        (
            user("hello"),
            AssistantMessage("let me look", (call("a"), call("b")), thought="hm"),
            ToolMessage("a", "read", "A"),
            ToolMessage("b", "read", ""),
            AssistantMessage("done"),
            user("thanks"),
        ),
    )
    assert to_messages(request, DIALECT) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "let me look", "tool_calls": [wire_call("a"), wire_call("b")]},
        result("a", "A"),
        result("b", NO_OUTPUT),
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "thanks"},
    ]


def test_every_call_has_exactly_one_result_right_behind_it() -> None:
    history = (
        AssistantMessage("", (call("a"), call("b"), call("c"))),
        ToolMessage("b", "read", "B"),
        ToolMessage("b", "read", "B again"),
        ToolMessage("stranger", "read", "unasked"),
        user("hurry"),
        ToolMessage("a", "read", "A"),
        AssistantMessage("", (call("a"),)),
    )
    assert sent(*history) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [wire_call("a"), wire_call("b"), wire_call("c")],
        },
        result("a", "A"),
        result("b", "B"),
        result("c", NO_RESULT),
        {"role": "user", "content": "hurry"},
        {"role": "assistant", "content": None, "tool_calls": [wire_call("a")]},
        result("a", NO_RESULT),
    ]


def test_an_answer_of_thoughts_alone_is_not_sent() -> None:
    assert sent(user("x"), AssistantMessage("", thought="hm"), user("y")) == [
        {"role": "user", "content": "x"},
        {"role": "user", "content": "y"},
    ]


def test_malformed_arguments_go_back_as_valid_json() -> None:
    answer = AssistantMessage(
        "", (call("a", '{"path": '), call("b", "[1]"), call("c", ""), call("d", '{"x":1}'))
    )
    calls = sent(answer)[0]["tool_calls"]
    assert isinstance(calls, list)
    assert [json.loads(each["function"]["arguments"]) for each in calls] == [
        {"malformed_arguments": '{"path": '},
        {"malformed_arguments": "[1]"},
        {},
        {"x": 1},
    ]


def test_images_of_tools_follow_all_results_in_a_user_message() -> None:
    picture = ImageBlock("QUJD", "image/png")
    history = (
        AssistantMessage("", (call("a"), call("b"))),
        ToolMessage("a", "read", "see", (picture,)),
        ToolMessage("b", "read", "B"),
    )
    assert sent(*history)[1:] == [
        result("a", "see"),
        result("b", "B"),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Images returned by read:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            ],
        },
    ]
    blind = sent(*history, dialect=Dialect("m", images=False))[3]
    assert blind["content"][1] == {"type": "text", "text": NO_SIGHT}  # type: ignore[index]


def test_what_the_user_attached_becomes_parts() -> None:
    message = UserMessage(
        (
            TextBlock("look"),
            ImageBlock("QUJD", "image/png"),
            ImageBlock("", "image/png", uri="https://example.org/a.png"),
            AudioBlock("UklGRg==", "audio/wav; rate=8000"),
            AudioBlock("T2dn", "audio/ogg"),
            LinkBlock("file:///a.py", "a.py", description="the start", size=3),
            ResourceBlock('file:///b"c.py', text="x = 1"),
            ResourceBlock("file:///d.png", blob="QUJD", mime_type="image/png"),
            ResourceBlock("file:///e.bin", blob="QUJD"),
        )
    )
    assert sent(message)[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "text", "text": "[A sound of type audio/ogg was left out: only wav and mp3 can be sent.]"},
        {"type": "text", "text": "[a.py](file:///a.py) (the start; 3 bytes)"},
        {"type": "text", "text": '<resource uri="file:///b&quot;c.py">\nx = 1\n</resource>'},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {
            "type": "text",
            "text": "[The binary resource file:///e.bin of type application/octet-stream was left out.]",
        },
    ]


def test_text_alone_is_a_plain_string_and_never_empty() -> None:
    assert sent(UserMessage((TextBlock("a"), TextBlock(""), TextBlock("b"))), UserMessage(())) == [
        {"role": "user", "content": "a\nb"},
        {"role": "user", "content": NO_WORDS},
    ]


def test_opaque_state_goes_back_to_its_own_model_only() -> None:
    opaque = Opaque("m", [{"type": "thinking", "thinking": "hm", "signature": "s"}], {"a": "a__thought__xyz"})
    history = (AssistantMessage("", (call("a"),), opaque=opaque.dump()), ToolMessage("a", "read", "A"))
    own = sent(*history, dialect=Dialect("m", blocks="thinking_blocks"))
    assert own == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [wire_call("a__thought__xyz")],
            "thinking_blocks": opaque.blocks,
        },
        result("a__thought__xyz", "A"),
    ]
    assert sent(*history, dialect=Dialect("other", blocks="thinking_blocks")) == [
        {"role": "assistant", "content": None, "tool_calls": [wire_call("a")]},
        result("a", "A"),
    ]


def test_opaque_state_in_a_foreign_form_is_passed_over() -> None:
    for foreign in ("state", "", "[1]", '{"model": "m", "blocks": 5, "long_ids": [1]}'):
        assert sent(
            AssistantMessage("a", opaque=foreign), dialect=Dialect("m", blocks="thinking_blocks")
        ) == [{"role": "assistant", "content": "a"}]


def test_thoughts_go_back_with_calls_where_the_provider_wants_them() -> None:
    history = (AssistantMessage("", (call("a"),), thought="hm"), AssistantMessage("done", thought="so"))
    answers = [m for m in sent(*history, dialect=Dialect("m", thoughts=True)) if m["role"] == "assistant"]
    assert [answer.get("reasoning_content") for answer in answers] == ["hm", None]


def test_ids_are_shortened_alike_in_calls_and_results() -> None:
    history = (AssistantMessage("", (call("call_long_id"), call("abcDEF123"))),)
    message, first, second = sent(*history, dialect=Dialect("m", short_call_ids=True))
    ids = [each["id"] for each in message["tool_calls"]]  # type: ignore[index]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert len(str(ids[0])) == 9
    assert str(ids[0]).isalnum()
    assert ids[1] == "abcDEF123"


def test_cache_marks_stand_at_the_system_prompt_and_the_end() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    request = Request("sys", (user("a"), AssistantMessage("", (call("c"),)), ToolMessage("c", "read", "C")))
    marked = to_messages(request, Dialect("m", cache_marks=True))
    assert marked[0]["content"] == [{"type": "text", "text": "sys"} | mark]
    assert marked[1]["content"] == "a"
    assert marked[-1]["content"] == [{"type": "text", "text": "C"} | mark]


def test_tools_are_functions() -> None:
    assert to_tools([ToolSpec("read", "Read a file", {"type": "object"})]) == [
        {
            "type": "function",
            "function": {"name": "read", "description": "Read a file", "parameters": {"type": "object"}},
        }
    ]


def test_images_are_found_wherever_they_are() -> None:
    picture = ImageBlock("QUJD", "image/png")
    assert not has_images(Request("", (user("a"), ToolMessage("a", "read", "x"))))
    assert has_images(Request("", (UserMessage((picture,)),)))
    assert has_images(Request("", (UserMessage((ResourceBlock("u", blob="QQ", mime_type="image/png"),)),)))
    assert has_images(Request("", (ToolMessage("a", "read", "x", (picture,)),)))


def test_half_a_surrogate_pair_does_not_stop_a_request() -> None:
    assert encode({"text": "a\ud83d é"}) == b'{"text": "a? \xc3\xa9"}'
