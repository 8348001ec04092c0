"""Our own log: no secret gets into it, tracebacks included."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.programs

PROGRAM = """
import logging
import pytest

from hermes_acp.policy.secrets import logged
logged.begin("%(levelname)s %(message)s")
logging.warning("connecting with %s", "token=x9Kq2Lm7Rt4Wz8")
try:
    raise ValueError("DB_PASSWORD=q7Tz-m2Rw")
except ValueError:
    logging.exception("failed")
"""


def test_messages_and_tracebacks_are_written_without_secrets_before_the_end() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = run.stderr.splitlines()
    assert lines[:2] == ["WARNING connecting with token=[redacted: secret]", "ERROR failed"]
    assert lines[-1] == "ValueError: DB_PASSWORD=[redacted: password]"
