"""Where a name is defined, by the look of the line: a search that knows the words of common languages.

It reads no grammar, so it may miss a definition that is written unusually, and may take a declaration
for one. That is good enough to point at the place.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence

from hermes_acp.policy.paths import secret
from hermes_acp.records import record
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.locations import DocumentError, inside
from hermes_acp.workspace.ripgrep import LINE_CHARS, Line, Query, search_lines

NAME_CHARS = 200
"""Longer names are refused."""

PLACES = 8
"""Definitions of one name that are given."""

BLOCK_LINES = 80
"""Lines of one definition that are given."""

NAMES = 30
"""Names that a completion offers."""

SECONDS = 5.0
"""How long a search for definitions may take."""

COMPLETION_SECONDS = 0.5
"""How long a search for names may take, while somebody types."""

_HITS = 400
"""Lines that are looked at."""
_FILES = 40
"""Files that are read for one name."""

_NAME = re.compile(r"[^\W\d][\w$]*[?!]?")
_SEPARATOR = re.compile(r"::|[.#]")
_BEFORE = (
    r"(?:(?:export|default|declare|pub|pub\([^)]*\)|public|private|protected|internal|static|final|abstract"
    r"|sealed|open|override|async|inline|extern|unsafe|const|constexpr|virtual|partial|data|suspend)\s+)*"
)
_KEYWORD = (
    r"(?:def|class|func|function\s*\*?|fun|fn|sub|struct|enum|enum\s+class|interface|trait|type|union|module|mod"
    r"|namespace|object|record|protocol|extension|actor|macro_rules!|var|let|const|val|static|typedef"
    r"|defmodule|defp|defmacro|proc|procedure|impl|impl<[^>]*>)"
)
_SHAPES = (
    # A word that defines, perhaps with a receiver: `func (r *T) name`, `def self.name`.
    rf"\s*{_BEFORE}{_KEYWORD}\s+(?:\([^)]*\)\s*)?(?:[\w]+[.])*NAMEEND",
    r"\s*#\s*define\s+NAMEEND",
    r"(?:export\s+)?NAME\s*(?::[^=]+)?=[^=]",
    # A method without a keyword, a function with its type in front.
    r"\s+(?:(?:static|async|get|set|public|private|protected|readonly|override)\s+)*\*?NAME\s*\([^;]*\)[^;]*[{]\s*$",
    r"\s*(?:[A-Za-z_][\w:<>,\[\]]*[*&]*\s+[*&]*)+(?:\w+::)*NAME\s*\([^;=]*$",
    r"\s*(?i:create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|type))\s+NAMEEND",
)
_END = r"(?:[^\w$]|$)"
_USES = frozenset({
    *("return", "else", "new", "throw", "await", "yield", "case", "goto", "delete", "assert", "in", "not"),
    *("and", "or", "import", "from", "print", "raise", "if", "elif", "while", "for", "with", "when"),
    *("unless", "del", "using", "package", "switch", "do"),
})  # fmt: skip
"""Words that begin a line which uses a name."""


@record
class Definition:
    """Lines of a file, 1-based, from the one that defines the name; `path` absolute and real."""

    path: str
    first: int
    last: int
    text: str


def parts(name: str) -> tuple[str, ...]:
    """The single names of `Class.method`, `module::function`; empty when it cannot be a name."""
    found = tuple(_SEPARATOR.split(name))
    return found if len(name) <= NAME_CHARS and all(map(_NAME.fullmatch, found)) else ()


def pattern(name: str, *, whole: bool = True) -> str:
    """An expression for lines that define `name`, or names that begin so, for ripgrep and for Python."""
    wanted = re.escape(name) if whole else re.escape(name) + r"[\w$]*"
    shapes = (shape.replace("NAME", f"(?:{wanted})").replace("END", _END) for shape in _SHAPES)
    return f"^(?:{'|'.join(shapes)})"


async def definitions(name: str, roots: Sequence[str], documents: Documents) -> tuple[Definition, ...]:
    """Where `name` is defined below the roots, with the lines as the editor has them now.

    `name` has `parts`; with several of them, files that define the others too come first. What git
    ignores, and files that may hold secrets, are left out. Raises `SearchError`.
    """
    *outer, last = parts(name)
    wanted = re.compile(pattern(last))
    around = [re.compile(pattern(part)) for part in outer]
    first_choice: list[Definition] = []
    others: list[Definition] = []
    for path in await _files(pattern(last), roots):
        try:
            lines = (await documents.read(path)).text.split("\n")
        except DocumentError:
            continue
        found, near = await asyncio.to_thread(_look, path, lines, wanted, around)
        (first_choice if near else others).extend(found)
        if len(first_choice) >= PLACES:
            break
    return tuple((first_choice or others)[:PLACES])


async def names(prefix: str, roots: Sequence[str]) -> tuple[str, ...]:
    """Names that begin so and are defined below the roots; what is found in a moment."""
    if not parts(prefix):
        return ()
    found: set[str] = set()
    word = re.compile(rf"(?<![\w$]){re.escape(prefix)}[\w$]*")

    def take(line: Line) -> bool:
        if _defines(line.text):
            found.update(word.findall(line.text)[:1])
        return len(found) < NAMES

    program = await asyncio.to_thread(shutil.which, "rg")
    for root in _outermost(roots):
        query = Query(root, pattern(prefix, whole=False), seconds=COMPLETION_SECONDS)
        await search_lines(query, program, take)
    return tuple(sorted(found, key=lambda name: (len(name), name))[:NAMES])


async def _files(expression: str, roots: Sequence[str]) -> tuple[str, ...]:
    """The files with lines that look like a definition, in order."""
    found: dict[str, None] = {}
    seen = 0

    def take(line: Line) -> bool:
        nonlocal seen
        seen += 1
        if _defines(line.text) and not secret(line.path):
            found[line.path] = None
        return seen < _HITS and len(found) < _FILES

    program = await asyncio.to_thread(shutil.which, "rg")
    for root in _outermost(roots):
        await search_lines(Query(root, expression, seconds=SECONDS), program, take)
    return tuple(found)


def _outermost(roots: Sequence[str]) -> Iterator[str]:
    """The roots without those that lie in another one."""
    distinct = tuple(dict.fromkeys(roots))
    return (root for root in distinct if not inside(root, (other for other in distinct if other != root)))


def _defines(line: str) -> bool:
    """Whether the line does not begin with a word that only uses names."""
    return not _USES.intersection(line.split(maxsplit=1)[:1])


def _look(
    path: str, lines: list[str], wanted: re.Pattern[str], around: Iterable[re.Pattern[str]]
) -> tuple[list[Definition], bool]:
    """The definitions in one file, and whether the other names are defined there as well."""
    found: list[Definition] = []
    for at, line in enumerate(lines):
        if len(found) < PLACES and wanted.match(line[:LINE_CHARS]) and _defines(line):
            end = _end(lines, at)
            found.append(
                Definition(path, at + 1, end, "\n".join(text[:LINE_CHARS] for text in lines[at:end]))
            )
    near = all(any(other.match(line[:LINE_CHARS]) for line in lines) for other in around)
    return found, near


def _end(lines: Sequence[str], at: int) -> int:
    """The line after the block that begins at `at`: what is indented deeper, and what closes it."""
    indent = _indent(lines[at])
    end = last = at + 1
    for line in lines[at + 1 : at + BLOCK_LINES]:
        end += 1
        text = line.strip()
        if not text:
            continue
        if _indent(line) <= indent:
            if _indent(line) == indent and (text[0] in ")]}{" or text == "end"):
                last = end
                if text[0] != "{" and not text.endswith((":", "{")):
                    break
                continue
            break
        last = end
    return last


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
