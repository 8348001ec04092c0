"""Secrets as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

SHOWN_OF_A_KEY = 4
SHORTEST_SHOWN = 16
"""Of a shorter key no part is shown: its end would be too much of it."""


def masked(key: str) -> str:
    """A key, recognisable by its end and useless."""
    return f"…{key[-SHOWN_OF_A_KEY:]}" if len(key) >= SHORTEST_SHOWN else "…"


def without_password(url: str) -> str:
    """An address without the credentials and the query that it may carry."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
