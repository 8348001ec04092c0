"""The model providers we know by name: where they answer and which variable holds their key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from hermes_acp.config import LOOPBACK_HOSTS, Settings, provider_key
from hermes_acp.records import record

Echo = Literal["nothing", "thoughts", "details"]
"""The reasoning that a provider wants to see again while tools are called: none, the text as
`reasoning_content`, or its own `reasoning_details` unchanged."""


@record
class Provider:
    """One provider under litellm's name for it; an empty `base_url` means: spoken to through litellm.

    The first of `key_variables` is the one that messages tell the user to set. `local` endpoints
    need no key. `default_model` is what a present key alone gives. `model_prefix` goes before names
    without a slash.
    """

    name: str
    base_url: str = ""
    key_variables: tuple[str, ...] = ()
    default_model: str = ""
    base_variables: tuple[str, ...] = ()
    local: bool = False
    echo: Echo = "nothing"
    short_call_ids: bool = False
    model_prefix: str = ""


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "anthropic",
        "https://api.anthropic.com",
        ("ANTHROPIC_API_KEY",),
        "claude-sonnet-5-5",
        ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
    ),
    Provider(
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        "gpt-5.6",
        ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    ),
    Provider(
        "openrouter",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        "openrouter/auto",
        ("OPENROUTER_API_BASE",),
        echo="details",
    ),
    Provider("gemini", "", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-3.8-flash"),
    Provider(
        "deepseek",
        "https://api.deepseek.com/v1",
        ("DEEPSEEK_API_KEY",),
        "deepseek-v4-pro",
        ("DEEPSEEK_API_BASE",),
        echo="thoughts",
    ),
    Provider("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",), "openai/gpt-oss-120b"),
    Provider(
        "mistral",
        "https://api.mistral.ai/v1",
        ("MISTRAL_API_KEY",),
        "devstral-latest",
        ("MISTRAL_API_BASE",),
        short_call_ids=True,
    ),
    Provider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",), "grok-4.7", ("XAI_API_BASE",)),
    Provider("cerebras", "https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), "gpt-oss-120b"),
    Provider("moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), "kimi-k3", echo="thoughts"),
    Provider("zai", "https://api.z.ai/api/paas/v4", ("ZAI_API_KEY",), "glm-5.3", echo="thoughts"),
    Provider(
        "together_ai",
        "https://api.together.xyz/v1",
        ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
        "zai-org/GLM-5.3",
    ),
    Provider(
        "fireworks_ai",
        "https://api.fireworks.ai/inference/v1",
        ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        "glm-5p3",
        model_prefix="accounts/fireworks/models/",
    ),
    Provider("ollama_chat", "http://127.0.0.1:11434/v1", base_variables=("OLLAMA_API_BASE",), local=True),
    Provider("ollama", "http://127.0.0.1:11434/v1", base_variables=("OLLAMA_API_BASE",), local=True),
    Provider(
        "lm_studio",
        "http://127.0.0.1:1234/v1",
        ("LM_STUDIO_API_KEY",),
        base_variables=("LM_STUDIO_API_BASE",),
        local=True,
    ),
    Provider("llamafile", "http://127.0.0.1:8080/v1", base_variables=("LLAMAFILE_API_BASE",), local=True),
    Provider(
        "hosted_vllm",
        "http://127.0.0.1:8000/v1",
        ("HOSTED_VLLM_API_KEY",),
        base_variables=("HOSTED_VLLM_API_BASE",),
        local=True,
    ),
    Provider("azure", "", ("AZURE_API_KEY",)),
    Provider("cohere_chat", "", ("COHERE_API_KEY",)),
    Provider("huggingface", "", ("HF_TOKEN", "HUGGINGFACE_API_KEY")),
)
"""In the order in which a present key decides; the local ones in the order in which they are asked."""

_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def find(name: str) -> Provider | None:
    """The provider of that name, None when only litellm may know it."""
    return _BY_NAME.get(name)


def key_of(provider: Provider, settings: Settings, env: Mapping[str, str]) -> str:
    """The provider's key, empty when there is none."""
    keys = (provider_key(env, settings, name) for name in provider.key_variables)
    return next((key.strip() for key in keys if key.strip()), "")


def own_base_url(provider: Provider, env: Mapping[str, str]) -> str:
    """Where the provider answers when no `model_base_url` says otherwise."""
    stated = next((env[name] for name in provider.base_variables if env.get(name)), "")
    url = (stated or provider.base_url).rstrip("/")
    is_ollama = provider.name in ("ollama", "ollama_chat")
    return f"{url}/v1" if is_ollama and not url.endswith("/v1") else url


def is_loopback(url: str) -> bool:
    """Whether the URL stays on this machine."""
    return _host(url) in LOOPBACK_HOSTS


def is_http(url: str) -> bool:
    """Whether this is an absolute http or https URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The HTTP proxy that the environment names for this URL; loopback never goes through one."""
    host = _host(url)
    if host in LOOPBACK_HOSTS or _is_excepted(host, env):
        return None
    scheme = urlsplit(url).scheme
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    stated = next((env[name] for name in names if env.get(name)), "")
    return stated if is_http(stated) else None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_excepted(host: str, env: Mapping[str, str]) -> bool:
    names = (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",")
    suffixes = [name.strip().lstrip("*").lstrip(".").lower() for name in names]
    return "*" in (name.strip() for name in names) or any(
        suffix and (host == suffix or host.endswith("." + suffix)) for suffix in suffixes
    )
