"""Loaded by Python at the start of the command under test: a blocked event loop is an error there."""

import importlib.util

from blockbuster import BlockBuster

FATAL = "io.BufferedWriter.write"
"""The interpreter crashes at its end when this method was patched."""

if importlib.util.find_spec("hermes_acp") is not None:
    for name, check in BlockBuster("hermes_acp").functions.items():
        # The composition of the server runs before anybody is served.
        check.can_block_in("hermes_acp/app.py", {"running"})
        # Output to a regular file.
        check.can_block_in("hermes_acp/server/streams.py", {"write"})
        if name != FATAL:
            check.activate()
