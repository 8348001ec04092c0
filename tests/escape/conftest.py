"""Each test runs in every kind of sandbox that works here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.escape.cells import Ground, backends, make, seen_folder

KINDS = backends()


@pytest.fixture(params=KINDS)
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    backend = await asyncio.to_thread(KINDS[request.param])
    if backend is None:
        pytest.skip(f"{request.param} does not work on this machine")
    with seen_folder() as folder:
        place = await asyncio.to_thread(make, folder, backend)
        yield place
        await place.execution.aclose()
