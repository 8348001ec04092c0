"""One connection: reads bytes, finds out the protocol, and serves it until the input ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol

from hermes_acp.server import framing, messages
from hermes_acp.server.framing import BadHeader, LineFramer, Oversize
from hermes_acp.server.messages import Error
from hermes_acp.server.rpc import Peer
from hermes_acp.server.streams import Streams

PATIENCE = 0.2
"""Seconds that reading waits for a client that does not read: then its cancel and its end must be seen."""


class Service(Protocol):
    """A protocol's side of a connection."""

    @property
    def peer(self) -> Peer:
        """Where frames go."""
        ...

    def close(self) -> None:
        """The connection is over."""
        ...


async def serve(
    streams: Streams, protocol: str, services: Mapping[str, Callable[[Streams], Service]], limit: int
) -> None:
    """Serve one connection until its input ends. `protocol` empty: the first byte decides.

    `services` makes the service of each protocol; `limit` is the bytes of one message.
    """
    head = b""
    while not protocol:
        data = await streams.read()
        head += data
        protocol = (framing.sniff(head) or "") if data else "acp"
    framer = framing.HeaderFramer(limit) if protocol == "lsp" else LineFramer(limit)
    service = services[protocol](streams)

    async def read() -> None:
        data = head
        while True:
            for frame in framer.feed(data):
                _deliver(service.peer, frame)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await streams.drain()
            data = await streams.read()
            if not data:
                break
        for frame in framer.close():
            _deliver(service.peer, frame)

    try:
        await service.peer.run(read)
    finally:
        service.close()
        await streams.close()


def _deliver(peer: Peer, frame: framing.Frame) -> None:
    match frame:
        case bytes():
            peer.receive(frame)
        case Oversize(limit):
            problem = f"The message is longer than {limit} bytes and was dropped."
            peer.reject(Error(messages.INVALID_REQUEST, problem))
        case BadHeader():
            peer.reject(Error(messages.PARSE_ERROR, "The header has no usable Content-Length."))
