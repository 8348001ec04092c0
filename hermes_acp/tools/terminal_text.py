"""Turns what commands print into text for readers who are not terminals: pure functions."""

from __future__ import annotations

import re
import unicodedata

from hermes_acp.content import TextBlock
from hermes_acp.events import ExitStatus
from hermes_acp.records import record
from hermes_acp.workspace.execution.base import Output

MODEL_HEAD = 4_000
"""Characters from the beginning of a long output that the model reads."""

MODEL_TAIL = 12_000
"""Characters from the end of a long output that the model reads."""

TO_A_FILE = "write the output to a file to read them"
"""How to read what was left out, where there is no log."""

TITLE_CHARACTERS = 80
"""Longest title of a call; longer commands are cut."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles and links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device strings
    r"|\x1b[ -/]*[0-~]?"  # everything shorter
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BACKTICKS = re.compile(r"`+")
_OVERSTRIKE = re.compile(r"[^\n\x08]\x08")


def plain(text: str) -> str:
    """Text as a terminal would leave it: no escapes, overwritten lines in their last state."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    if "\x08" in text:
        text = _OVERSTRIKE.sub("", text)
    if "\r" in text:
        text = "\n".join(_last_state(line) for line in text.split("\n"))
    return _CONTROLS.sub("", text)


@record
class Shortened:
    """An output for the model: all of it in `tail`, or its head, a number of characters, and its tail."""

    head: str
    dropped: int
    tail: str

    def text(self, hint: str = TO_A_FILE) -> str:
        """The text; `hint` says how to read what was left out."""
        if not self.dropped:
            return self.tail
        note = f"[… {self.dropped} characters left out; {hint} …]"
        return f"{self.head}\n{note}\n{self.tail}".lstrip("\n")


def shortened(output: Output) -> Shortened:
    """The output for the model, at most about `MODEL_HEAD` + `MODEL_TAIL` characters of it."""
    head, tail, dropped = plain(output.head), plain(output.text), output.dropped
    if not dropped and len(tail) <= MODEL_HEAD + MODEL_TAIL:
        return Shortened("", 0, tail)
    if not dropped:
        head, tail = tail[:MODEL_HEAD], tail[MODEL_HEAD:]
    dropped += len(head[MODEL_HEAD:]) + len(tail[:-MODEL_TAIL])
    return Shortened(head[:MODEL_HEAD], dropped, tail[-MODEL_TAIL:])


def length(output: Output) -> int:
    """How many characters were printed, dropped ones included."""
    return len(output.head) + output.dropped + len(output.text)


def since(output: Output, position: int) -> Output:
    """What was printed after the first `position` characters."""
    start = len(output.head) + output.dropped
    if position >= start:
        return Output(output.text[position - start :])
    lost = start - max(position, len(output.head))
    return Output(output.text, lost, output.head[position:])


def ending(status: ExitStatus) -> str:
    """How a command ended, in words."""
    return f"killed by {status.signal}" if status.signal else f"exit code {status.code}"


def fenced(text: str, language: str = "") -> str:
    """A Markdown code block that `text` cannot break out of."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def printed(text: str, how: str = "") -> tuple[TextBlock, ...]:
    """Output for the person, with how it ended below; nothing for none."""
    below = f"\n{how}" if how else ""
    return (TextBlock(fenced(text) + below),) if text.strip() else ()


def joined(text: str, how: str) -> str:
    """Output for the model, with what is said about it at the end."""
    return f"{text.rstrip()}\n{how}" if text.strip() else how


def visible(command: str) -> str:
    """The command with invisible characters spelled out, so that nobody approves what they cannot see."""
    return "".join(_spelled(character) for character in command)


def all_visible(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Several texts, each `visible`."""
    return tuple(map(visible, texts))


def title(command: str) -> str:
    """One line that names a command."""
    lines = [line for line in visible(command).strip().split("\n") if line.strip()]
    first = lines[0].strip() if lines else ""
    if len(first) > TITLE_CHARACTERS:
        return first[: TITLE_CHARACTERS - 1] + "…"
    return f"{first} …" if len(lines) > 1 else first


def _last_state(line: str) -> str:
    return next((part for part in reversed(line.split("\r")) if part), "")


def _spelled(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp"):
        return character
    return f"\\u{{{ord(character):x}}}"
