"""How `hermes-editor server` talks with the running server: two methods of JSON-RPC, a line each."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from hermes_acp import __version__, endpoint
from hermes_acp.server.daemon import Daemon, Work
from hermes_acp.server.dispatch import Result, Success
from hermes_acp.server.messages import Id, Json
from hermes_acp.server.rpc import Call, Method, Peer
from hermes_acp.server.stalls import StallWatch
from hermes_acp.server.streams import Streams

PROTOCOL = endpoint.CONTROL
LINE_LIMIT = 4_096
"""Bytes of one request."""


class ControlClient:
    """The service behind a control connection (`server.rpc.Service`)."""

    def __init__(self, streams: Streams, daemon: Daemon, work: Work, stalls: StallWatch) -> None:
        self.peer = Peer(self, streams.write)
        self._daemon = daemon
        self._work = work
        self._stalls = stalls

    @property
    def methods(self) -> Mapping[str, Method]:
        """Requests by name."""
        return {"status": self._status, "stop": self._stop}

    @property
    def notifications(self) -> Mapping[str, Method]:
        """None."""
        return {}

    def lane(self, params: object) -> str:  # noqa: ARG002 (the seam's signature)
        """Everything in order."""
        return ""

    def cancel_deferred(self, request_id: Id) -> None:
        """Nothing is deferred."""

    def close(self) -> None:
        """Nothing is held."""

    async def _status(self, call: Call, /, **_params: object) -> Result:  # noqa: ARG002
        windows: list[Json] = [
            {
                "protocol": visitor.hello.protocol or "from the first byte",
                "pid": visitor.hello.pid,
                "cwd": visitor.hello.cwd,
                "since": visitor.since,
            }
            for visitor in self._daemon.visitors.values()
            if visitor.hello.protocol != PROTOCOL
        ]
        return Success(
            {
                "pid": os.getpid(),
                "version": __version__,
                "since": self._daemon.started,
                "seconds": time.time() - self._daemon.started,
                "address": self._daemon.address,
                "windows": windows,
                "sessions": self._work.opened,
                "running": self._work.running,
                "longestStall": self._stalls.longest,
            }
        )

    async def _stop(self, call: Call, /, **params: object) -> Result:
        """Refused while turns run, unless they may be cancelled (`force`) or are waited for (`wait`).

        The answer is the number of running turns, and whether the server ends.
        """
        running = self._work.running
        force, wait = params.get("force") is True, params.get("wait") is True
        stops = not running or force or wait
        # Before the end, which takes this connection with it.
        call.answer({"running": running, "stops": stops})
        if wait and running and not force:
            self._daemon.retire()
        elif stops:
            self._daemon.stop()
        return Success({})
