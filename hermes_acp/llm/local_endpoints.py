"""Model servers on this machine: do they run, and which models do they have?

Written on bare sockets, because no heavy HTTP library may be loaded to find that nothing is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from hermes_acp.llm.loose_json import as_list, as_object, as_text
from hermes_acp.records import record

PROBE_SECONDS = 0.5
"""How long a local endpoint may take to answer before it counts as absent."""

MAX_ANSWER_BYTES = 1024 * 1024
NOT_FOR_TALKING = ("embed", "rerank", "whisper", "tts")
"""Words in the names of models that cannot hold a conversation."""


@record
class LocalEndpoint:
    """An endpoint to try: the provider's name and its base URL (http, loopback)."""

    provider: str
    base_url: str


async def first_model(endpoints: Sequence[LocalEndpoint]) -> str | None:
    """`provider/model` of the first endpoint, in the given order, that answers and has a model."""
    async with asyncio.TaskGroup() as group:
        probes = [group.create_task(models(endpoint)) for endpoint in endpoints]
    for endpoint, probe in zip(endpoints, probes, strict=True):
        if found := probe.result():
            return f"{endpoint.provider}/{found[0]}"
    return None


async def models(endpoint: LocalEndpoint) -> tuple[str, ...]:
    """The models that an endpoint says it has; empty when it does not answer in time."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            answer = await _get(f"{endpoint.base_url.rstrip('/')}/models")
        payload = cast("object", json.loads(answer.partition(b"\r\n\r\n")[2]))
    except (OSError, ValueError, RecursionError):
        return ()
    listed = [as_text(as_object(item).get("id")) for item in as_list(as_object(payload).get("data"))]
    return tuple(
        name for name in listed if name and not any(word in name.lower() for word in NOT_FOR_TALKING)
    )


async def _get(url: str) -> bytes:
    """The head and body of an answer; HTTP/1.0, so that the end of the body is the end of the stream."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        head = f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("latin-1"))
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < MAX_ANSWER_BYTES and (piece := await reader.read(65536)):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        writer.close()
