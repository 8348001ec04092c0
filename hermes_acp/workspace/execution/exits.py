"""Hears of a child's end without a thread where the system can tell, with one where it cannot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable


def watch_exit(child: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
    """Call `ended` on the running loop once `child` has ended; its status is for `child.poll()`."""
    if not watch_by_descriptor(child, ended):
        watch_by_thread(child, ended)


def watch_by_descriptor(child: subprocess.Popen[bytes], ended: Callable[[], None]) -> bool:
    """The way of Linux since 5.3; False where the system refuses a process descriptor."""
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.pidfd_open(child.pid)
    except OSError:
        return False
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended()

    loop.add_reader(descriptor, readable)
    return True


def watch_by_thread(child: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
    """The way of every other system: a thread of its own, so that no pool fills with waiting."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        child.wait()
        try:
            loop.call_soon_threadsafe(ended)
        except RuntimeError:
            # The loop is closed: nobody is left who wants to know.
            return

    threading.Thread(target=wait, name=f"command-{child.pid}", daemon=True).start()
