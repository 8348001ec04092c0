"""`hermes-editor models`: which language models can be used, which is the default, and why."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict

from hermes_acp import config
from hermes_acp.cli.command import FAILURE, SUCCESS, Subparsers, table
from hermes_acp.cli.masked import without_password
from hermes_acp.llm import choice, local_endpoints, providers
from hermes_acp.llm.local_endpoints import LocalEndpoint
from hermes_acp.llm.providers import PROVIDERS, Provider
from hermes_acp.policy.rules.rules import visible
from hermes_acp.records import record

LOCAL_MODELS_SHOWN = 20
"""How many models of one local server are listed."""


@record
class Known:
    """A model, whether it can be used as things are, and why (not)."""

    name: str
    usable: bool
    reason: str


@record
class Default:
    """The model of new sessions and what decided that; `name` is None when there is none."""

    name: str | None
    reason: str


def register(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser("models", help="show the models that can be used")
    parser.add_argument("--all", action="store_true", help="also the providers that have no key")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Print the models: 0 when there is a default, else 1. Raises `config.ConfigError`."""
    settings = config.settings(env, config.paths(env).config_file)
    default, models = asyncio.run(_look(settings, env))
    shown = [model for model in models if model.usable or args.all or model.name == default.name]
    if args.json:
        print(
            json.dumps({"default": asdict(default), "models": [asdict(model) for model in shown]}, indent=2)
        )
    else:
        _print(default, shown)
    return SUCCESS if default.name else FAILURE


async def default(settings: config.Settings, env: Mapping[str, str]) -> Default:
    """The model of new sessions; asks the local servers only where nothing else decides."""
    name = await choice.default_model(settings, env)
    return Default(name, _why(name, settings, env))


async def _look(settings: config.Settings, env: Mapping[str, str]) -> tuple[Default, list[Known]]:
    local = [provider for provider in PROVIDERS if provider.name in choice.PROBED]
    endpoints = [LocalEndpoint(provider.name, providers.own_base_url(provider, env)) for provider in local]
    async with asyncio.TaskGroup() as group:
        chosen = group.create_task(default(settings, env))
        probes = [group.create_task(local_endpoints.models(endpoint)) for endpoint in endpoints]
    named = [settings.model, *settings.models, *([chosen.result().name] if chosen.result().name else [])]
    named += [f"{item.name}/{item.default_model}" for item in PROVIDERS if item.default_model]
    models = [_known(name, settings, env) for name in dict.fromkeys(filter(None, named))]
    for endpoint, probe in zip(endpoints, probes, strict=True):
        offered = [f"{endpoint.provider}/{name}" for name in probe.result()[:LOCAL_MODELS_SHOWN]]
        models = [model for model in models if model.name not in offered]
        models += [Known(name, True, f"{endpoint.base_url} offers it") for name in offered]
    return chosen.result(), models


def _known(name: str, settings: config.Settings, env: Mapping[str, str]) -> Known:
    provider = providers.find(name.removeprefix(f"{choice.LITELLM}/").partition("/")[0])
    if name.startswith(f"{choice.SCRIPTED}/"):
        return Known(name, True, "a script")
    if provider is None:
        return Known(name, True, "set by you; litellm knows its key variable")
    if provider.local:
        return Known(name, True, f"a local server at {providers.own_base_url(provider, env)}")
    found = _key_variable(provider, settings, env)
    if found or (settings.model_base_url and name == settings.model):
        return Known(name, True, f"{found} is set" if found else f"{_address(settings)} needs no key")
    return Known(name, False, f"set {provider.key_variables[0]}" if provider.key_variables else "no key")


def _why(name: str | None, settings: config.Settings, env: Mapping[str, str]) -> str:
    """The reason for `choice.default_model`, in its order."""
    if name is None:
        return "no model is set, no provider's key is there, and no local server answers"
    if settings.model:
        variable = f"{config.PREFIX}MODEL"
        return f"{variable} names it" if env.get(variable) else "config.toml names it"
    provider = providers.find(name.partition("/")[0])
    if settings.model_base_url or provider is None:
        return f"{_address(settings)} offers it"
    if provider.local:
        return f"no key is there, and {providers.own_base_url(provider, env)} answers"
    return f"{_key_variable(provider, settings, env)} is set"


def _key_variable(provider: Provider, settings: config.Settings, env: Mapping[str, str]) -> str:
    """The variable that gives the key, and where it is set; empty when there is none."""
    for name in provider.key_variables:
        if config.provider_key(env, settings, name).strip():
            return name if env.get(name) else f"{name} in config.toml"
    return ""


def _address(settings: config.Settings) -> str:
    return without_password(settings.model_base_url)


def _print(default: Default, models: list[Known]) -> None:
    if default.name is None:
        print("There is no model to use: no key is set, and no local server answers.")
        print("`hermes-editor --setup` sets one up; `hermes-editor models --all` shows the providers.")
    else:
        print(f"Default: {visible(default.name)} ({default.reason})")
    if models:
        rows = [("", "MODEL", "USABLE", "WHY")]
        for model in models:
            mark = "*" if model.name == default.name else ""
            rows.append((mark, visible(model.name), "yes" if model.usable else "no", model.reason))
        print(f"\n{table(rows)}")
