"""Types into a running command, through its terminal or a pipe."""

from __future__ import annotations

import asyncio
import os

from hermes_acp.workspace.execution.base import END_OF_INPUT, ExecutionError
from hermes_acp.workspace.execution.ends import Ends

INPUT_TIMEOUT = 2.0
"""Seconds that a command may take to read what is typed, once its buffer is full."""


class Keyboard:
    """The writing end of a command's input; belongs to the loop."""

    def __init__(self, ends: Ends) -> None:
        assert ends.input is not None
        self._descriptor = ends.input
        self._is_terminal = bool(ends.terminal)
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self.open = True
        """Whether more can be typed."""

    async def type(self, text: str) -> None:
        """Type all of `text`, after what others are typing. Raises `ExecutionError`.

        What was typed when the caller is cancelled stays typed.
        """
        # A terminal knows the end of the input by this character, a pipe by being closed.
        ends = not self._is_terminal and text.endswith(END_OF_INPUT)
        data = memoryview(text.removesuffix(END_OF_INPUT if ends else "").encode("utf-8", "replace"))
        async with self._turn:
            try:
                async with asyncio.timeout(INPUT_TIMEOUT):
                    while data:
                        data = data[await self._write(data) :]
            except TimeoutError:
                raise ExecutionError(
                    f"The command does not read: {len(data)} bytes of the input were not taken."
                ) from None
            if ends:
                self.close()

    def close(self) -> None:
        """Nothing more is typed."""
        if self.open:
            self.open = False
            asyncio.get_running_loop().remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._room.set()

    async def _write(self, data: memoryview) -> int:
        while self.open:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                await self._wait()
            except OSError as error:
                raise ExecutionError(f"The command has closed its input ({error.strerror}).") from error
        raise ExecutionError("The command takes no input any more: it has ended, or its input was ended.")

    async def _wait(self) -> None:
        self._room.clear()
        loop = asyncio.get_running_loop()
        loop.add_writer(self._descriptor, self._room.set)
        try:
            await self._room.wait()
        finally:
            if self.open:
                loop.remove_writer(self._descriptor)
