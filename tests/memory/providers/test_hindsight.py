"""The adapter of Hindsight, by its official client: against a server of ours, and a real one if it runs."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from hermes_acp.memory.providers.base import Provider, ProviderError, SaidTurn
from tests.memory.providers.hindsight_server import HindsightServer

pytestmark = pytest.mark.programs

REAL = os.environ.get("HINDSIGHT_URL", "")
"""A real server, such as `hindsight-api` of PyPI starts."""
LOOKS = 100
"""Times that a real server is asked for what it was told, which it thinks about first."""


Connect = Callable[[str, str], Provider]


@pytest.fixture(scope="module")
def connect() -> Connect:
    """The adapter."""
    # Here, because each worker of a run imports this file, and the client takes a second to import.
    module = pytest.importorskip(
        "hermes_acp.memory.providers.hindsight",
        reason="needs pip install 'hermes-editor[hindsight]'",
        exc_type=ModuleNotFoundError,
    )
    return module.HindsightProvider


@pytest.fixture(
    params=[
        "ours",
        pytest.param(
            "real", marks=pytest.mark.skipif(not REAL, reason="needs a Hindsight server at HINDSIGHT_URL")
        ),
    ]
)
async def provider(request: pytest.FixtureRequest, connect: Connect) -> AsyncIterator[Provider]:
    async with HindsightServer() as server:
        made = connect(server.url if request.param == "ours" else REAL, "")
        yield made
        await made.aclose()


@pytest.fixture
def bank() -> str:
    return f"hermes-{uuid.uuid4()}"


def turn(user: str, number: int = 1) -> SaidTurn:
    return SaidTurn("s1", f"t{number}", time.time(), user, "Noted.")


async def found(provider: Provider, bank: str, query: str) -> Sequence[str]:
    """What is found once there is something."""
    for _ in range(LOOKS):
        if passages := await provider.prefetch(bank, query):
            return passages
        await asyncio.sleep(0.1)
    return ()


async def test_what_was_said_is_found_and_only_in_its_bank(provider: Provider, bank: str) -> None:
    await provider.sync_turn(bank, turn("The orders are kept in SQLite."))
    [passage] = await found(provider, bank, "Where are the orders kept?")
    assert "The orders are kept in SQLite." in passage
    assert [*await provider.ask("recall", bank, "Which database has the orders?")] == [passage]
    assert await provider.prefetch(f"{bank}-other", "Where are the orders kept?") == ()
    await provider.on_session_end(bank, "s1")


async def test_the_same_turn_again_is_one(provider: Provider, bank: str) -> None:
    for _ in range(2):
        await provider.sync_turn(bank, turn("The orders are kept in SQLite."))
        await found(provider, bank, "Where are the orders kept?")
    assert len(await found(provider, bank, "Where are the orders kept?")) == 1


async def test_the_key_goes_to_the_server_and_nowhere_else(connect: Connect) -> None:
    async with HindsightServer() as server:
        provider = connect(f"{server.url}/", "hsk_secret")
        assert await provider.prefetch("b", "orders") == ()
        server.status = 401
        with pytest.raises(ProviderError) as refused:
            await provider.sync_turn("b", turn("x"))
        await provider.aclose()
    assert server.keys == {"Bearer hsk_secret"}
    assert str(refused.value) == "it answered (401) Reason: Unauthorized"


async def test_the_certificates_of_the_machine_are_not_read_on_the_loop_of_the_caller(
    connect: Connect,
) -> None:
    called: set[str] = set()
    async with HindsightServer() as server:
        provider = connect(server.url, "")
        # Sees the calls of this thread alone.
        sys.setprofile(lambda frame, _event, _argument: called.add(frame.f_code.co_name))
        try:
            assert await provider.prefetch("b", "orders") == ()
        finally:
            sys.setprofile(None)
        await provider.aclose()
    assert "prefetch" in called
    assert "create_default_context" not in called
