"""What `hermes-editor run` prints: text for people, or JSON lines for programs."""

from __future__ import annotations

import json
from typing import Protocol, TextIO

from hermes_acp.cli.screen import one_line, safe
from hermes_acp.records import record
from hermes_acp.server.messages import Json

ADVICE = (
    "nobody is here to allow this; use --mode accept_edits for edits, --mode auto for commands in the "
    "sandbox as well, or give a lasting answer in an editor"
)


@record
class End:
    """How the turn ended: `reason` is the stop reason, or `error` with a message."""

    reason: str
    code: int
    session_id: str = ""
    error: str | None = None


class Output(Protocol):
    """Takes in what happens in the turn, in order."""

    def show(self, session_id: str, update: Json) -> None:
        """A `session/update`."""
        ...

    def unanswered(self, title: str) -> None:
        """A permission was asked for that nobody can give."""
        ...

    def end(self, end: End) -> None:
        """The turn is over; called once, also when there was none."""
        ...


class TextOutput:
    """Text for people: the answer on standard output, the rest on standard error."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._message = ""
        self._at_start = True
        self._titles: dict[str, str] = {}

    def show(self, session_id: str, update: Json) -> None:  # noqa: ARG002 (the seam's signature)
        """Print an update."""
        match update:
            case {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": str() as text}}:
                self._text(str(update.get("messageId", "")), text)
            case {"sessionUpdate": "tool_call" | "tool_call_update", "toolCallId": str() as call_id}:
                self._call(call_id, update)
            case {"sessionUpdate": "notice", "title": str() as title}:
                details = update.get("description")
                self._line(f"! {title}" + (f": {details}" if details else ""))
            case _:
                return

    def unanswered(self, title: str) -> None:
        """A permission was asked for that nobody can give."""
        self._line(f"  not allowed: {title} ({ADVICE})")

    def end(self, end: End) -> None:
        """Print what went wrong."""
        if not self._at_start:
            self._out.write("\n")
            self._out.flush()
            self._at_start = True
        if end.error is not None:
            self._line(f"hermes-editor: {end.error}")
        elif end.code:
            self._line(f"hermes-editor: the turn ended with {end.reason}")

    def _text(self, message_id: str, text: str) -> None:
        if message_id != self._message and self._message:
            self._out.write("\n" if self._at_start else "\n\n")
        self._message = message_id
        self._out.write(safe(text) if self._out.isatty() else text)
        self._out.flush()
        self._at_start = text.endswith("\n")

    def _call(self, call_id: str, update: Json) -> None:
        if isinstance(title := update.get("title"), str):
            self._titles[call_id] = title
        if (status := update.get("status")) in ("completed", "failed"):
            mark = "+" if status == "completed" else "x"
            self._line(f"{mark} {self._titles.pop(call_id, call_id)}")

    def _line(self, text: str) -> None:
        if not self._at_start and self._out.isatty() and self._err.isatty():
            self._err.write("\n")
            self._at_start = True
        self._err.write(f"{one_line(text)}\n")
        self._err.flush()


class JsonOutput:
    """JSON lines for programs: every update as it came, and one result at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, session_id: str, update: Json) -> None:
        """Print an update."""
        self._print({"type": "update", "sessionId": session_id, "update": update})

    def unanswered(self, title: str) -> None:
        """A permission was asked for that nobody can give."""
        self._print({"type": "unanswered", "title": title})

    def end(self, end: End) -> None:
        """Print the result."""
        result: Json = {
            "type": "result",
            "sessionId": end.session_id,
            "stopReason": end.reason,
            "exitCode": end.code,
        }
        self._print(result if end.error is None else result | {"error": end.error})

    def _print(self, record: Json) -> None:
        self._out.write(f"{json.dumps(record)}\n")
        self._out.flush()
