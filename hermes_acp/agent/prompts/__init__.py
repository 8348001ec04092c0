"""The texts that the model reads, as Markdown files with strict variables."""

from __future__ import annotations

import functools
from importlib import resources
from string import Template


def render(name: str, **variables: str) -> str:
    """The text `name`.md with its variables filled in.

    Raises `KeyError` for a variable that is missing and `TypeError` for one that the text does not use.
    """
    template = _templates()[name]
    unused = variables.keys() - set(template.get_identifiers())
    if unused:
        raise TypeError(f"{name}.md does not use {', '.join(sorted(unused))}")
    return template.substitute(variables)


def load() -> None:
    """Read all texts; blocking, once: afterwards `render` finds them in memory."""
    _templates()


@functools.cache
def _templates() -> dict[str, Template]:
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".md")]
    return {file.name.removesuffix(".md"): Template(file.read_text("utf-8")) for file in files}
