"""litellm may block, because it has an event loop of its own; nothing else may."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True)
def event_loop_never_blocks() -> Iterator[None]:
    guard = BlockBuster("hermes_acp")
    for function in guard.functions.values():
        function.can_block_in("hermes_acp/llm/side_loop.py", "_pump")
    guard.activate()
    yield
    guard.deactivate()
