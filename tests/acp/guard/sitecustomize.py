"""Loaded by Python at the start of the command under test: a blocked event loop is an error there."""

import atexit
import importlib.util

from blockbuster import BlockBuster

if importlib.util.find_spec("hermes_acp") is not None:
    guard = BlockBuster("hermes_acp")
    for check in guard.functions.values():
        # The composition of the server, before anybody is served.
        check.can_block_in("hermes_acp/app.py", {"running"})
    guard.activate()
    # The interpreter does not survive its own end with patched built-in types.
    atexit.register(guard.deactivate)
