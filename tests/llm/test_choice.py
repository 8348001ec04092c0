import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermes_acp.config import Settings
from hermes_acp.content import TextBlock
from hermes_acp.events import OptionValue
from hermes_acp.llm import choice
from hermes_acp.llm.base import FinishPart, LoginNeeded, ModelError, Request, TextPart, UserMessage
from hermes_acp.llm.choice import default_model, known_models, open_model, prefetch
from hermes_acp.llm.providers import PROVIDERS
from tests.model_server import ModelServer, answer

REQUEST = Request("", (UserMessage((TextBlock("hi"),)),))

NOTHING_RUNS = {
    "OLLAMA_API_BASE": "http://127.0.0.1:1",
    "LM_STUDIO_API_BASE": "http://127.0.0.1:1/v1",
    "LLAMAFILE_API_BASE": "http://127.0.0.1:1/v1",
    "HOSTED_VLLM_API_BASE": "http://127.0.0.1:1/v1",
}
"""An environment in which no local endpoint answers, whatever this machine runs."""


async def test_the_setting_decides_first() -> None:
    assert await default_model(Settings(model="groq/x"), {"ANTHROPIC_API_KEY": "k"}) == "groq/x"


async def test_then_the_first_provider_with_a_key() -> None:
    env = {"XAI_API_KEY": "k", "OPENAI_API_KEY": "k", "GROQ_API_KEY": " "}
    assert await default_model(Settings(), env) == "openai/gpt-5.6"
    assert (
        await default_model(Settings(keys={"ANTHROPIC_API_KEY": "k"}), env) == "anthropic/claude-sonnet-5-5"
    )
    assert await default_model(Settings(), {"GOOGLE_API_KEY": "k"}) == "gemini/gemini-3.8-flash"


async def test_then_a_local_endpoint_that_answers() -> None:
    async with ModelServer([], models=("nomic-embed-text", "qwen3:8b")) as server:
        ollama = NOTHING_RUNS | {"OLLAMA_API_BASE": f"http://127.0.0.1:{server.port}"}
        assert await default_model(Settings(), ollama) == "ollama_chat/qwen3:8b"
        vllm = NOTHING_RUNS | {"HOSTED_VLLM_API_BASE": server.base_url}
        assert await default_model(Settings(), vllm) == "hosted_vllm/qwen3:8b"
        assert await default_model(Settings(model_base_url=server.base_url), {}) == "openai/qwen3:8b"


async def test_else_there_is_nothing_to_talk_to() -> None:
    assert await default_model(Settings(), NOTHING_RUNS) is None
    async with ModelServer([], models=()) as server:
        assert await default_model(Settings(), NOTHING_RUNS | {"LLAMAFILE_API_BASE": server.base_url}) is None
    assert await default_model(Settings(model_base_url="http://127.0.0.1:1/v1"), {}) is None


async def test_a_server_of_ones_own_needs_no_key() -> None:
    async with ModelServer([answer("hello")]) as server:
        settings = Settings(model="openai/my-model", model_base_url=f"{server.base_url}/")
        model = await open_model(settings.model, settings, {})
        assert [part async for part in model.stream(REQUEST)][::2] == [TextPart("hello"), FinishPart("stop")]
        assert "authorization" not in server.requests[0].headers
        assert server.requests[0].body["model"] == "my-model"
        assert (model.name, model.context_window) == ("openai/my-model", 128_000)
        await model.aclose()


async def test_local_providers_are_found_at_their_own_place() -> None:
    async with ModelServer([answer("hello")]) as server:
        env = {"OLLAMA_API_BASE": f"http://127.0.0.1:{server.port}/"}
        model = await open_model("ollama_chat/qwen3:8b", Settings(allow_real_models=False), env)
        assert TextPart("hello") in [part async for part in model.stream(REQUEST)]
        assert server.requests[0].path == "/v1/chat/completions"
        assert server.requests[0].body["model"] == "qwen3:8b"
        await model.aclose()


async def test_the_base_url_and_its_server_get_no_other_providers_key() -> None:
    async with ModelServer([answer("hello")]) as server:
        settings = Settings(model="openai/m", model_base_url=server.base_url, allow_real_models=False)
        with pytest.raises(ModelError, match="switched off"):
            await open_model("groq/m", settings, {"GROQ_API_KEY": "secret"})


@pytest.mark.parametrize(
    "provider", [each for each in PROVIDERS if each.default_model], ids=lambda each: each.name
)
async def test_a_missing_key_says_which_variable_to_set(provider: choice.Provider) -> None:
    with pytest.raises(LoginNeeded) as caught:
        await open_model(f"{provider.name}/{provider.default_model}", Settings(), {})
    assert provider.key_variables[0] in str(caught.value)


async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    with pytest.raises(LoginNeeded, match="OPENAI_API_KEY") as caught:
        await open_model("openai/gpt-5.6", Settings(), {"OPENAI_API_KEY": "sk-\nsecret"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "gpt-5.6", "openai/", "litellm/openai", "litellm/openai/", "scripted/"])
async def test_a_name_in_no_known_form_is_explained(name: str) -> None:
    with pytest.raises(ModelError, match="provider/model"):
        await open_model(name, Settings(), {})


@pytest.mark.parametrize("url", ["localhost:1234/v1", "ftp://127.0.0.1/v1", "http://", "http://[::1/v1"])
async def test_a_base_url_that_is_none_is_explained(url: str) -> None:
    with pytest.raises(ModelError, match="model_base_url"):
        await open_model("openai/m", Settings(model="openai/m", model_base_url=url), {})


@pytest.mark.parametrize(
    "name", ["openai/gpt-5.6", "anthropic/claude-sonnet-5-5", "bedrock/x", "litellm/openai/m"]
)
async def test_real_models_can_be_switched_off(name: str) -> None:
    env = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    with pytest.raises(ModelError, match="HERMES_EDITOR_ALLOW_REAL_MODELS"):
        await open_model(name, Settings(allow_real_models=False), env)


async def test_a_scripted_model_is_opened_by_its_path(tmp_path: Path) -> None:
    script = tmp_path / "demo.jsonl"
    script.write_text('{"parts": [{"text": "hello"}]}\n')
    model = await open_model(f"scripted/{script}", Settings(allow_real_models=False), {})
    assert model.name == f"scripted/{script}"
    assert TextPart("hello") in [part async for part in model.stream(REQUEST)]
    with pytest.raises(ModelError, match="cannot be read"):
        await open_model("scripted/missing.jsonl", Settings(), {})


def test_the_picker_offers_what_can_be_used() -> None:
    settings = Settings(model="groq/x", models=("groq/y", "groq/x"), keys={"XAI_API_KEY": "k"})
    assert known_models(settings, {"OPENAI_API_KEY": "k"}, "scripted//tmp/demo.jsonl") == (
        OptionValue("scripted//tmp/demo.jsonl", "Script demo.jsonl"),
        OptionValue("groq/x", "groq/x"),
        OptionValue("groq/y", "groq/y"),
        OptionValue("openai/gpt-5.6", "openai/gpt-5.6"),
        OptionValue("xai/grok-4.7", "xai/grok-4.7"),
    )
    assert known_models(Settings(), {}, "") == ()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("openai/gpt-5.6", "hermes_acp.llm.openai_wire"),
        ("ollama_chat/qwen3", "hermes_acp.llm.openai_wire"),
        ("anthropic/claude-sonnet-5-5", "hermes_acp.llm.anthropic_wire"),
        ("litellm/anthropic/claude-sonnet-5-5", "hermes_acp.llm.litellm_model"),
        ("litellm/openai/gpt-5.6", "hermes_acp.llm.litellm_model"),
        ("bedrock/x", "hermes_acp.llm.litellm_model"),
        ("scripted/x", "hermes_acp.llm.scripted"),
        ("nonsense", None),
    ],
)
def test_the_module_behind_a_name_is_known_before_it_is_loaded(name: str, module: str | None) -> None:
    assert prefetch(name) == module


@pytest.mark.programs
def test_choosing_a_model_loads_no_client() -> None:
    code = (
        "import sys, json, hermes_acp.llm.choice, hermes_acp.llm.retry;"
        "print(json.dumps([name for name in ('litellm', 'openai', 'httpx', 'aiohttp', 'orjson',"
        " 'hermes_acp.llm.scripted', 'hermes_acp.llm.openai_wire',"
        " 'hermes_acp.llm.anthropic_wire', 'hermes_acp.llm.litellm_model') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.slow
async def test_a_provider_that_nobody_knows_is_explained() -> None:
    with pytest.raises(ModelError, match="No provider is known for frogs/green"):
        await open_model("frogs/green", Settings(), {})
