"""Identifiers: unique, readable in logs, and safe in file names and every provider's wire format."""

from __future__ import annotations

import secrets
import time

LETTERS = b"0123456789abcdefghijklmnopqrstuv" * 8
"""One for each value of a byte."""


def session() -> str:
    """A session id that sorts by the time of its making."""
    return f"s{int(time.time() * 1000):011x}{_random(12)}"


def turn() -> str:
    """A turn id."""
    return f"t{_random(12)}"


def message() -> str:
    """A message id."""
    return f"m{_random(12)}"


def call() -> str:
    """A tool call id: nine letters and digits, the narrowest form that a provider demands."""
    return f"c{_random(8)}"


def request() -> str:
    """The id of an approval, a question or a compaction."""
    return f"r{_random(12)}"


def _random(length: int) -> str:
    return secrets.token_bytes(length).translate(LETTERS).decode("ascii")
