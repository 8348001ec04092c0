"""JSON-RPC 2.0 messages: bytes to typed values and back, without I/O."""

from __future__ import annotations

import json
import re
from typing import TypeAlias, cast

import orjson
from pydantic_core import from_json

from hermes_acp.records import record

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
AUTH_REQUIRED = -32000
NOT_FOUND = -32002
CANCELLED = -32800

ESCAPE = re.compile(
    rb"(\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u(?![dD][89a-fA-F])....|\\[^u])|\\u[dD][89a-fA-F]..", re.DOTALL
)
"""A JSON escape; in its group unless it is half of a surrogate pair."""

Id: TypeAlias = int | str | None
Json: TypeAlias = "dict[str, object]"


@record
class Request:
    """A call that wants an answer."""

    id: Id
    method: str
    params: object


@record
class Notification:
    """A call that wants none."""

    method: str
    params: object


@record
class Error:
    """Why a call failed."""

    code: int
    message: str
    data: object = None


@record
class Response:
    """The other side's answer to a request of ours: `error` or `result`."""

    id: Id
    result: object = None
    error: Error | None = None


@record
class Malformed:
    """Something that is no message; `id` is what could be read of one."""

    id: Id
    error: Error


Message: TypeAlias = Request | Notification | Response | Malformed


def decode(frame: bytes) -> Message:
    """Read one frame; never raises."""
    try:
        value = _parse(frame)
    except ValueError as error:
        return Malformed(None, Error(PARSE_ERROR, f"This is not valid JSON: {error}"))
    if isinstance(value, list):
        return Malformed(None, Error(INVALID_REQUEST, "Batches are not supported: send one message a line."))
    if not isinstance(value, dict):
        return Malformed(None, Error(INVALID_REQUEST, "A message must be a JSON object."))
    return _classify(cast("Json", value))


def _parse(frame: bytes) -> object:
    """The value of a frame; raises `ValueError`."""
    try:
        return from_json(frame, allow_inf_nan=False)
    except ValueError:
        # An editor that cuts text in the middle of a character writes half of a surrogate pair.
        mended = ESCAPE.sub(lambda found: found[1] or b"\\ufffd", frame)
        if mended == frame:
            raise
        return from_json(mended, allow_inf_nan=False)


def _classify(message: Json) -> Message:
    raw = message.get("id")
    known = raw is None or isinstance(raw, str) or (isinstance(raw, int) and not isinstance(raw, bool))
    identity = cast("Id", raw) if known else None
    if message.get("jsonrpc") != "2.0":
        return Malformed(identity, Error(INVALID_REQUEST, 'The member "jsonrpc" must be "2.0".'))
    if not known:
        return Malformed(None, Error(INVALID_REQUEST, "An id must be an integer, a string or null."))
    if "method" not in message:
        return _response(message, identity)
    method = message["method"]
    if not isinstance(method, str):
        return Malformed(identity, Error(INVALID_REQUEST, 'The member "method" must be a string.'))
    params = message.get("params")
    return Request(identity, method, params) if "id" in message else Notification(method, params)


def _response(message: Json, identity: Id) -> Message:
    if "id" not in message or ("result" in message) == ("error" in message):
        problem = 'A message needs a "method", or an "id" with either a "result" or an "error".'
        return Malformed(identity, Error(INVALID_REQUEST, problem))
    if "result" in message:
        return Response(identity, message["result"])
    return Response(identity, error=_error(message["error"]))


def _error(value: object) -> Error:
    if isinstance(value, dict):
        fields = cast("Json", value)
        code, text = fields.get("code"), fields.get("message")
        if isinstance(code, int) and isinstance(text, str):
            return Error(code, text, fields.get("data"))
    return Error(INTERNAL_ERROR, "The client answered with an error that has no code and message.")


def encode(message: object) -> bytes:
    """One line. Text that is not valid Unicode is sent with replacement characters."""
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def success(identity: Id, result: object) -> bytes:
    """A successful answer."""
    return encode({"jsonrpc": "2.0", "id": identity, "result": result})


def failure(identity: Id, error: Error) -> bytes:
    """An error answer."""
    body: Json = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return encode({"jsonrpc": "2.0", "id": identity, "error": body})


def request(identity: int, method: str, params: object) -> bytes:
    """A request of ours."""
    return encode({"jsonrpc": "2.0", "id": identity, "method": method, "params": params})


def notification(method: str, params: object) -> bytes:
    """A notification of ours."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})
