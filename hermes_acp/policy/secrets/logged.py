"""Log lines without secrets, whoever writes them; looked through and written in a thread of their own."""

from __future__ import annotations

import atexit
import logging
from logging.handlers import QueueHandler, QueueListener
from queue import Queue

from hermes_acp.policy.secrets import redact

LINES_BOUND = 10_000
"""Lines that may wait to be written; over it the program says on standard error that some were lost."""


class WithoutSecrets(logging.Formatter):
    """Formats as its base does, tracebacks included, and puts marks in place of secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return redact(super().format(record))


def begin(log_format: str) -> None:
    """Log to standard error from now on, until the process ends."""
    handler = logging.StreamHandler()
    handler.setFormatter(WithoutSecrets(log_format))
    waiting: Queue[logging.LogRecord] = Queue(LINES_BOUND)
    listener = QueueListener(waiting, handler)
    listener.start()
    atexit.register(listener.stop)
    logging.getLogger().addHandler(QueueHandler(waiting))
