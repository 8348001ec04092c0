"""A memory server on loopback that speaks what the adapter needs of Hindsight's HTTP interface, version 1.

The official client reads its answers, so what it sends is checked by others. It finds by words.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
BANK = "/v1/default/banks/{bank}"


@dataclass
class HindsightServer:
    """Banks of documents; `status` answers everything with that status, `hanging` nothing at all."""

    banks: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    status: int = 200
    hanging: bool = False
    url: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> HindsightServer:
        @web.middleware
        async def gate(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._gate(request, handler)

        app = web.Application(middlewares=[gate])
        app.router.add_post(f"{BANK}/memories", self._retain)
        app.router.add_post(f"{BANK}/memories/recall", self._recall)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def known(self) -> list[str]:
        """All that was handed over, in whatever bank."""
        return [text for documents in self.banks.values() for text in documents.values()]

    async def until(self, count: int) -> list[str]:
        """Wait until so many documents were handed over."""
        async with asyncio.timeout(60):
            while len(self.known) < count:
                self.news.clear()
                await self.news.wait()
        return self.known

    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization", ""))
        if self.hanging:
            await asyncio.Event().wait()
        if self.status != 200:
            return web.json_response({"detail": "as it was told"}, status=self.status)
        return await handler(request)

    async def _retain(self, request: web.Request) -> web.Response:
        body: Json = await request.json()
        documents = self.banks.setdefault(request.match_info["bank"], {})
        for item in body["items"]:
            documents[item["document_id"]] = item["content"]
        self.news.set()
        answer = {"success": True, "bank_id": request.match_info["bank"], "items_count": len(body["items"])}
        return web.json_response({**answer, "async": body["async"]})

    async def _recall(self, request: web.Request) -> web.Response:
        body: Json = await request.json()
        self.asked.append(body["query"])
        documents = self.banks.get(request.match_info["bank"])
        if documents is None:
            return web.json_response({"detail": "Bank not found"}, status=404)
        wanted = _words(body["query"])
        found = sorted(documents.items(), key=lambda item: -len(wanted & _words(item[1])))
        results = [
            {"id": name, "text": text, "type": "world"} for name, text in found if wanted & _words(text)
        ]
        return web.json_response({"results": results})


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}
