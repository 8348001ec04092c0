"""Changes single values of the user's `config.toml` and leaves everything else as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from hermes_acp.cli.whole_file import replace_file

FILE_MODE = 0o600
FOLDER_MODE = 0o700
KEYS = "keys"

Toml = dict[str, object]

_TABLE = re.compile(r"^\s*\[")
_STRING = r"""("(?:[^"\\]|\\.)*"|'[^']*')"""


class NotEditable(Exception):
    """The file cannot be changed without a risk to it; `str()` says what to write by hand."""


def save(file: Path, values: Mapping[str, str], keys: Mapping[str, str]) -> None:
    """Set top-level strings, and keys under `[keys]`; nobody else can read the file afterwards.

    Raises `NotEditable`, with the file untouched, and `OSError`.
    """
    file.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    file.parent.chmod(FOLDER_MODE)
    try:
        text = edited(file.read_text("utf-8") if file.exists() else "", values, keys)
    except (NotEditable, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise NotEditable(f"{file} was left alone, because {reason}. {_by_hand(values, keys)}") from error
    replace_file(file, text, FILE_MODE)


def edited(text: str, values: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """The text of the file with those values. Raises `NotEditable`."""
    wanted = _parse(text)
    wanted.update(values)
    if keys:
        present = wanted.get(KEYS, {})
        if not isinstance(present, dict):
            raise NotEditable("its `keys` is no table")
        wanted[KEYS] = {**cast("Toml", present), **keys}
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    for name, value in values.items():
        _set(lines, (0, _end(lines, 0)), name, value)
    if keys:
        start = _keys_table(lines)
        for name, value in keys.items():
            _set(lines, (start, _end(lines, start)), name, value)
    changed = "\n".join(lines) + "\n"
    # Lines are a crude model of TOML (strings and arrays span lines): what counts is the result.
    if not _means(changed, wanted):
        raise NotEditable("it is written in a way that cannot be changed safely")
    return changed


def _set(lines: list[str], part: tuple[int, int], name: str, value: str) -> None:
    """Replace the value in these lines, or add it at their end; a comment behind it stays."""
    pattern = re.compile(rf"^(\s*{re.escape(name)}\s*=\s*){_STRING}(.*)$")
    start, end = part
    # JSON's strings are TOML's, as long as no character is written as a pair of surrogates.
    literal = json.dumps(value, ensure_ascii=False)
    for number in range(start, end):
        if match := pattern.match(lines[number]):
            lines[number] = f"{match[1]}{literal}{match[3]}"
            return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, f"{name} = {literal}")


def _keys_table(lines: list[str]) -> int:
    """The line after `[keys]`, which is added when it is missing."""
    header = re.compile(rf"^\s*\[\s*{KEYS}\s*\]\s*(#.*)?$")
    for number, line in enumerate(lines):
        if header.match(line):
            return number + 1
    lines += [*([""] if lines else []), f"[{KEYS}]"]
    return len(lines)


def _end(lines: list[str], start: int) -> int:
    """Where the next table begins."""
    tables = (number for number in range(start, len(lines)) if _TABLE.match(lines[number]))
    return next(tables, len(lines))


def _means(text: str, wanted: Toml) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _parse(text: str) -> Toml:
    try:
        return cast("Toml", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise NotEditable(f"it is not valid TOML ({error})") from error


def _by_hand(values: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """What to write, without the keys themselves."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    lines += [f"{name} = … under [{KEYS}]" for name in keys]
    return f"Write into it: {', '.join(lines)}."
