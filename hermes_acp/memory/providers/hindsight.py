"""Hindsight as a memory service, by its official client: the only module that imports `hindsight_client`.

Loaded late, in a thread: the client takes a second to import. It is used apart, because it reads all
certificates of the machine on the loop of its first request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hindsight_client import Hindsight
from hindsight_client_api.exceptions import ApiException, NotFoundException

from hermes_acp.memory.providers.apart import Apart
from hermes_acp.memory.providers.base import ProviderError, SaidTurn

ANSWER_TOKENS = 1_000
"""Tokens of an answer, as the service counts them."""
SECONDS = 30.0
"""The client's own timeout; whoever calls may have less patience."""
WHO = "hermes-editor"


class HindsightProvider:
    """One Hindsight server (`base.Provider`); the key may be empty."""

    def __init__(self, url: str, key: str) -> None:
        # Recall is not repeated: a turn waits for it.
        self._client = Hindsight(url, key or None, timeout=SECONDS, user_agent=WHO, max_attempts=1)
        self._apart = Apart("hindsight")

    async def prefetch(self, bank: str, query: str) -> Sequence[str]:
        """The passages that the service finds fast."""
        return await self._recall(bank, query, "low")

    async def sync_turn(self, bank: str, turn: SaidTurn) -> None:
        """Hand the turn over; the service thinks about it later. Its id makes it one document."""
        try:
            await self._apart.run(
                self._client.aretain(
                    bank,
                    f"User: {turn.user}\n\nAgent: {turn.agent}",
                    timestamp=datetime.fromtimestamp(turn.at, UTC).isoformat(),
                    context="a turn of a coding session",
                    document_id=f"{turn.session}-{turn.turn}",
                    tags=[f"session:{turn.session}"],
                    retain_async=True,
                )
            )
        except ApiException as error:
            raise _refusal(error) from error

    async def on_session_end(self, bank: str, session: str) -> None:
        """Nothing to say: the service consolidates by itself what it was told."""

    async def ask(self, tool: str, bank: str, query: str) -> Sequence[str]:  # noqa: ARG002 -- it has one
        """A search that may take longer than what is offered to each prompt."""
        return await self._recall(bank, query, "mid")

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            await self._apart.run(self._client.aclose())
        finally:
            await self._apart.aclose()

    async def _recall(self, bank: str, query: str, budget: str) -> Sequence[str]:
        try:
            found = await self._apart.run(
                self._client.arecall(bank, query, max_tokens=ANSWER_TOKENS, budget=budget)
            )
        except NotFoundException:
            # The first turn of a project makes its bank.
            return ()
        except ApiException as error:
            raise _refusal(error) from error
        return tuple(result.text for result in found.results)


def _refusal(error: ApiException) -> ProviderError:
    # `(503)`, `Reason: …`; behind them come headers and the body, which nobody needs.
    status = " ".join(str(error).partition("HTTP response")[0].split())
    return ProviderError(f"it answered {status}")
