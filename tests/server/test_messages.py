"""JSON-RPC messages: what bytes mean, and what is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.server import messages
from hermes_acp.server.messages import Error, Malformed, Notification, Request, Response, decode

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b'{"jsonrpc":"2.0","id":0,"method":"m"}', Request(0, "m", None)),
        (b'{"jsonrpc":"2.0","id":"","method":"m","params":null}', Request("", "m", None)),
        (b'{"jsonrpc":"2.0","id":null,"method":"m","params":[1]}', Request(None, "m", [1])),
        (b'{"jsonrpc":"2.0","method":"m","params":{"a":1},"extra":2}', Notification("m", {"a": 1})),
        (b'{"jsonrpc":"2.0","id":1,"result":null}', Response(1)),
        (
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":{"x":1}}}',
            Response(1, error=Error(-1, "no", {"x": 1})),
        ),
    ],
)
def test_messages_are_told_apart(frame: bytes, message: messages.Message) -> None:
    assert decode(frame) == message


def test_an_error_without_code_and_message_is_still_an_error() -> None:
    answer = decode(b'{"jsonrpc":"2.0","id":1,"error":"odd"}')
    assert isinstance(answer, Response)
    assert answer.error is not None
    assert answer.error.code == messages.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 tail", "\ufffd tail"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\uD83Dx\\ud83d", "\ufffdx\\ud83d"),
        (r"\\\ud800\n\u00e9", "\\\ufffd\né"),
    ],
)
def test_half_a_surrogate_pair_becomes_a_replacement_character(escaped: str, text: str) -> None:
    frame = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"t":"%b"}}' % escaped.encode()
    assert decode(frame) == Request(1, "m", {"t": text})


@pytest.mark.parametrize("text", [r"\u12", r"\ud83", r"\x", "\\", r"\ud83d", '"'])
def test_broken_escapes_are_parse_errors_or_mended_and_never_raise(text: str) -> None:
    message = decode(b'{"jsonrpc":"2.0","id":1,"method":"%b' % text.encode())
    assert isinstance(message, Malformed)
    assert (message.id, message.error.code) == (None, messages.PARSE_ERROR)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    decode(data)


@given(JSON)
def test_no_value_makes_it_raise(value: object) -> None:
    decode(json.dumps(value).encode())


@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), JSON))
def test_no_object_makes_it_raise(value: dict[str, object]) -> None:
    message = decode(json.dumps({"jsonrpc": "2.0"} | value).encode())
    if isinstance(message, Request | Response | Malformed):
        assert message.id is None or (isinstance(message.id, int | str) and message.id is not True)


@given(JSON)
def test_what_is_written_is_one_line_that_reads_back(value: object) -> None:
    line = messages.success(1, value)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"jsonrpc": "2.0", "id": 1, "result": value}


@pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, 2**70, "a\nb\u2028c\x00"])
def test_odd_values_are_written_as_valid_lines(value: object) -> None:
    line = messages.notification("m", {"value": value})
    assert line.count(b"\n") == 1
    assert json.loads(line.decode("utf-8"))["method"] == "m"


def test_each_kind_of_line() -> None:
    assert messages.request(1, "m", {}) == b'{"jsonrpc":"2.0","id":1,"method":"m","params":{}}\n'
    assert messages.notification("m", None) == b'{"jsonrpc":"2.0","method":"m","params":null}\n'
    assert messages.success("a", {}) == b'{"jsonrpc":"2.0","id":"a","result":{}}\n'
    assert messages.failure(None, Error(-1, "no")) == (
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}\n'
    )
