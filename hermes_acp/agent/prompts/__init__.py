"""The texts that the model reads, as Markdown files with strict variables."""

from __future__ import annotations

import functools
from importlib import resources
from string import Template


def render(name: str, **variables: str) -> str:
    """The text `name`.md with its variables filled in.

    Raises `KeyError` for a variable that is missing and `TypeError` for one that the text does not use.
    """
    template = _template(name)
    unused = variables.keys() - set(template.get_identifiers())
    if unused:
        raise TypeError(f"{name}.md does not use {', '.join(sorted(unused))}")
    return template.substitute(variables)


@functools.cache
def _template(name: str) -> Template:
    return Template((resources.files(__name__) / f"{name}.md").read_text("utf-8"))
