"""The tree that the parser makes of a shell command, read as the simple commands in it.

Only kinds of nodes that are named here are understood. Between the parts of a node nothing may
stand but blanks, and each word is read once more from its source: where parser and reader differ,
the command is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from hermes_acp.policy.commands.words import Field, Word, read
from hermes_acp.records import record

if TYPE_CHECKING:
    from tree_sitter import Node

NODES = 2_000
"""Nodes that are looked at; a tree with more is not understood."""

WORDS = 400
"""Words in all commands together; a text with more is not understood."""

NESTING = 24
"""How deep commands may be nested in each other."""

Join: TypeAlias = Literal["start", "&&", "||", "|", "other"]
"""What stands between a command and the one before it."""


@record
class Redirect:
    """A redirection; `target` is None where only descriptors are joined or text is given."""

    operator: str
    target: Word | None

    @property
    def gives_input(self) -> bool:
        """Whether the command reads from it."""
        return self.operator.startswith("<")


@record
class Call:
    """A simple command: its words, the first of which is the program; no words: only redirections.

    `nested`: it may run several times, or not at all (loops, conditions). `depth` is the same for the
    commands of one pipeline.
    """

    text: str
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    assignments: tuple[tuple[str, Word], ...] = ()
    join: Join = "other"
    nested: bool = False
    depth: int = 0


@record
class Condition:
    """A condition in brackets: the words in it, each with the operator before it."""

    text: str
    words: tuple[tuple[str, Word], ...]
    join: Join = "other"


@record
class Obstacle:
    """Something in the command that is not understood, or changes what follows; `why` says what."""

    why: str


Step: TypeAlias = Call | Condition | Obstacle

_SEQUENCES = frozenset({"program", "list", "pipeline", "subshell", "compound_statement"})
_BRANCHES = frozenset(
    {"if_statement", "elif_clause", "else_clause", "while_statement", "do_group", "case_item"}
)
_WORDS = frozenset(
    {
        *("word", "number", "string", "raw_string", "ansi_c_string", "concatenation", "simple_expansion"),
        *("expansion", "command_substitution", "process_substitution", "arithmetic_expansion"),
        *("brace_expression", "translated_string", "extglob_pattern", "regex", "variable_name"),
        *("special_variable_name", "test_operator"),
    }
)
_REDIRECTS = frozenset({"file_redirect", "herestring_redirect", "heredoc_redirect"})
_INLINE = frozenset({"command", "redirected_statement", "file_redirect", "herestring_redirect"})
_KEYWORDS = frozenset(
    {
        *(";", "\n", "&", "&&", "||", "|", "|&", "(", ")", "{", "}", "!", "in"),
        *("if", "then", "fi", "elif", "else", "while", "until", "do", "done", "for", "case", "esac"),
    }
)
_CASE_ENDS = frozenset({";;", ";&", ";;&"})
_SUBSTITUTIONS = frozenset({"command_substitution", "process_substitution"})
_STATEMENTS = _SEQUENCES | _BRANCHES | {"command", "redirected_statement", "for_statement", "case_statement"}
_CHANGES: Mapping[str, str] = {
    "variable_assignment": "sets a variable for what follows",
    "variable_assignments": "sets variables for what follows",
    "declaration_command": "sets variables for what follows",
    "unset_command": "unsets variables for what follows",
    "function_definition": "defines a function, which may stand for any program",
}
_UNARY = frozenset(f"-{letter}" for letter in "abcdefghknprstuwxzGLNOSo")
_BINARY = frozenset({"=", "==", "!=", "=~", "-nt", "-ot", "-ef"})
_NUMERIC = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_LOGIC = frozenset({"[", "]", "[[", "]]", "!", "&&", "||", "(", ")", "-a"})
_BLANK = re.compile(rb"(?:[ \t]|\\\n)*")
_BLANK_LINES = re.compile(rb"(?:[ \t\n]|\\\n)*")
_JOINED_LINES = re.compile(rb"[^ \t\n]\\\n[^ \t\n]")
_BRACKETS = re.compile(r"\[\s.*\s\]|\[\[\s.*\s\]\]", re.DOTALL)
_DELIMITER = re.compile(r"\w{1,40}", re.ASCII)


def steps(root: Node, source: bytes) -> tuple[Step, ...]:
    """All simple commands in the order of the text, and all that stands in the way."""
    reader = _Reader(source)
    try:
        reader.sequence(root, _Context())
        reader.between(_BLANK_LINES, 0, root.start_byte)
        reader.between(_BLANK_LINES, root.end_byte, len(source))
        if _JOINED_LINES.search(source):
            # The shell joins what stands before and after; the parser takes it for two words.
            reader.obstacle("is broken into lines within a word")
    except _TooMuch:
        reader.found.append(Obstacle("is too large or too deeply nested to be read"))
    return tuple(reader.found)


class _TooMuch(Exception):
    pass


@record
class _Context:
    depth: int = 0
    join: Join = "start"
    nested: bool = False

    def inner(self, join: Join, *, nested: bool = False) -> _Context:
        if self.depth >= NESTING:
            raise _TooMuch
        return _Context(self.depth + 1, join, self.nested or nested)


@dataclass(slots=True)
class _Reader:
    source: bytes
    found: list[Step] = field(default_factory=list[Step])
    nodes: int = 0
    words: int = 0

    def sequence(self, node: Node, context: _Context) -> None:
        """The statements in a node, one after the other."""
        join: Join = context.join
        nested = node.type in _BRANCHES or node.type == "negated_command"
        for child in self.children(node):
            if child.is_named:
                self.statement(child, context.inner(join, nested=nested))
                join = "other"
            elif child.type in ("&&", "||", "|"):
                join = child.type
            elif child.type == "|&":
                join = "|"
            elif child.type not in _KEYWORDS:
                self.obstacle(f"holds {child.type!r}, which is not understood")

    def statement(self, node: Node, context: _Context) -> None:
        """One statement of any kind."""
        kind = node.type
        if kind == "command":
            self.command(node, context, ())
        elif kind == "redirected_statement":
            self.redirected(node, context)
        elif kind == "compound_statement" and self.text(node)[:2] not in ("{ ", "{\t", "{\n"):
            # `((…))`, or what bash takes for the name of a program, such as `{}` and `{ls`.
            self.obstacle("calculates, or holds braces that are no group")
        elif kind in _SEQUENCES or kind in _BRANCHES or kind == "negated_command":
            self.sequence(node, context)
        elif kind in ("for_statement", "case_statement"):
            self.loop(node, context)
        elif kind == "test_command":
            self.test(node, context)
        elif kind == "comment":
            self.comment(node)
        else:
            self.obstacle(_CHANGES.get(kind, "holds something that is not understood"))
            self.inside(node, context)

    def loop(self, node: Node, context: _Context) -> None:
        """`for` and `case`: words are only text here, but may hold substitutions."""
        for child in self.children(node):
            if child.type in _WORDS:
                if child.type != "variable_name":
                    if self.word(child, context).problem:
                        self.obstacle("holds a word that is not understood")
                elif not re.fullmatch(r"[a-z][a-z0-9_]*", self.text(child), re.ASCII):
                    self.obstacle("sets a variable that may mean something to programs")
            elif child.type == "case_item":
                self.loop(child, context.inner("other", nested=True))
            elif child.is_named:
                self.statement(child, context.inner("other", nested=True))
            elif child.type not in _KEYWORDS and child.type not in _CASE_ENDS:
                self.obstacle(f"holds {child.type!r}, which is not understood")

    def command(self, node: Node, context: _Context, around: tuple[Node, ...]) -> None:
        """A simple command, with the redirections that stand `around` it."""
        words: list[Word] = []
        redirects: list[Redirect] = []
        assignments: list[tuple[str, Word]] = []
        before: Node | None = None
        for child in [*self.children(node), *around]:
            joined = before is not None and before.end_byte == child.start_byte and not _separates(child)
            if child.type == "variable_assignment":
                assignments.append(self.assignment(child, context))
            elif child.type in _REDIRECTS:
                redirects.append(self.redirect(child, words, context))
            elif child.type == "command_name" or child.type in _WORDS or child.type in ("==", "=~"):
                words.append(self.word(child, context))
            else:
                self.obstacle("holds something that is not understood")
            if joined:
                self.obstacle("holds words that run into each other")
            before = child
        parts = (tuple(words), tuple(redirects), tuple(assignments))
        self.found.append(Call(self.text(node), *parts, context.join, context.nested, context.depth))

    def redirected(self, node: Node, context: _Context) -> None:
        """A statement with redirections behind it; those of a group become a command without words."""
        redirects = tuple(child for child in self.children(node) if child.type in _REDIRECTS)
        bodies = [child for child in node.children if child not in redirects]
        if len(bodies) == 1 and bodies[0].type == "command":
            self.command(bodies[0], context, redirects)
            return
        for body in bodies:
            self.statement(body, context.inner(context.join))
        words: list[Word] = []
        targets = tuple(self.redirect(child, words, context) for child in redirects)
        given = any(target.gives_input for target in targets)
        if given and any(body.type in ("pipeline", "list") for body in bodies):
            # To the shell it belongs to the last command, to the parser to all of them.
            self.obstacle("gives input to one of several commands")
        self.found.append(Call(self.text(node), (), targets, nested=context.nested))
        if words:
            self.obstacle("holds words after a redirection")

    def redirect(self, node: Node, words: list[Word], context: _Context) -> Redirect:
        """A redirection; what the parser took for further targets are words of the command."""
        if node.type == "heredoc_redirect":
            return self.heredoc(node)
        operator, targets = "", list[Word]()
        for child in self.children(node):
            if child.type in _WORDS:
                targets.append(self.word(child, context))
            elif child.type != "file_descriptor":
                operator = child.type
        words.extend(targets[1:])
        return Redirect(operator, targets[0] if targets else None)

    def heredoc(self, node: Node) -> Redirect:
        """Text that is given to a command: understood when nothing in it can be expanded."""
        start, *rest = node.children[1:] or [node]
        body = b"".join(child.text or b"" for child in rest if child.type == "heredoc_body")
        delimiter = self.text(start)
        quoted = delimiter[:1] in ("'", '"') and delimiter[:1] == delimiter[-1:]
        name = delimiter[1:-1] if quoted else delimiter
        plain = [child.type for child in rest] in (["heredoc_body", "heredoc_end"], ["heredoc_end"])
        tabs = node.children[0].type == "<<-"
        begins = self.source[start.end_byte : start.end_byte + 1] == b"\n"
        alone = plain and begins and self.whole_line(rest[-1], tabs=tabs)
        if not alone or not _DELIMITER.fullmatch(name) or self.text(rest[-1]) != name:
            self.obstacle("holds a here-document that is not understood")
        elif name.encode() in (line.lstrip(b"\t") for line in body.split(b"\n")):
            self.obstacle("holds a here-document that may end early")
        elif not quoted and any(char in body for char in (b"$", b"`", b"\\")):
            self.obstacle("holds a here-document in which something is expanded")
        return Redirect("<<", None)

    def whole_line(self, node: Node, *, tabs: bool) -> bool:
        """Whether the node is alone in its line; only `<<-` lets tabs stand before it."""
        before = self.source[: node.start_byte].rpartition(b"\n")[2]
        alone = before.strip(b"\t") == b"" if tabs else before == b""
        return alone and self.source[node.end_byte : node.end_byte + 1] in (b"\n", b"")

    def assignment(self, node: Node, context: _Context) -> tuple[str, Word]:
        """A variable that is set for one command."""
        name, _, value = self.text(node).partition("=")
        self.inside(node, context)
        return name, read(value)

    def word(self, node: Node, context: _Context) -> Word:
        """A word; commands in it are read as commands of their own."""
        self.count()
        self.words += 1
        if self.words > WORDS:
            raise _TooMuch
        if node.type in _SUBSTITUTIONS:
            self.substitution(node, context)
        else:
            self.inside(node, context)
        text = self.text(node)
        if node.type == "process_substitution" and text.startswith("<("):
            return Word(text, (Field(text, stream=True),))
        return read(text)

    def inside(self, node: Node, context: _Context) -> None:
        """Read the commands in a word, or in a statement that is not understood."""
        for child in node.children:
            self.count()
            if child.type in _SUBSTITUTIONS:
                self.substitution(child, context)
            elif child.type in _STATEMENTS:
                self.statement(child, context.inner("other", nested=True))
            else:
                self.inside(child, context.inner(context.join))

    def substitution(self, node: Node, context: _Context) -> None:
        """Read the commands whose output becomes part of a word, or that get the output of one."""
        for child in self.children(node):
            if child.is_named:
                self.statement(child, context.inner("start", nested=True))
            elif child.type not in ("$(", "`", "<(", *_KEYWORDS):
                self.obstacle("gives output to a command, or reads a file into a word")

    def test(self, node: Node, context: _Context) -> None:
        """A condition in brackets."""
        words: list[tuple[str, Word]] = []
        text = self.text(node)
        operator, double = "", text.startswith("[[")
        if not _BRACKETS.fullmatch(text):
            self.obstacle("holds brackets that are no condition")
        for leaf in self.leaves(node):
            text = self.text(leaf)
            if leaf.type in _WORDS and leaf.type != "test_operator":
                words.append((operator, self.word(leaf, context)))
                operator = ""
            elif text in _UNARY or text in _BINARY or (text in _NUMERIC and not double):
                # In double brackets, numbers are expressions, which can run commands.
                operator = text
            elif text not in _LOGIC:
                self.obstacle(f"holds a condition with {text!r}, which is not understood")
        self.found.append(Condition(self.text(node), tuple(words), context.join))

    def leaves(self, node: Node) -> Iterator[Node]:
        for child in self.children(node):
            if child.type in ("binary_expression", "unary_expression", "parenthesized_expression"):
                yield from self.leaves(child)
            else:
                yield child

    def comment(self, node: Node) -> None:
        before = self.source[max(node.start_byte - 1, 0) : node.start_byte]
        early = self.source[max(node.start_byte - 2, 0) : node.start_byte]
        if before not in (b"", b"\n", b" ", b"\t", b";") or early == b"\\\n" or "\n" in self.text(node):
            self.obstacle("holds a comment that may be none")

    def children(self, node: Node) -> list[Node]:
        """The parts of a node; nothing but blanks may stand between them."""
        self.count()
        children = node.children
        inline = node.type in _INLINE and not any(one.type == "heredoc_redirect" for one in children)
        blank = _BLANK if inline else _BLANK_LINES
        end = node.start_byte
        for child in children:
            self.between(blank, end, child.start_byte)
            end = max(end, child.end_byte)
            if child.type == "ERROR" or child.is_missing:
                self.obstacle("is not complete, or not a command of bash")
        self.between(blank, end, node.end_byte)
        return children

    def between(self, blank: re.Pattern[bytes], start: int, end: int) -> None:
        """Note what stands in a gap and is not blank."""
        if end > start and not blank.fullmatch(self.source, start, end):
            self.obstacle("holds something that the parser passed over")

    def obstacle(self, why: str) -> None:
        if len(self.found) < NODES:
            self.found.append(Obstacle(why))

    def count(self) -> None:
        self.nodes += 1
        if self.nodes > NODES:
            raise _TooMuch

    def text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _separates(node: Node) -> bool:
    """Whether the node begins with what ends a word: a redirection without a descriptor."""
    return node.type in _REDIRECTS and node.children[0].type != "file_descriptor"
