"""The models that the sessions of a server use: chosen, opened once, shared, closed at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from hermes_acp.config import Settings
from hermes_acp.events import OptionValue
from hermes_acp.llm import choice
from hermes_acp.llm.base import LoginNeeded, Model, ModelError

NO_MODEL = (
    "No language model is set up. Set HERMES_EDITOR_MODEL=provider/model and the provider's key "
    "(for example ANTHROPIC_API_KEY or OPENAI_API_KEY), or run `hermes-editor --setup` in a terminal, "
    "or start a local model server such as Ollama."
)

logger = logging.getLogger(__name__)


class Models:
    """Opens models by name. `reload` reads the settings again, for keys that were added meanwhile."""

    def __init__(self, load: Callable[[], Settings], settings: Settings, env: Mapping[str, str]) -> None:
        self._load = load
        self._env = env
        self._settings = settings
        self._opened: dict[str, Model] = {}
        self._retired: list[Model] = []
        self._opening = asyncio.Lock()
        self._default: str | None = None
        self._locked_out = False

    async def default(self) -> str:
        """The model for new sessions. Raises `LoginNeeded` when there is none."""
        if self._locked_out:
            raise LoginNeeded("You are logged out. Authenticate to go on.")
        if self._default is None:
            self._default = await choice.default_model(self._settings, self._env)
        if self._default is None:
            raise LoginNeeded(NO_MODEL)
        return self._default

    def known(self, current: str) -> tuple[OptionValue, ...]:
        """The models to offer."""
        return choice.known_models(self._settings, self._env, current)

    async def warm(self, name: str) -> None:
        """Open the model ahead of its first use; trouble is reported when it is really used."""
        try:
            await self.open(name)
        except ModelError as error:
            logger.info("%s cannot be opened yet: %s", name, error)
        except Exception:  # boundary: no session may end because getting ready for it failed
            logger.exception("%s cannot be opened", name)

    async def open(self, name: str) -> Model:
        """The model, ready to be asked. Raises `ModelError`, `LoginNeeded` among them."""
        if self._locked_out:
            raise LoginNeeded("You are logged out. Authenticate to go on.")
        async with self._opening:
            if name not in self._opened:
                self._opened[name] = await choice.open_model(name, self._settings, self._env)
            return self._opened[name]

    async def login(self) -> None:
        """Read the settings again and check that there is a model. Raises `LoginNeeded`."""
        self._locked_out = False
        await self.reload()
        await self.open(await self.default())

    async def logout(self) -> None:
        """Use no key until the next login."""
        await self.reload()
        self._locked_out = True

    async def reload(self) -> None:
        """Forget the opened models and read the settings again."""
        self._settings = await asyncio.to_thread(self._load)
        self._default = None
        self._retired += self._opened.values()
        self._opened = {}

    async def aclose(self) -> None:
        """Close all models, those that turns still used after a reload included."""
        for model in (*self._opened.values(), *self._retired):
            await model.aclose()
