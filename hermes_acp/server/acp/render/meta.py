"""What we say beyond the protocol."""

from __future__ import annotations

from hermes_acp.server.messages import Json


def hermes(**members: str | bool | None) -> Json:
    """`_meta` with what the protocol has no member for; nothing when there is nothing to say."""
    known = {name: value for name, value in members.items() if value}
    return {"_meta": {"hermes": known}} if known else {}
