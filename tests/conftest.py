"""What holds for every test: our code may not block the event loop, and no real model is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True)
def event_loop_never_blocks() -> Iterator[None]:
    """A blocking call of ours on the event loop raises `BlockingError` where it happens."""
    guard = BlockBuster("hermes_acp")
    # The interpreter crashes at its end when this method was patched.
    del guard.functions["io.BufferedWriter.write"]
    for check in guard.functions.values():
        # The composition of the server runs before anybody is served.
        check.can_block_in("hermes_acp/app.py", {"running"})
    guard.activate()
    yield
    guard.deactivate()


@pytest.fixture(autouse=True)
def no_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that tests start inherit this switch."""
    monkeypatch.setenv("HERMES_EDITOR_ALLOW_REAL_MODELS", "0")
