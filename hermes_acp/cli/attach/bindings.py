"""Keys and what they do, as a short table would have it."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.filters import Always, Filter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys


class Bindings:
    """Keys that work under a condition, before those that edit a line."""

    def __init__(self, keys: KeyBindings, when: Filter | None = None) -> None:
        self._keys = keys
        self._when = Always() if when is None else when

    def on(self, *keys: Keys | str, do: Callable[[], object], when: Filter | None = None) -> None:
        """Do this when these keys are pressed one after the other."""

        def handle(_: KeyPressEvent) -> None:
            do()

        condition = self._when if when is None else self._when & when
        # Escape begins other keys, and is meant alone only when nothing follows.
        self._keys.add(*keys, filter=condition, eager="escape" not in keys)(handle)

    def on_others(self, do: Callable[[str], object]) -> None:
        """Do this with every key that has nothing else to do."""

        def handle(event: KeyPressEvent) -> None:
            do(event.data)

        self._keys.add(Keys.Any, filter=self._when, eager=True)(handle)
