"""Programs in a word: the scripts of sed, awk and jq that only read and print.

Each function gives why a script needs a question, or an empty text. What is not surely harmless is
not: a script is asked for rather than understood wrongly.
"""

from __future__ import annotations

import re

_AWK_WORDS = re.compile(
    r"\b(?:system|getline|close|fflush|ARGV|ARGC|ENVIRON|SYMTAB|PROCINFO|FUNCTAB|extension)\b|@"
)
_JQ_WORDS = re.compile(r"\b(?:import|include|modulemeta|get_search_list)\b")
_SED_PLAIN = frozenset("=dDgGhHlnNpPqQxzF")
_SED_FLAGS = re.compile(r"[0-9gpiIM]*")
_SED_ADDRESS = re.compile(r"[0-9$~+,! \t]+")


def awk(script: str) -> str:
    """Whether an awk program may run commands, or write or read files by name."""
    if found := _AWK_WORDS.search(script):
        return f"its program holds `{found.group()}`"
    if "|" in script.replace("||", ""):
        return "its program may hold a pipe"
    return "its program may write a file" if _awk_redirects(script) else ""


def _awk_redirects(script: str) -> bool:
    """A `>` is a comparison in a pattern or in parentheses, and a redirection after `print`."""
    braces = parens = 0
    quoted = False
    for index, char in enumerate(script):
        following = script[index + 1 : index + 2]
        if char == ">" and following != "=":
            # Behind a quote or slash the depth is not sure any more.
            if quoted or following == ">" or (braces > 0 and parens == 0):
                return True
        elif char in '"/#\\':
            quoted = True
        braces += (char == "{") - (char == "}")
        parens += (char == "(") - (char == ")")
    return False


def jq(script: str) -> str:
    """Whether a jq filter looks at more than its input."""
    found = _JQ_WORDS.search(script)
    return f"its filter holds `{found.group()}`" if found else ""


def sed(script: str) -> str:
    """Whether a sed script may run commands, or write or read files."""
    index = 0
    while index < len(script):
        end = _sed_command(script, index)
        if end is None:
            return "its script may do more than print"
        index = end
    return ""


def _sed_command(script: str, index: int) -> int | None:
    """The end of the command that begins at `index`, None for one that is not known."""
    index = _sed_address(script, index)
    if index >= len(script):
        return index
    char = script[index]
    if char in "{};\n":
        return index + 1
    if char == "s":
        return _sed_substitute(script, index + 1)
    if char == "y":
        end = _sed_parts(script, index + 1)
        return None if end is None else _sed_end(script, end)
    if char in _SED_PLAIN:
        return _sed_end(script, index + 1)
    return None


def _sed_address(script: str, index: int) -> int:
    """The first place after blanks, line numbers and patterns."""
    while index < len(script):
        if match := _SED_ADDRESS.match(script, index):
            index = match.end()
        elif script[index] == "/":
            end = _sed_until(script, index + 1, "/")
            if end is None:
                return index
            index = end
            if script[index : index + 1] in ("I", "M"):
                index += 1
        else:
            break
    return index


def _sed_substitute(script: str, index: int) -> int | None:
    end = _sed_parts(script, index)
    if end is None:
        return None
    flags = _SED_FLAGS.match(script, end)
    return _sed_end(script, flags.end() if flags else end)


def _sed_parts(script: str, index: int) -> int | None:
    """The end of two parts with a delimiter before, between and after them."""
    delimiter = script[index : index + 1]
    if not delimiter or delimiter in "\\\n" or delimiter.isalnum():
        return None
    middle = _sed_until(script, index + 1, delimiter)
    return None if middle is None else _sed_until(script, middle, delimiter)


def _sed_until(script: str, index: int, delimiter: str) -> int | None:
    """Behind the next delimiter; a set in a pattern may hold one, so none of those may."""
    while index < len(script):
        char = script[index]
        if char == delimiter:
            return index + 1
        if char == "[" and delimiter in script[index : script.find("]", index + 2) + 1]:
            return None
        index += 2 if char == "\\" else 1
    return None


def _sed_end(script: str, index: int) -> int | None:
    """After a command stand blanks and then a separator, or a number for `q` and `l`."""
    match = re.compile(r"[ \t]*[0-9]*[ \t]*").match(script, index)
    index = match.end() if match else index
    if index == len(script):
        return index
    return index if script[index] in ";}\n" else None
