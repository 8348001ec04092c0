"""litellm takes seconds to load: the tests of a module share the process in which it lives."""

from collections.abc import AsyncIterator

import pytest_asyncio

from hermes_acp.config import Settings
from hermes_acp.llm.choice import open_model

SERVER = Settings(model="litellm/openai/m", model_base_url="http://127.0.0.1:1/v1", allow_real_models=False)
ENV = {"OPENAI_API_KEY": "sk-secret", "ANTHROPIC_API_KEY": "sk-ant-secret"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def litellm_stays() -> AsyncIterator[dict[str, str]]:
    """Keeps litellm loaded; the environment in which models share it."""
    model = await open_model(SERVER.model, SERVER, ENV)
    yield ENV
    await model.aclose()
