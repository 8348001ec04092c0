from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.programs


def test_the_whole_package_can_be_had_later_and_has_the_same_classes() -> None:
    code = (
        "import sys\n"
        "from hermes_acp.server import dispatch\n"
        "assert 'jsonrpcserver' not in sys.modules and 'jsonschema' not in sys.modules\n"
        "import jsonrpcserver\n"
        "assert jsonrpcserver.Success is dispatch.Success\n"
        "assert jsonrpcserver.dispatch('{}') != ''\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_package_that_is_there_already_stays() -> None:
    code = (
        "import sys, jsonrpcserver\n"
        "from hermes_acp.server import dispatch\n"
        "assert sys.modules['jsonrpcserver'] is jsonrpcserver\n"
        "assert jsonrpcserver.JsonRpcError is dispatch.JsonRpcError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
