"""What a provider's refusal means for us: HTTP status, headers and body to a `ModelError`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import field
from email.utils import parsedate_to_datetime
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import orjson

from hermes_acp.llm.base import ContextOverflow, LoginNeeded, ModelError, Transient
from hermes_acp.llm.loose_json import as_list, as_object, as_text
from hermes_acp.records import record

MAX_DETAIL = 500
"""Characters of the provider's own words that a message repeats."""

SHORTEST_KEY = 6
"""A shorter "key" is a placeholder; hiding it would garble the message."""

OVERFLOW = re.compile(
    r"context.?(length|window|size|limit)|maximum context|too many (input )?tokens"
    r"|(prompt|input|request) is too long|reduce the length|max_model_len"
    r"|exceeds? the (available|maximum) (context|input|number of tokens)"
    r"|maximum (prompt|input) (length|tokens)|input token count.*exceeds",
    re.IGNORECASE,
)
BAD_KEY = re.compile(r"api.?key|unauthori[sz]ed|authentication", re.IGNORECASE)
QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing|credit balance", re.IGNORECASE)
OVERLOAD = re.compile(
    r"overload|rate.?limit|too many requests|server_error|api_error|internal|unavailable|timeout", re.I
)

TRANSIENT = frozenset({408, 409, 425, 429, 499})
TOO_LARGE = 413


@record
class Asked:
    """Whom we asked, and with which key; what messages may say about it."""

    model: str
    url: str
    key_variable: str = ""
    key: str = field(default="", repr=False)

    @property
    def shown_url(self) -> str:
        """The URL without user, password and query."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def hide(self, text: str) -> str:
        """The text without the key, bounded, on one line."""
        if len(self.key) >= SHORTEST_KEY:
            text = text.replace(self.key, "***")
        text = " ".join(text.split())
        return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "…"


@record
class Refusal:
    """A provider's error: HTTP status (0 when there was none), its own code and its words."""

    status: int
    message: str
    code: str = ""
    retry_after: float | None = None


def to_error(asked: Asked, refusal: Refusal) -> ModelError:
    """The error that says what happened and what to do."""
    status, said = refusal.status, _said(asked, refusal)
    words = f"{refusal.code} {refusal.message}"
    is_client_error = 400 <= status < 500
    if is_client_error and status not in (401, 403, 429) and (status == TOO_LARGE or OVERFLOW.search(words)):
        return ContextOverflow(f"The conversation is too long for {asked.model}{said}. Compact it and go on.")
    if status in (401, 403) or (status == 400 and BAD_KEY.search(words)):
        return login_needed(asked, said)
    if status == 404:
        return ModelError(
            f"{asked.shown_url} does not know {asked.model}{said}. Check the model's name and model_base_url."
        )
    if status == 402 or (status in (400, 429) and QUOTA.search(words)):
        return ModelError(
            f"The account for {asked.model} has no credit left{said}. Add credit or switch model."
        )
    if status in TRANSIENT or status >= 500 or (not status and OVERLOAD.search(words)):
        return Transient(f"{asked.model} at {asked.shown_url} {_trouble(status)}{said}.", refusal.retry_after)
    if 300 <= status < 400:
        return ModelError(
            f"{asked.shown_url} answers with a redirect{said}. Set model_base_url to its target."
        )
    return ModelError(f"{asked.model} refused the request{_status(status)}{said}.")


def login_needed(asked: Asked, said: str = "") -> LoginNeeded:
    """The error for a key that is missing or refused."""
    what = f"{asked.model} refused the key" if asked.key else f"{asked.model} needs a key and there is none"
    if not asked.key_variable:
        return LoginNeeded(f"{what}{said}. Check the credentials of this provider.")
    return LoginNeeded(
        f"{what}{said}. Set {asked.key_variable} to a valid key, in the environment or under [keys] "
        "in config.toml."
    )


def unreachable(asked: Asked, reason: str) -> Transient:
    """The error for a server that cannot be reached or went away before it answered."""
    return Transient(
        f"{asked.model} cannot be reached at {asked.shown_url}: {asked.hide(reason)}. "
        "Check that the server runs, the network, and model_base_url."
    )


def read_body(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """The refusal in an HTTP answer; servers that send no JSON are quoted as they are."""
    retry_after = wait_wished(headers)
    try:
        payload = cast("object", orjson.loads(body))
    except orjson.JSONDecodeError:
        return Refusal(status, body.decode("utf-8", "replace"), retry_after=retry_after)
    refusal = read_payload(payload)
    return Refusal(status, refusal.message, refusal.code, retry_after)


def read_payload(payload: object) -> Refusal:
    """The refusal in a JSON value, in any of the forms that servers use."""
    listed = as_list(payload)
    outer = as_object(listed[0] if listed else payload)
    inner = outer.get("error")
    source = as_object(inner) or outer
    words = (source.get("message"), inner, outer.get("detail"), outer.get("message"))
    message = next((word for word in map(as_text, words) if word), "")
    code = next((source[name] for name in ("code", "type", "status") if source.get(name)), "")
    status = code if isinstance(code, int) and 100 <= code < 600 else 0
    return Refusal(status, message or orjson.dumps(payload).decode(), str(code))


def wait_wished(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait, None when it does not say."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (value := _seconds(lower.get(name))) is not None:
            return value / 1000
    stated = lower.get("retry-after")
    if (value := _seconds(stated)) is not None or stated is None:
        return value
    try:
        return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
    except ValueError:
        return None


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None


def _said(asked: Asked, refusal: Refusal) -> str:
    message = asked.hide(refusal.message).rstrip(".")
    return f": {message}" if message else ""


def _trouble(status: int) -> str:
    if status == 429:
        return "is asked too often (429)"
    return f"is in trouble{_status(status)}"


def _status(status: int) -> str:
    return f" ({status})" if status else ""
