"""A fact: one thing that is known, where it holds, who says so and on what evidence; and its file.

A file has a front matter, one member a line, and the text behind it:

    ---
    id: 01KB…
    kind: decision
    key: database
    status: active
    scope: project
    author: user
    confidence: 1.0
    created: 2026-11-21T10:00:00.000Z
    updated: 2026-11-21T10:00:00.000Z
    evidence:
    - {"session":"s1","seq":3,"quote":"let us take SQLite"}
    ---

    SQLite: one writer is enough.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast, get_args

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from hermes_acp.memory.facts.ids import ID
from hermes_acp.records import record

Kind: TypeAlias = Literal["preference", "environment", "code-fact", "decision", "procedure", "pitfall"]
Status: TypeAlias = Literal["proposed", "active", "superseded", "retracted"]
Author: TypeAlias = Literal["user", "agent", "import"]

KINDS: tuple[Kind, ...] = get_args(Kind)
TEXT_CHARS = 4_000
"""Characters of a fact at most: what is longer is no fact, but several."""
KEY_CHARS = 100
SCOPE_CHARS = 1_000
QUOTE_CHARS = 1_000
LINKS = 64
"""Facts that one names as replaced, or as its sources; and places that it names as evidence."""
FILE_CHARS = 200_000
"""A longer file is none of a fact."""
LAST_TIME = 32_503_680_000.0
"""The year 3000: a later time is a mistake, with which no date could be shown."""


class BadFact(ValueError):
    """This is no fact, or not its file; `str()` is a sentence that says why."""


@record
class Evidence:
    """Where something was said: event `seq` of a session, and the words.

    `commit` is the commit that the work stood at, `anchor` a file of the code as `path@blob`. `found`
    tells whether the quote stands in that event; `at` is when it was said, 0 where nobody needs it.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    session: str
    seq: int
    quote: str = ""
    commit: str = ""
    anchor: str = ""
    found: bool = True
    at: float = 0.0


@record
class Fact:
    """One thing that is known; times in seconds since the epoch, to the millisecond.

    `scope` is where it holds (see `scopes`). Of facts with one `key` only the newest holds. It replaces
    those that it `supersedes`, and falls with those that it is `derived_from`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    id: str
    kind: Kind
    scope: str
    text: str
    created: float
    updated: float
    key: str = ""
    status: Status = "active"
    author: Author = "agent"
    confidence: float = 1.0
    supersedes: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether it was not taken back, and is more than a proposal; it may have been replaced."""
        return self.status in ("active", "superseded")

    @property
    def proven(self) -> bool:
        """Whether a quote of its evidence was found."""
        return any(item.found for item in self.evidence)


@functools.cache
def _codec() -> TypeAdapter[tuple[Fact, ...]]:
    return TypeAdapter(tuple[Fact, ...])


def decode(data: bytes) -> tuple[Fact, ...]:
    """The facts of a JSON list that `encode` has made; blocks for a moment at first."""
    return _codec().validate_json(data)


def encode(facts: Iterable[Fact]) -> bytes:
    """The facts as a JSON list."""
    return orjson.dumps(list(facts))


def check(fact: Fact) -> Fact:
    """The fact itself. Raises `BadFact` when it cannot be kept."""
    problem = next((text for text, wrong in _rules(fact) if wrong), "")
    if problem:
        raise BadFact(f"Fact {fact.id}: {problem}.")
    return fact


def clean(text: str) -> str:
    """A text as a fact can have it: without characters that no file keeps, and without blanks around it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-8", "replace").decode().strip()


def clean_key(key: str) -> str:
    """A key as it is compared: in lower case, in one line."""
    return folded(clean(key))


def folded(text: str) -> str:
    """A text as it is compared: without the case of its letters, and however its lines break."""
    return " ".join(text.casefold().split())


def moment(at: float) -> float:
    """A time as facts have it."""
    return round(at, 3)


def _rules(fact: Fact) -> Iterable[tuple[str, bool]]:
    links = (*fact.supersedes, *fact.derived_from)
    yield "its id is no ULID", not all(ID.fullmatch(link) for link in (fact.id, *links))
    yield "it has no text", not fact.text
    yield f"it is longer than {TEXT_CHARS:,} characters: split it", len(fact.text) > TEXT_CHARS
    yield "its text has characters that no file keeps", fact.text != clean(fact.text)
    yield (
        f"its key is not {KEY_CHARS} characters in lower case",
        fact.key != clean_key(fact.key) or len(fact.key) > KEY_CHARS,
    )
    yield "it has no scope", not fact.scope or fact.scope != clean(fact.scope)
    yield "its scope is too long", len(fact.scope) > SCOPE_CHARS
    yield "its confidence is not between 0 and 1", not 0 <= fact.confidence <= 1
    yield (
        "its times are wrong",
        not all(0 <= at <= LAST_TIME and at == moment(at) for at in (fact.created, fact.updated)),
    )
    yield (
        f"it names more than {LINKS} others",
        max(map(len, (fact.supersedes, fact.derived_from, fact.evidence))) > LINKS,
    )
    yield (
        "its evidence has a wrong number, or too long a quote",
        any(item.seq < 0 or len(item.quote) > QUOTE_CHARS for item in fact.evidence),
    )


# --- the file ------------------------------------------------------------------------------------

_MARK = "---"
_ITEM = "- "
_BARE = re.compile(r"[A-Za-z0-9_@][^\x00-\x1f\x7f\"#:{}\[\]\ud800-\udfff]*(?<! )")
_TIME = "%Y-%m-%dT%H:%M:%S"
_TIMES = ("created", "updated")
_LISTS = ("supersedes", "derived_from")
_ORDER = (
    "id", "kind", "key", "status", "scope", "author", "confidence", "created", "updated",
    "supersedes", "derived_from",
)  # fmt: skip
_NEEDED = {name for name in _ORDER if name not in ("key", *_LISTS)}
_DEFAULTS = {field.name: field.default for field in fields(Evidence)}


def name_of(fact_id: str) -> str:
    """The path of a fact's file in its repository."""
    return f"facts/{fact_id}.md"


def format_file(fact: Fact) -> str:
    """The file of a fact; `parse_file` gives the fact back."""
    values = {name: _spelled(name, fact) for name in _ORDER}
    lines = [f"{name}: {value}" for name, value in values.items() if value]
    if fact.evidence:
        lines.append("evidence:")
        lines += [_ITEM + _json(_members(item)) for item in fact.evidence]
    return "\n".join((_MARK, *lines, _MARK, "", fact.text, ""))


def parse_file(text: str) -> Fact:
    """The fact in a file. Raises `BadFact`, whatever the file holds."""
    if len(text) > FILE_CHARS:
        raise BadFact(f"The file has more than {FILE_CHARS:,} characters.")
    head, body = _split(clean(text))
    members: dict[str, object] = {"text": clean(body)}
    for number, line in enumerate(head, 2):
        _take(members, line, number)
    if missing := sorted(_NEEDED - members.keys()):
        raise BadFact(f"The front matter lacks {', '.join(missing)}.")
    try:
        [fact] = _codec().validate_python([members])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadFact(f"{'.'.join(map(str, first['loc'][1:]))} is wrong: {first['msg']}.") from error
    return check(fact)


def _split(text: str) -> tuple[Sequence[str], str]:
    lines = text.split("\n")
    if lines[0] != _MARK or _MARK not in lines[1:]:
        raise BadFact("The file does not begin with a front matter between two lines of `---`.")
    end = lines.index(_MARK, 1)
    return lines[1:end], "\n".join(lines[end + 1 :])


def _take(members: dict[str, object], line: str, number: int) -> None:
    """Read one line of the front matter."""
    if line.startswith(_ITEM) and isinstance(listed := members.get("evidence"), list):
        cast("list[object]", listed).append(_value(line.removeprefix(_ITEM), number))
        return
    name, colon, value = line.partition(":")
    if not colon or name in members or name not in (*_ORDER, "evidence"):
        raise BadFact(f"Line {number} of the front matter is wrong: {line[:80]!r}.")
    value = value.strip()
    members[name] = [] if name == "evidence" and not value else _READERS.get(name, _value)(value, number)


def _value(text: str, number: int) -> object:
    """A JSON value, or words without quotes."""
    if not text.startswith(('"', "[", "{")):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadFact(f"Line {number} of the front matter is no JSON: {error}.") from error


def _time(text: str, number: int) -> object:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadFact(f"Line {number} of the front matter is no time: {text[:80]!r}.") from error
    return moment((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _number(text: str, number: int) -> object:
    try:
        return float(text)
    except ValueError as error:
        raise BadFact(f"Line {number} of the front matter is no number: {text[:80]!r}.") from error


_READERS: dict[str, Callable[[str, int], object]] = {"confidence": _number} | dict.fromkeys(_TIMES, _time)


def _spelled(name: str, fact: Fact) -> str:
    match name:
        case "created" | "updated":
            return _spelled_time(fact.created if name == "created" else fact.updated)
        case "confidence":
            return repr(fact.confidence)
        case "supersedes" | "derived_from":
            ids = fact.supersedes if name == "supersedes" else fact.derived_from
            return _json(ids) if ids else ""
        case _:
            words = _words(name, fact)
            return words if not words or _BARE.fullmatch(words) else _json(words)


def _words(name: str, fact: Fact) -> str:
    known = {"id": fact.id, "kind": fact.kind, "key": fact.key, "status": fact.status}
    return (known | {"scope": fact.scope, "author": fact.author})[name]


def _spelled_time(at: float) -> str:
    seconds, thousandths = divmod(round(at * 1000), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime(_TIME)}.{thousandths:03}Z"


def _members(item: Evidence) -> dict[str, object]:
    return {name: value for name, value in asdict(item).items() if value != _DEFAULTS[name]}


def _json(value: object) -> str:
    # Python's own: it takes lone surrogates and escapes what a line cannot hold.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
