"""Reads what a bash reports about itself at the end of a command: pure functions over bytes.

Only what is understood to the last byte is taken; a later command is judged by the names found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from hermes_acp.records import record
from hermes_acp.workspace.execution.shell_script import END, OURS, STARTUP
from hermes_acp.workspace.execution.shell_state import Functions, ShellState

NOT_KEPT = frozenset(
    (
        *("BASHOPTS", "COLUMNS", "COMP_KEY", "COMP_TYPE", "COMP_WORDBREAKS", "COPROC", "DIRSTACK"),
        *("EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "HOSTNAME"),
        *("HOSTTYPE", "IFS", "LINENO", "LINES", "MACHTYPE", "MAPFILE", "OPTARG", "OPTERR", "OPTIND"),
        *("OSTYPE", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PS4", "PWD", "RANDOM", "REPLY"),
        *("SECONDS", "SHELLOPTS", "SHLVL", "SRANDOM", "TERM", "UID", "_"),
    )
)
"""Variables that bash makes by itself, and those that belong to one command."""

_DOUBLE = rb'"(?:[^"\\]|\\.)*+"'
_ANSI = rb"\$'(?:[^'\\]|\\.)*+'"
_SINGLE = rb"'[^']*+'(?:\\''[^']*+')*+"
_ARRAY = rb"\((?:[^\"$')]|\$(?!')|" + b"|".join((_DOUBLE, _ANSI, _SINGLE)) + rb")*+\)"
_VALUE = b"|".join((_DOUBLE, _ANSI, _SINGLE, _ARRAY))
_DECLARATION = re.compile(
    rb"declare -(?P<flags>[A-Za-z-]+) (?P<name>[A-Za-z_]\w*)(?:=(?P<value>" + _VALUE + rb"))?\n",
    re.DOTALL | re.ASCII,
)
_ALIAS = re.compile(rb"alias (?:-- )?(?P<name>[^\s='\"$`/\\]+)=(?:" + _SINGLE + rb")\n", re.DOTALL)
_FUNCTION = re.compile(r"declare -f(?P<flags>[A-Za-z]*) (?P<name>[^\s]+)")
_OPTION = re.compile(r"(?:shopt -[su] \w+|set [-+]o [\w-]+|umask [0-7]+)", re.ASCII)
_IN_DOUBLE = re.compile(rb'\\([$`"\\\n])')
_IN_ANSI = re.compile(
    rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|(.))", re.DOTALL
)
_ESCAPES = {
    b"a": b"\a",
    b"b": b"\b",
    b"e": b"\x1b",
    b"E": b"\x1b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


class Unreadable(Exception):
    """A report that is not complete, or not understood; `str()` says what of it."""


@record
class Report:
    """A shell as it describes itself, in whole; `options` are all of them."""

    cwd: str
    exported: Mapping[str, str]
    variables: Mapping[str, str]
    aliases: Mapping[str, str]
    functions: Functions
    options: tuple[str, ...]

    def state(self, env: Mapping[str, str], new: Report) -> ShellState:
        """The difference to a shell that begins with the environment `env` and is otherwise as `new`."""
        usual = frozenset(new.options)
        return ShellState(
            self.cwd,
            {name: value for name, value in self.exported.items() if env.get(name) != value},
            frozenset(name for name in env if keeps(name) and name not in self.exported),
            {name: text for name, text in self.variables.items() if new.variables.get(name) != text},
            self.aliases,
            self.functions,
            tuple(option for option in self.options if option not in usual),
        )


def keeps(name: str) -> bool:
    """Whether a variable of this name lasts from one command to the next."""
    of_bash = name.startswith("BASH") and name not in STARTUP
    return name.isidentifier() and not of_bash and not name.startswith(OURS) and name not in NOT_KEPT


def read(report: bytes) -> Report:
    """Read a report. Raises `Unreadable`."""
    sections = report.split(b"\0")
    if len(sections) != 7 or sections[-1] != END:
        raise Unreadable("it is not complete")
    exported, variables = _variables(sections[1])
    return Report(
        cwd=_directory(sections[0]),
        exported=exported,
        variables=variables,
        aliases=dict(_aliases(sections[4])),
        functions=_functions(sections[2], sections[3]),
        options=_options(sections[5]),
    )


def _directory(section: bytes) -> str:
    try:
        cwd = section.removesuffix(b"\n").decode()
    except UnicodeDecodeError:
        raise Unreadable("the name of its directory is not valid UTF-8") from None
    if not cwd.startswith("/") or not cwd.isprintable():
        raise Unreadable("its directory is gone, or has an unprintable name")
    return cwd


def _variables(section: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Values of the plain exported variables, and the declarations of all others."""
    exported: dict[str, str] = {}
    others: dict[str, str] = {}
    for match in _all(_DECLARATION, section, "its variables"):
        name, value, flags = match["name"].decode(), match["value"], match["flags"]
        if not keeps(name):
            continue
        # An array is not handed to other programs, though it may be marked so.
        handed = value is not None and b"x" in flags and not set(b"aAn") & set(flags)
        if value is not None and handed:
            exported[name] = _text(_unquoted(value))
        if not handed or flags != b"x":
            others[name] = _text(match[0].removesuffix(b"\n"))
    return exported, others


def _aliases(section: bytes) -> Iterable[tuple[str, str]]:
    for match in _all(_ALIAS, section, "its aliases"):
        yield _text(match["name"]), _text(match[0].removesuffix(b"\n"))


def _functions(text: bytes, listing: bytes) -> Functions:
    lines = _text(listing).splitlines()
    found = [match for line in lines if (match := _FUNCTION.fullmatch(line))]
    if len(found) != len(lines) or bool(found) != bool(text):
        raise Unreadable("its functions are not understood")
    return Functions(
        _text(text),
        frozenset(match["name"] for match in found),
        frozenset(match["name"] for match in found if "x" in match["flags"]),
    )


def _options(section: bytes) -> tuple[str, ...]:
    lines = _text(section).splitlines()
    if not lines or not all(map(_OPTION.fullmatch, lines)):
        raise Unreadable("its options are not understood")
    return tuple(lines)


def _all(pattern: re.Pattern[bytes], section: bytes, what: str) -> Iterable[re.Match[bytes]]:
    position = 0
    while position < len(section):
        if (match := pattern.match(section, position)) is None:
            raise Unreadable(f"{what} are not understood")
        yield match
        position = match.end()


def _unquoted(value: bytes) -> bytes:
    if value.startswith(b'"'):
        return _IN_DOUBLE.sub(rb"\1", value[1:-1])
    if value.startswith(b"$'"):
        return _IN_ANSI.sub(_meant, value[2:-1])
    return value[1:-1].replace(b"'\\''", b"'")


def _meant(match: re.Match[bytes]) -> bytes:
    octal, byte, short, long, other = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if byte is not None:
        return bytes([int(byte, 16)])
    if short is not None or long is not None:
        return chr(int(short or long, 16)).encode()
    return _ESCAPES.get(other, other)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
