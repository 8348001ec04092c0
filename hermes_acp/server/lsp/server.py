"""The language server half: it keeps the protocol's manners and says that it offers nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from hermes_acp import __version__
from hermes_acp.server.dispatch import JsonRpcError, Result, Success
from hermes_acp.server.messages import Id
from hermes_acp.server.rpc import Call, Method, Peer
from hermes_acp.server.streams import Streams

SERVER_NOT_INITIALIZED = -32002
WARNING = 2
MESSAGE = (
    "hermes-editor offers no language features yet. Use it as an agent: "
    "configure `hermes-editor acp` in an editor that speaks the Agent Client Protocol."
)


class LspClient:
    """The service behind one connection (`server.rpc.Service`)."""

    def __init__(self, streams: Streams) -> None:
        self.initialized = False
        self.peer = Peer(self, lambda data: streams.write(framed(data)))

    @property
    def methods(self) -> Mapping[str, Method]:
        """The two requests that every server answers."""
        return {"initialize": initialize, "shutdown": shutdown}

    @property
    def notifications(self) -> Mapping[str, Method]:
        """The two notifications that matter."""
        return {"initialized": initialized, "exit": leave}

    def lane(self, params: object) -> str:  # noqa: ARG002 (the seam's signature)
        """Everything in order."""
        return ""

    def cancel_deferred(self, request_id: Id) -> None:
        """Nothing is deferred."""

    def close(self) -> None:
        """Nothing is held."""


def framed(body: bytes) -> bytes:
    """A message with its header."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def initialize(call: Call, /, **_params: object) -> Result:
    """Offer nothing."""
    client = cast("LspClient", call.service)
    client.initialized = True
    return Success({"capabilities": {}, "serverInfo": {"name": "hermes-editor", "version": __version__}})


async def initialized(call: Call, /, **_params: object) -> Result:
    """Tell the user what to do instead."""
    call.peer.notify("window/showMessage", {"type": WARNING, "message": MESSAGE})
    return Success(None)


async def shutdown(call: Call, /, **_params: object) -> Result:
    """Prepare to leave."""
    if not cast("LspClient", call.service).initialized:
        raise JsonRpcError(SERVER_NOT_INITIALIZED, "Call initialize first.")
    return Success(None)


async def leave(call: Call, /, **_params: object) -> Result:
    """End the connection."""
    call.peer.end()
    return Success(None)
