"""Which model to use, and how it is reached.

Imported at the start of the program, so the clients, which load heavy libraries, are imported in a
worker thread when a model is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from pathlib import PurePath
from typing import cast

from hermes_acp.config import Settings, provider_key
from hermes_acp.events import OptionValue
from hermes_acp.llm import catalog, providers
from hermes_acp.llm.base import LoginNeeded, Model, ModelError
from hermes_acp.llm.catalog import ModelInfo
from hermes_acp.llm.local_endpoints import LocalEndpoint, first_model
from hermes_acp.llm.providers import PROVIDERS, Provider
from hermes_acp.llm.route import Dialect, Route

SCRIPTED = "scripted"
LITELLM = "litellm"
"""`litellm/provider/model` goes through litellm even where a lean client would do."""

SCRIPTED_CLIENT = "hermes_acp.llm.scripted"
LEAN_CLIENT = "hermes_acp.llm.openai_wire"
LITELLM_CLIENT = "hermes_acp.llm.litellm_model"
OWN_FORMATS = {"anthropic": "hermes_acp.llm.anthropic_wire"}
"""The clients for providers with a format of their own; all others that we reach speak OpenAI's."""

PROBED = ("ollama_chat", "lm_studio", "llamafile", "hosted_vllm")
"""The local endpoints that are tried, in this order, when nothing is set."""

NO_KEY = "none"
"""What litellm, which insists on a key, sends to a server of the user's own."""

LITELLM_CREDENTIALS: dict[str, dict[str, str]] = {
    "bedrock": {
        "AWS_ACCESS_KEY_ID": "aws_access_key_id",
        "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
        "AWS_SESSION_TOKEN": "aws_session_token",
        "AWS_REGION_NAME": "aws_region_name",
    },
    "azure": {"AZURE_API_BASE": "api_base", "AZURE_API_VERSION": "api_version"},
}
"""Variables beside the key that some providers need, and litellm's arguments for them."""

CACHES_MARKED_PROMPTS = ("anthropic", "bedrock", "vertex_ai")

HOW_TO_NAME = "Write provider/model, such as anthropic/claude-sonnet-5-5 or ollama_chat/qwen3."


async def default_model(settings: Settings, env: Mapping[str, str]) -> str | None:
    """The model to use when a session names none; None when there is nothing to talk to.

    The setting; else what `model_base_url` on this machine offers; else the default of the first
    provider with a key; else the first local endpoint that answers within a short time.
    """
    if settings.model:
        return settings.model
    if _can_probe(settings.model_base_url):
        return await first_model((LocalEndpoint("openai", settings.model_base_url),))
    if defaults := _defaults(settings, env):
        return defaults[0]
    local = [(name, providers.own_base_url(_provider(name), env)) for name in PROBED]
    return await first_model([LocalEndpoint(name, url) for name, url in local if _can_probe(url)])


async def open_model(name: str, settings: Settings, env: Mapping[str, str]) -> Model:
    """The model of that name, ready to be asked; nothing is sent yet.

    Raises `LoginNeeded` when its key is missing and `ModelError` when the name cannot be understood,
    the script is bad, or real models are switched off; each says what to do.
    """
    provider_name, _, rest = name.partition("/")
    if not rest:
        raise ModelError(f"{name!r} does not name a model. {HOW_TO_NAME}")
    what = rest if provider_name == SCRIPTED else await _route(name, settings, env)
    # Importing a client takes a while, in which the event loop has to go on.
    client = await asyncio.to_thread(import_module, _client(provider_name))
    return cast("Model", await client.open_model(what))


def known_models(settings: Settings, env: Mapping[str, str], current: str) -> tuple[OptionValue, ...]:
    """What a model picker offers: the current model, those in the settings, those that a key opens."""
    names = (current, settings.model, *settings.models, *_defaults(settings, env))
    return tuple(OptionValue(name, _label(name)) for name in dict.fromkeys(names) if name)


def prefetch(name: str) -> str | None:
    """The module that opening this model imports, for whoever wants to load it early (in a thread)."""
    provider_name, _, rest = name.partition("/")
    return _client(provider_name) if rest else None


def _client(provider_name: str) -> str:
    if provider_name == SCRIPTED:
        return SCRIPTED_CLIENT
    if not _provider(provider_name).base_url:
        return LITELLM_CLIENT
    return OWN_FORMATS.get(provider_name, LEAN_CLIENT)


async def _route(name: str, settings: Settings, env: Mapping[str, str]) -> Route:
    is_lean = _client(name.partition("/")[0]) != LITELLM_CLIENT
    plain = _plain(name)
    provider_name, _, model = plain.partition("/")
    if not model:
        raise ModelError(f"{name!r} does not name a model. {HOW_TO_NAME}")
    provider = _provider(provider_name)
    stated = settings.model_base_url if _provider_of(settings.model) == provider_name else ""
    url = stated or providers.own_base_url(provider, env)
    _check_url(name, url, settings)
    key = providers.key_of(provider, settings, env)
    variable = next(iter(provider.key_variables), "")
    if not stated:
        _check_key(name, provider, key)
    info = await catalog.lookup(plain)
    if stated or provider.local:
        info = info.without_price()
    if is_lean:
        model = model if "/" in model else provider.model_prefix + model
        dialect = _lean_dialect(name, provider, info)
        return Route(name, model, dialect, url, info, key, variable, env)
    dialect = _litellm_dialect(name, provider_name, info)
    credentials = _credentials(provider_name, settings, env)
    key = key or (NO_KEY if stated else "")
    return Route(name, plain, dialect, stated, info, key, variable, env, credentials)


def _lean_dialect(name: str, provider: Provider, info: ModelInfo) -> Dialect:
    return Dialect(
        model=name,
        images=info.accepts_images,
        thoughts=provider.echo == "thoughts",
        blocks="reasoning_details" if provider.echo == "details" else "",
        short_call_ids=provider.short_call_ids,
        cache_marks=name.startswith("openrouter/anthropic/"),
    )


def _litellm_dialect(name: str, provider_name: str, info: ModelInfo) -> Dialect:
    return Dialect(
        model=name,
        images=info.accepts_images,
        blocks="thinking_blocks",
        short_call_ids=provider_name == "mistral",
        cache_marks=provider_name in CACHES_MARKED_PROMPTS and "claude" in name,
    )


def _check_url(name: str, url: str, settings: Settings) -> None:
    if url and not providers.is_http(url):
        raise ModelError(f"The base URL {url!r} for {name} is no http or https URL. Correct model_base_url.")
    if not settings.allow_real_models and not providers.is_loopback(url):
        raise ModelError(
            f"{name} is a real model, and those are switched off (HERMES_EDITOR_ALLOW_REAL_MODELS). "
            "Use a scripted model or one on this machine."
        )


def _check_key(name: str, provider: Provider, key: str) -> None:
    if not provider.key_variables or provider.local:
        return
    variable = provider.key_variables[0]
    if not key:
        raise LoginNeeded(
            f"{name} needs a key and there is none. Set {variable} in the environment or under [keys] in "
            "config.toml, or choose another model."
        )
    if not (key.isascii() and key.isprintable()):
        raise LoginNeeded(f"The key in {variable} holds characters that no key has. Copy it once more.")


def _credentials(provider_name: str, settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    wanted = LITELLM_CREDENTIALS.get(provider_name, {})
    found = {argument: provider_key(env, settings, variable) for variable, argument in wanted.items()}
    return {argument: value for argument, value in found.items() if value}


def _defaults(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """The default models of the providers with a key, the preferred first."""
    return [
        f"{provider.name}/{provider.default_model}"
        for provider in PROVIDERS
        if provider.default_model and providers.key_of(provider, settings, env)
    ]


def _provider(name: str) -> Provider:
    """What we know of the provider; of one that only litellm may know, the name."""
    return providers.find(name) or Provider(name)


def _provider_of(name: str) -> str:
    """The provider that `model_base_url` belongs to: the set model's, so that no key goes astray."""
    return _plain(name).partition("/")[0] if name else "openai"


def _plain(name: str) -> str:
    return name.removeprefix(f"{LITELLM}/")


def _can_probe(url: str) -> bool:
    return url.startswith("http://") and providers.is_loopback(url)


def _label(name: str) -> str:
    provider, _, rest = name.partition("/")
    return f"Script {PurePath(rest).name}" if provider == SCRIPTED else name
