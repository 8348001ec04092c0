"""What `find` is told: whether it gives names of plain files of the workspace and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hermes_acp.policy.commands.arguments import Given

RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
"""What makes it run commands."""

_PRINTS = frozenset({"-print", "-printf", "-ls", *RUNS})
_OTHERWISE = frozenset({"!", "-not", "-o", "-or", ",", "(", ")", "--"})


def plain_files(words: Sequence[Given]) -> bool:
    """Whether `find` gives plain files and nothing else: links may lead out of the workspace."""
    texts = [word.text for word in words]
    typed = any(pair == ("-type", "f") for pair in itertools.pairwise(texts))
    return typed and _OTHERWISE.isdisjoint(texts)


def lists_files(words: Sequence[Given]) -> bool:
    """Whether `find` prints the names of plain files, each ended by a NUL, and nothing else."""
    texts = {word.text for word in words}
    return plain_files(words) and "-print0" in texts and _PRINTS.isdisjoint(texts)
