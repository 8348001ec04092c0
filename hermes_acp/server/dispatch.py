"""What we use of jsonrpcserver, without what importing the whole package brings besides.

Its `__init__` compiles a JSON schema for a validator that we replace by our own checks, and loads an
HTTP server: together a tenth of what starting the server costs. So the modules that we need are
imported while bare packages stand in; who imports the packages later gets them whole, with the
same classes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from importlib.util import find_spec, module_from_spec


@contextlib.contextmanager
def _bare(*names: str) -> Generator[None]:
    """Have these packages in place without running their `__init__`, unless that has happened."""
    specs = {name: find_spec(name) for name in names if name not in sys.modules}
    stand_ins = {name: module_from_spec(spec) for name, spec in specs.items() if spec is not None}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


with _bare("jsonrpcserver", "oslash"):
    from jsonrpcserver.async_dispatcher import dispatch_to_response_pure as dispatch_to_response_pure
    from jsonrpcserver.exceptions import JsonRpcError as JsonRpcError
    from jsonrpcserver.response import to_serializable as to_serializable
    from jsonrpcserver.result import Result as Result
    from jsonrpcserver.result import Success as Success
