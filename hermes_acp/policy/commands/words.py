"""One word of a shell command: what it becomes when the shell has removed quotes and braces.

The reader is strict. It understands quotes, escapes, braces, globs and plain variables, and says of
everything else that it does not understand it, so that the caller can ask.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from hermes_acp.records import record

BRACE_WORDS = 64
"""Words that braces may make of one word; more are not understood."""

OPERATORS = frozenset(" \t\n|&;<>()`")
"""What ends a word, or starts something else, when it is not quoted."""

_GLOB = "*?["
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9?!$#@*-]", re.ASCII)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_RANGE = re.compile(r"(-?[0-9]{1,6})\.\.(-?[0-9]{1,6})|([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z])", re.ASCII)

EXPANDED = "$"
"""Stands in the text of a `Field` for a variable."""


@record
class Field:
    """One word that the program may get.

    `text` is literal when all flags are False. `pattern` is the glob, quoted characters of it
    escaped with a backslash. `home`: begins with a tilde. `variable`: holds the value of a variable,
    which is not known; unless it was quoted (`split` is False) it may become several words. `stream`: the
    output of a command, as the name of a file.
    """

    text: str
    pattern: str = ""
    home: bool = False
    variable: bool = False
    split: bool = False
    stream: bool = False


@record
class Word:
    """A word as written and what becomes of it; `problem` says why it is not understood."""

    source: str
    fields: tuple[Field, ...] = ()
    problem: str = ""

    @property
    def literal(self) -> str | None:
        """The text when the word is one word and nothing of it depends on the surroundings."""
        if self.problem or len(self.fields) != 1:
            return None
        only = self.fields[0]
        return None if only.pattern or only.home or only.variable or only.stream else only.text


@record
class _Char:
    """A character and whether it is quoted; `variable` and `split` as in `Field`."""

    char: str
    quoted: bool = True
    variable: bool = False
    split: bool = False


class _Unclear(Exception):
    """The word is not understood; `str()` says why."""


def read(source: str) -> Word:
    """Read one word; never raises."""
    try:
        chars = _Scanner(source).chars()
        fields = tuple(map(_field, _braces(chars)))
    except _Unclear as problem:
        return Word(source, problem=str(problem))
    return Word(source, fields)


@dataclass(slots=True)
class _Scanner:
    source: str
    at: int = 0
    out: list[_Char] = field(default_factory=list[_Char])

    def chars(self) -> list[_Char]:
        while self.at < len(self.source):
            char = self._next()
            match char:
                case "'":
                    self._raw()
                case '"':
                    self._string()
                case "\\":
                    self._escape()
                case "$":
                    self._dollar(quoted=False)
                case _ if char in OPERATORS:
                    raise _Unclear("it holds a substitution or an operator")
                case _:
                    self.out.append(_Char(char, quoted=False))
        if self.out[:1] and self.out[0].char == "#" and not self.out[0].quoted:
            raise _Unclear("it begins like a comment")
        return self.out

    def _next(self) -> str:
        if self.at >= len(self.source):
            raise _Unclear("a quote is not closed")
        self.at += 1
        return self.source[self.at - 1]

    def _escape(self) -> None:
        char = self._next()
        if char == "\n":
            raise _Unclear("a word goes on in the next line")
        self.out.append(_Char(char))

    def _raw(self) -> None:
        while (char := self._next()) != "'":
            self.out.append(_Char(char))

    def _string(self) -> None:
        while (char := self._next()) != '"':
            if char == "`":
                raise _Unclear("it holds a substitution")
            if char == "$":
                self._dollar(quoted=True)
            elif char == "\\":
                self._escape_in_string()
            else:
                self.out.append(_Char(char))

    def _escape_in_string(self) -> None:
        char = self._next()
        if char == "\n":
            return
        self.out.extend(map(_Char, char if char in '$`"\\' else "\\" + char))

    def _dollar(self, *, quoted: bool) -> None:
        following = self.source[self.at : self.at + 1]
        if following == "'" and not quoted:
            self.at += 1
            self._ansi()
        elif name := _NAME.match(self.source, self.at):
            self.at = name.end()
            self.out.append(_Char(EXPANDED, variable=True, split=not quoted))
        elif not following or (quoted and following not in ("(", "{", "[")):
            self.out.append(_Char("$"))
        else:
            raise _Unclear("it holds a substitution")

    def _ansi(self) -> None:
        while (char := self._next()) != "'":
            if char == "\\":
                char = _ESCAPES.get(self._next(), "")
                if not char:
                    raise _Unclear("it holds an escape that is not usual")
            self.out.append(_Char(char))


# --- braces --------------------------------------------------------------------------------------


def _braces(chars: list[_Char]) -> list[list[_Char]]:
    """All words that the braces make; braces without a comma or range are text, as in the shell."""
    words = [chars]
    for _ in range(BRACE_WORDS):
        expanded = list(itertools.islice(itertools.chain.from_iterable(map(_once, words)), BRACE_WORDS + 1))
        if len(expanded) > BRACE_WORDS:
            raise _Unclear("its braces make too many words")
        if len(expanded) == len(words):
            if len(words) > 1 and not all(words):
                # The shell drops an empty word that nobody quoted.
                raise _Unclear("its braces are not usual")
            return expanded
        words = expanded
    raise _Unclear("its braces are too many")


def _once(chars: list[_Char]) -> Iterator[list[_Char]]:
    opening = -1
    for index, char in enumerate(chars):
        if char.quoted:
            continue
        if char.char == "{":
            opening = index
        elif char.char == "}" and opening >= 0:
            choices = _choices(chars[opening + 1 : index])
            if len(choices) > 1:
                if any(not one.quoted and one.char == "{" for one in chars[:opening]):
                    raise _Unclear("its braces are nested")
                for choice in choices:
                    yield [*chars[:opening], *choice, *chars[index + 1 :]]
                return
            opening = -1
    yield chars


def _choices(inner: list[_Char]) -> list[list[_Char]]:
    text = "".join(one.char for one in inner)
    if not any(one.quoted for one in inner) and ".." in text and "," not in text:
        return _range(text)
    choices: list[list[_Char]] = [[]]
    for one in inner:
        if one.char == "," and not one.quoted:
            choices.append([])
        else:
            choices[-1].append(one)
    return choices


def _range(text: str) -> list[list[_Char]]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _Unclear("its braces are not usual")
    if match[1]:
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= BRACE_WORDS:
            raise _Unclear("its braces make too many words")
        if any(part.lstrip("-").startswith("0") and len(part) > 1 for part in match.groups() if part):
            raise _Unclear("its braces are not usual")
        names = map(str, range(first, last + 1) if first <= last else range(first, last - 1, -1))
    else:
        ends = sorted(ord(part) for part in match.groups() if part)
        names = map(chr, range(ends[0], ends[1] + 1))
    return [list(map(_Char, name)) for name in names]


# --- what is left --------------------------------------------------------------------------------


def _field(chars: list[_Char]) -> Field:
    text = "".join(one.char for one in chars)
    plain = [(one.char if not one.quoted else "") for one in chars]
    if any(a in ("=", ":") and b == "~" for a, b in itertools.pairwise(plain)):
        raise _Unclear("a tilde stands in the middle")
    globs = any(char in _GLOB for char in plain if char)
    return Field(
        text=text,
        pattern="".join(map(_escaped, chars)) if globs else "",
        home=plain[:1] == ["~"],
        variable=any(one.variable for one in chars),
        split=any(one.split for one in chars),
    )


def _escaped(one: _Char) -> str:
    return "\\" + one.char if one.quoted and one.char in "*?[]\\!-^" else one.char
