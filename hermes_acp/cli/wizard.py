"""`hermes-editor --setup`: asks in a terminal for a model and its key and writes `config.toml`."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Mapping

from hermes_acp import config
from hermes_acp.cli import config_file
from hermes_acp.cli.command import SUCCESS, fail
from hermes_acp.cli.masked import masked
from hermes_acp.content import TextBlock
from hermes_acp.llm import choice, local_endpoints, providers
from hermes_acp.llm.base import ModelError, Request, TextPart, UserMessage
from hermes_acp.llm.local_endpoints import LocalEndpoint
from hermes_acp.llm.providers import PROVIDERS, Provider
from hermes_acp.records import record

ATTEMPTS = 3
"""How often a question is asked before we give up."""
TEST_SECONDS = 60.0
LOCAL_MODELS_SHOWN = 10

OTHER = "other"
MENU = tuple(provider for provider in PROVIDERS if provider.default_model or provider.local)


class GaveUp(Exception):
    """The user left, or gave no usable answer; `str()` is what to print."""


@record
class Chosen:
    """What the user wants: a model, where it answers (empty: the usual place), a new key or none."""

    model: str
    base_url: str = ""
    key_variable: str = ""
    key: str = ""


def run(env: Mapping[str, str]) -> int:
    """Ask, write, and test where that is wanted. 0 means that a model is set up.

    Raises `config.ConfigError` when the settings as they are cannot be read.
    """
    file = config.paths(env).config_file
    try:
        settings = config.settings(env, file)
        chosen = _choose(settings, env)
        _save(chosen, settings, env)
        if _is_yes("Send a short request to the model now, to test it? [y/N] "):
            asyncio.run(_test(config.settings(env, file), env))
    except EOFError:
        return fail("\nNothing was written.")
    except OSError as error:
        return fail(f"{error.filename or file} cannot be written: {error.strerror}.")
    except (GaveUp, config_file.NotEditable, ModelError) as error:
        return fail(str(error))
    print("Done. An editor that is open notices at its next login, or when it is started again.")
    return SUCCESS


# --- questions -----------------------------------------------------------------------------------


def _choose(settings: config.Settings, env: Mapping[str, str]) -> Chosen:
    print("Which language model should the agent use?")
    print(f"Now: {settings.model}\n" if settings.model else "")
    for number, provider in enumerate(MENU, 1):
        print(f"{number:3}  {provider.name:14} {_hint(provider, settings, env)}")
    print(f"{len(MENU) + 1:3}  {OTHER:14} any model that litellm knows, or a server of your own\n")
    provider = _provider()
    return _other(settings, env) if provider is None else _known(provider, settings, env)


def _provider() -> Provider | None:
    """The provider that was picked, None for another one."""
    for _ in range(ATTEMPTS):
        answer = input("Number or name: ").strip().lower()
        if answer in (OTHER, str(len(MENU) + 1)):
            return None
        for number, provider in enumerate(MENU, 1):
            if answer in (provider.name, str(number)):
                return provider
        print(f"There is no {answer!r} in the list.")
    raise GaveUp("No provider was chosen. Nothing was written.")


def _known(provider: Provider, settings: config.Settings, env: Mapping[str, str]) -> Chosen:
    default = provider.default_model
    if provider.local:
        url = providers.own_base_url(provider, env)
        found = asyncio.run(local_endpoints.models(LocalEndpoint(provider.name, url)))
        print(f"{url} offers: {', '.join(found[:LOCAL_MODELS_SHOWN]) or 'no answer; is it running?'}")
        default = found[0] if found else ""
    model = _required(f"Model [{default}]: " if default else "Model: ", default)
    model = f"{provider.name}/{model.removeprefix(f'{provider.name}/')}"
    if provider.local or not provider.key_variables:
        return Chosen(model)
    return _with_key(Chosen(model, key_variable=provider.key_variables[0]), settings, env)


def _other(settings: config.Settings, env: Mapping[str, str]) -> Chosen:
    model = _required("Model, as provider/model (openai/NAME for a server that speaks its format): ", "")
    name, _, rest = model.partition("/")
    if not rest:
        raise GaveUp(f"{model!r} does not name a model. {choice.HOW_TO_NAME} Nothing was written.")
    url = input("Base URL (empty: where the provider usually answers): ").strip()
    if url and not providers.is_http(url):
        raise GaveUp(f"{url!r} is no http or https URL. Nothing was written.")
    provider = providers.find(name)
    usual = provider.key_variables[0] if provider and provider.key_variables else ""
    variable = input(f"Variable for its key [{usual or 'none'}]: ").strip() or usual
    if not variable:
        return Chosen(model, url)
    if not variable.isidentifier():
        raise GaveUp(f"{variable!r} is no name of a variable. Nothing was written.")
    return _with_key(Chosen(model, url, variable), settings, env)


def _with_key(chosen: Chosen, settings: config.Settings, env: Mapping[str, str]) -> Chosen:
    variable = chosen.key_variable
    present = config.provider_key(env, settings, variable)
    keep = f" (Enter keeps {masked(present)})" if present else " (Enter: none)"
    for _ in range(ATTEMPTS):
        key = _secret(f"Key for {variable}, not shown{keep}: ").strip()
        if all(char.isascii() and char.isprintable() and char != " " for char in key):
            return Chosen(chosen.model, chosen.base_url, variable, key)
        print("That holds characters that no key has. Copy it once more.")
    raise GaveUp("No usable key was entered. Nothing was written.")


def _required(prompt: str, default: str) -> str:
    for _ in range(ATTEMPTS):
        answer = input(prompt).strip() or default
        if answer.isprintable() and answer and " " not in answer:
            return answer
        print("Please write a name without spaces.")
    raise GaveUp("No model was chosen. Nothing was written.")


def _is_yes(prompt: str) -> bool:
    try:
        return input(prompt).strip().lower() in ("y", "yes")
    except EOFError:
        # All that matters was answered before.
        print()
        return False


def _secret(prompt: str) -> str:
    # getpass would bypass a pipe and read from the terminal behind it.
    return getpass.getpass(prompt) if sys.stdin.isatty() else input(prompt)


def _hint(provider: Provider, settings: config.Settings, env: Mapping[str, str]) -> str:
    if provider.local:
        return f"a server on this machine, {providers.own_base_url(provider, env)}"
    found = "found" if providers.key_of(provider, settings, env) else "needs"
    return f"{provider.default_model} ({found} {provider.key_variables[0]})"


# --- effects -------------------------------------------------------------------------------------


def _save(chosen: Chosen, settings: config.Settings, env: Mapping[str, str]) -> None:
    file = config.paths(env).config_file
    values = {"model": chosen.model}
    if chosen.base_url or settings.model_base_url:
        # An address that belonged to the model before must not receive this one's key.
        values["model_base_url"] = chosen.base_url
    keys = {chosen.key_variable: chosen.key} if chosen.key else {}
    config_file.save(file, values, keys)
    print(f"Wrote {file}.")
    prefixed = {config.PREFIX + name.upper(): value for name, value in values.items()}
    for name, value in (prefixed | keys).items():
        if env.get(name, value) != value:
            print(f"The environment sets {name}, which goes before the file: remove it there.")


async def _test(settings: config.Settings, env: Mapping[str, str]) -> None:
    """Ask the model for a word. Raises `ModelError`, and `GaveUp` when it takes too long."""
    model = await choice.open_model(settings.model, settings, env)
    question = Request("Answer with one word.", (UserMessage((TextBlock("Are you there?"),)),))
    stream = model.stream(question)
    try:
        async with asyncio.timeout(TEST_SECONDS):
            text = "".join([part.text async for part in stream if isinstance(part, TextPart)])
    except TimeoutError as error:
        raise GaveUp(f"{settings.model} did not answer within {TEST_SECONDS:g} s; it stays set.") from error
    finally:
        await stream.aclose()
        await model.aclose()
    print(f"{settings.model} answers: {text.strip()[:200]}")
