"""What the raw client hands to tests: sessions, the agent's requests, and its errors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.acp.harness import Agent

Json = dict[str, Any]


class AgentError(Exception):
    """The agent answered with an error."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['message']} ({error['code']})")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: object = error.get("data")


@dataclass
class Asked:
    """A request of the agent; answered at once by a handler, or later by the test."""

    agent: Agent
    id: Any
    method: str
    params: Json
    answered: bool = False
    withdrawn: bool = False

    def answer(self, result: object) -> None:
        """Send the result."""
        self.answered = True
        self.agent.send({"jsonrpc": "2.0", "id": self.id, "result": result})

    def fail(self, code: int, message: str) -> None:
        """Send an error."""
        self.answered = True
        self.agent.send({"jsonrpc": "2.0", "id": self.id, "error": {"code": code, "message": message}})

    def choose(self, kind: str) -> None:
        """Answer a permission request with its option of this kind."""
        option = next(item for item in self.params["options"] if item["kind"] == kind)
        self.answer({"outcome": {"outcome": "selected", "optionId": option["optionId"]}})


@dataclass
class Session:
    """One session as the client sees it."""

    agent: Agent
    id: str
    cwd: Path
    opening: Json

    @property
    def updates(self) -> list[Json]:
        """Every update of this session so far."""
        return [
            line["params"]["update"]
            for line in self.agent.lines
            if line.get("method") == "session/update" and line["params"]["sessionId"] == self.id
        ]

    def of(self, *kinds: str) -> list[Json]:
        """The updates of these kinds so far."""
        return [update for update in self.updates if update["sessionUpdate"] in kinds]

    def text(self, kind: str = "agent_message_chunk") -> str:
        """What the chunks of this kind add up to."""
        return "".join(update["content"]["text"] for update in self.of(kind))

    def begin(self, prompt: str | list[Json]) -> asyncio.Future[Any]:
        """Send a prompt; the future is its result."""
        content = [{"type": "text", "text": prompt}] if isinstance(prompt, str) else prompt
        return self.agent.begin("session/prompt", {"sessionId": self.id, "prompt": content})

    async def prompt(self, prompt: str | list[Json]) -> str:
        """Send a prompt and give the stop reason."""
        return (await self.agent.settled(self.begin(prompt)))["stopReason"]

    def cancel(self) -> None:
        """Cancel everything that runs or waits."""
        self.agent.notify("session/cancel", {"sessionId": self.id})

    async def update(self, kind: str, **members: Any) -> Json:
        """Wait for an update of this kind with these members, past ones included."""

        def fits() -> Json | None:
            return next((item for item in self.of(kind) if members.items() <= item.items()), None)

        return await self.agent.until(fits, f"{kind} {members}")

    async def request(self, method: str, **params: Any) -> Any:
        """A request about this session."""
        return await self.agent.request(method, {"sessionId": self.id, **params})
