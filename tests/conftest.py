"""What holds for every test: our code may not block the event loop, and no real model is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

# No property has a deadline: the machine may be slow or busy. The unit run tries less of each.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("full", settings.default, **PATIENT)
settings.register_profile("unit", settings.default, max_examples=20, **PATIENT)
settings.load_profile("full")


@pytest.fixture(autouse=True, scope="session")
def event_loop_never_blocks() -> Iterator[None]:
    """A blocking call of ours on the event loop raises `BlockingError` where it happens.

    For the whole run: to patch all these functions for each test takes longer than most tests.
    """
    guard = BlockBuster("hermes_acp")
    # The interpreter crashes at its end when this method was patched.
    del guard.functions["io.BufferedWriter.write"]
    for check in guard.functions.values():
        # The composition of the server runs before anybody is served.
        check.can_block_in("hermes_acp/app.py", {"running"})
    guard.activate()
    yield
    guard.deactivate()


@pytest.fixture(autouse=True, scope="session")
def no_real_model() -> Iterator[None]:
    """Commands that tests start inherit this switch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMES_EDITOR_ALLOW_REAL_MODELS", "0")
        yield
