import time
from email.utils import formatdate

import pytest

from hermes_acp.llm.base import ContextOverflow, LoginNeeded, ModelError, Transient
from hermes_acp.llm.refusals import (
    MAX_DETAIL,
    Asked,
    Refusal,
    read_body,
    read_payload,
    to_error,
    unreachable,
    wait_wished,
)

ASKED = Asked("openai/m", "https://me:pw@example.org/v1/chat?x=1", "OPENAI_API_KEY", "sk-secret")


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (401, "bad", LoginNeeded, "Set OPENAI_API_KEY"),
        (403, "no", LoginNeeded, "refused the key"),
        (400, "Incorrect API key provided", LoginNeeded, "OPENAI_API_KEY"),
        (402, "pay", ModelError, "no credit"),
        (404, "nope", ModelError, "https://example.org/v1/chat does not know openai/m"),
        (400, "maximum context length is 8 tokens", ContextOverflow, "Compact"),
        (413, "too big", ContextOverflow, "Compact"),
        (400, "the request exceeds the available context size", ContextOverflow, "Compact"),
        (400, "weird", ModelError, "refused the request (400): weird."),
        (408, "slow", Transient, "(408)"),
        (429, "slow down: requests per minute", Transient, "too often"),
        (429, "insufficient_quota", ModelError, "no credit"),
        (500, "maximum context length", Transient, "(500)"),
        (503, "overloaded", Transient, "(503)"),
        (529, "", Transient, "(529)."),
        (302, "", ModelError, "redirect"),
        (0, "Overloaded", Transient, "in trouble: Overloaded."),
        (0, "strange", ModelError, "refused the request: strange."),
    ],
)
def test_a_refusal_says_what_happened_and_what_to_do(
    status: int, message: str, kind: type[ModelError], words: str
) -> None:
    error = to_error(ASKED, Refusal(status, message))
    assert type(error) is kind
    assert words in str(error)


def test_neither_key_nor_password_nor_query_is_repeated() -> None:
    shown = [str(to_error(ASKED, Refusal(status, "key sk-secret is bad"))) for status in (400, 401, 404, 500)]
    shown.append(str(unreachable(ASKED, "proxy said sk-secret")))
    assert not [text for text in shown if "sk-secret" in text or "pw" in text or "x=1" in text]
    assert "sk-secret" not in repr(ASKED)


def test_long_answers_are_cut_and_put_on_one_line() -> None:
    text = str(to_error(ASKED, Refusal(400, "a\nb" * 1000)))
    assert "\n" not in text
    assert len(text) < MAX_DETAIL + 100


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b'{"error": {"message": "m", "code": "c", "type": "t"}}', Refusal(400, "m", "c")),
        (b'{"error": {"message": "m", "type": "t"}}', Refusal(400, "m", "t")),
        (b'[{"error": {"message": "m", "status": "s"}}]', Refusal(400, "m", "s")),
        (b'{"error": "m"}', Refusal(400, "m")),
        (b'{"detail": "m"}', Refusal(400, "m")),
        (b'{"message": "m"}', Refusal(400, "m")),
        (b'{"x": 1}', Refusal(400, '{"x":1}')),
        (b"<html>\xff", Refusal(400, "<html>\ufffd")),
        (b"", Refusal(400, "")),
        (b"null", Refusal(400, "null")),
    ],
)
def test_bodies_of_all_servers_are_understood(body: bytes, refusal: Refusal) -> None:
    assert read_body(400, {}, body) == refusal


def test_an_error_within_a_stream_may_carry_a_status() -> None:
    assert read_payload({"error": {"message": "m", "code": 503}}) == Refusal(503, "m", "503")
    assert read_payload({"error": {"message": "m", "code": "overloaded"}}) == Refusal(0, "m", "overloaded")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_the_wish_to_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_wished(headers) == seconds


def test_a_date_in_the_future_is_a_wait() -> None:
    wish = wait_wished({"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert wish is not None
    assert 50 < wish <= 61
