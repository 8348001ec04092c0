"""What must hold in every conversation: checked on each line, and once more when a test is over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tests.acp import schema

Json = dict[str, Any]
Id = tuple[type, Any]

OPENING = ("session/new", "session/load", "session/resume")
PART_OF_A_TURN = (
    "user_message_chunk",
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
    "usage_update",
)
ENDED = ("completed", "failed")
INVALID_REQUEST = -32600


@dataclass
class Conversation:
    """What the agent has told about one session."""

    calls: dict[str, str] = field(default_factory=dict)
    prompts: set[Id] = field(default_factory=set)
    replaying: Id | None = None
    unprompted: bool = False
    """A steering message started a turn, which no answer ends."""
    elsewhere: bool = False
    """The turn of another window runs."""


class Audit:
    """Both directions of one connection; problems are collected, never raised."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._waiting: dict[Id, Json] = {}
        self._excused: set[Id] = set()
        self._asked: dict[Id, str] = {}
        self._sessions: dict[str, Conversation] = {}

    # --- what the client wrote -------------------------------------------------------------------

    def sent(self, message: Json) -> None:
        """The client wrote a request, a notification or an answer."""
        if "method" not in message:
            self._asked.pop(_key(message.get("id")), None)
            return
        if "id" not in message:
            return
        request_id = _key(message["id"])
        self._waiting[request_id] = message
        session_id = _session_id(message)
        session = self._sessions.get(session_id)
        match message["method"]:
            case "session/prompt" if session is not None:
                session.prompts.add(request_id)
                session.unprompted = False
            case "session/load":
                session = self._sessions.setdefault(session_id, Conversation())
                session.replaying = request_id
            case "_session/steering" if session is not None:
                session.unprompted = True
            case _:
                pass

    def excuse(self, line: bytes) -> None:
        """The client wrote a line that may or may not be a message: an answer to it is no surprise."""
        try:
            self._excused.add(_key(json.loads(line)["id"]))
        except (ValueError, TypeError, KeyError, IndexError, RecursionError):
            return

    # --- what the agent wrote --------------------------------------------------------------------

    def received(self, message: Json) -> None:
        """The agent wrote a line."""
        if message.get("jsonrpc") != "2.0":
            self._blame("no jsonrpc 2.0", message)
        if "method" not in message:
            self._answer(message)
        elif "id" in message:
            self._request(message)
        elif message["method"] == "session/update":
            self._check("SessionNotification", message["params"], message)
            self._update(message["params"]["sessionId"], message["params"]["update"])
        elif message["method"] == "$/cancel_request":
            self._check("CancelRequestNotification", message["params"], message)
            self._asked.pop(_key(message["params"]["requestId"]), None)
        else:
            self._blame("a notification that the protocol does not know", message)

    def finish(self) -> None:
        """The test is over and nothing is under way any more."""
        self.problems += [f"never answered: {message}" for message in self._waiting.values()]
        self.problems += [f"neither answered nor withdrawn: {method}" for method in self._asked.values()]
        for session_id, session in self._sessions.items():
            self._nothing_open(session_id, session)

    def _answer(self, message: Json) -> None:
        if ("result" in message) == ("error" in message):
            self._blame("an answer is either a result or an error", message)
        if "error" in message:
            self._check("Error", message["error"], message)
        request_id = _key(message["id"])
        if request_id in self._excused and message.get("error", {}).get("code") == INVALID_REQUEST:
            # A line that took the id of a request was refused; the request itself goes on.
            return
        request = self._waiting.pop(request_id, None)
        if request is None:
            if message["id"] is not None and request_id not in self._excused:
                self._blame("an answer to a request that was not waiting", message)
            return
        method = request["method"]
        if "result" in message and (definition := schema.by_method("Response", "agent").get(method)):
            self._check(definition, message["result"], message)
        if method in OPENING and "result" in message:
            opened = message["result"].get("sessionId") or _session_id(request)
            self._sessions.setdefault(opened, Conversation())
        session = self._sessions.get(_session_id(request))
        if session is None:
            return
        if method == "session/prompt":
            session.prompts.discard(request_id)
        if session.replaying == request_id:
            session.replaying = None
        if not session.prompts and not session.unprompted:
            self._nothing_open(_session_id(request), session)

    def _request(self, message: Json) -> None:
        definition = schema.by_method("Request", "client").get(message["method"])
        if definition is None:
            if schema.schema() is not None:
                self._blame("a request that the protocol does not know", message)
            return
        if _key(message["id"]) in self._asked:
            self._blame("an id is used twice", message)
        self._asked[_key(message["id"])] = message["method"]
        self._check(definition, message["params"], message)
        call_id = (message["params"].get("toolCall") or {}).get("toolCallId")
        if message["method"] == "session/request_permission":
            session = self._sessions[message["params"]["sessionId"]]
            if session.calls.get(call_id, "unknown") in ("unknown", *ENDED):
                self._blame("permission for a tool call that is not open", message)

    def _update(self, session_id: str, update: Json) -> None:
        session = self._sessions.get(session_id)
        kind = update["sessionUpdate"]
        if session is None:
            self._blame("an update of a session before it was opened", update)
            return
        self._follow(session_id, session, update)
        quiet = not (session.prompts or session.replaying or session.unprompted or session.elsewhere)
        if quiet and kind in PART_OF_A_TURN:
            self._blame("an update of a turn that is over", update)
        for place in (*update.get("locations", ()), *_diffs(update)):
            if not PurePosixPath(place["path"]).is_absolute():
                self._blame("a relative path", update)
        if kind in ("tool_call", "tool_call_update"):
            self._call(session, kind, update)

    def _follow(self, session_id: str, session: Conversation, update: Json) -> None:
        """The beginning and the end of another window's turn, as they are told."""
        told = (update.get("_meta") or {}).get("hermes", {})
        if update["sessionUpdate"] == "user_message_chunk" and "client" in told:
            session.elsewhere = not session.replaying
        elif update["sessionUpdate"] == "session_info_update" and "stopReason" in told:
            if session.elsewhere:
                self._nothing_open(session_id, session)
            session.elsewhere = False

    def _call(self, session: Conversation, kind: str, update: Json) -> None:
        call_id = update["toolCallId"]
        status = session.calls.get(call_id)
        if kind == "tool_call" and status is not None and session.replaying is None:
            self._blame("a tool call is announced twice", update)
        if kind == "tool_call_update" and status is None:
            self._blame("an update of a tool call that was not announced", update)
        if kind == "tool_call_update" and status in ENDED:
            self._blame("an update of a tool call that had ended", update)
        session.calls[call_id] = update.get("status", status or "pending")

    def _nothing_open(self, session_id: str, session: Conversation) -> None:
        for call_id, status in session.calls.items():
            if status not in ENDED:
                self.problems.append(f"tool call {call_id} of {session_id} stays {status}")

    def _check(self, definition: str, value: object, message: Json) -> None:
        if wrong := schema.problem(definition, value):
            self._blame(wrong, message)

    def _blame(self, wrong: str, message: Json) -> None:
        self.problems.append(f"{wrong}: {message}")


def _session_id(message: Json) -> str:
    params = message.get("params")
    session_id = params.get("sessionId") if isinstance(params, dict) else None
    return session_id if isinstance(session_id, str) else ""


def _key(value: Any) -> Id:
    return type(value), value


def _diffs(update: Json) -> list[Json]:
    content = update.get("content")
    return [item for item in content if item["type"] == "diff"] if isinstance(content, list) else []
