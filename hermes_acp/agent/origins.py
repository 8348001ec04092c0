"""Where windows come from: each one's environment decides its settings, its models and its commands.

A server is shared by windows that were started with different keys, models and paths. Nothing of
the server's own environment reaches their sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

from hermes_acp import config
from hermes_acp.agent.models import Models
from hermes_acp.config import Settings
from hermes_acp.policy.secrets.lines import SHORTEST, of_environment
from hermes_acp.records import record

MODELS_BOUND = 32
"""Sets of models that are kept for windows that may come back; more only while sessions use them."""


@record
class Origin:
    """One window's surroundings. `env` is what its commands see: no secrets, nothing of ours."""

    settings: Settings
    models: Models
    env: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What the environment and the configuration have besides: nothing that is told may hold it."""


class Origins:
    """Makes origins; windows whose settings and keys are the same share their models."""

    def __init__(self, file: Path, in_use: Callable[[Models], bool]) -> None:
        self._file = file
        self._in_use = in_use
        self._models: dict[frozenset[tuple[str, str]], Models] = {}
        self._opening = asyncio.Lock()

    async def of(self, env: Mapping[str, str], cwd: str) -> Origin:
        """The origin of a window with this environment. Raises `config.ConfigError`."""
        settings = await asyncio.to_thread(config.settings, env, self._file, cwd)
        key = frozenset([*config.for_models(env).items(), ("", settings.model_dump_json())])
        async with self._opening:
            models = self._models.pop(key, None)
            if models is None:
                await self._make_room()
                models = Models(lambda: config.settings(env, self._file, cwd), settings, env)
            self._models[key] = models
        return Origin(settings, models, config.child_environment(env), _secrets(env, settings))

    async def aclose(self) -> None:
        """Close all models."""
        for models in self._models.values():
            await models.aclose()
        self._models.clear()

    async def _make_room(self) -> None:
        """Close the models that were asked for least recently, unless a session uses them."""
        for key in [key for key, models in self._models.items() if not self._in_use(models)]:
            if len(self._models) < MODELS_BOUND:
                return
            await self._models.pop(key).aclose()


def _secrets(env: Mapping[str, str], settings: Settings) -> tuple[str, ...]:
    keys = (key for key in settings.keys.values() if len(key) >= SHORTEST)
    return tuple(dict.fromkeys((*of_environment(env), *keys)))
