"""The start of the program is light: what may be imported when, and where imports may hide."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hermes_acp"

NEVER_AT_THE_START = {
    "aiohttp",
    "git",
    "httpx",
    "json_repair",
    "litellm",
    "lsprotocol",
    "mcp",
    "openai",
    "prompt_toolkit",
    "pygls",
    "rich",
    "tree_sitter",
    "tree_sitter_bash",
    "hermes_acp.agent.memory.grounds",
    "hermes_acp.agent.memory.notebook",
    "hermes_acp.llm.litellm_model",
    "hermes_acp.llm.openai_wire",
    "hermes_acp.llm.scripted",
    "hermes_acp.memory.facts.store",
    "hermes_acp.tools.files",
    "hermes_acp.tools.mcp.connection",
    "hermes_acp.tools.terminal",
    "hermes_acp.tools.toolset",
    "hermes_acp.workspace.execution.machine",
    "jsonschema",
}
"""What takes long to load and is needed by no answer to `initialize` or `session/new`."""

LATE = {
    "agent/calls.py": "json_repair: only for arguments that are malformed",
    "agent/context.py": "git's side of the surroundings: after the first session was answered, in a thread",
    "agent/memory/remembering.py": "what `/memory` and reflection stand on: at the first need, in a thread",
    "agent/memory/shared.py": "facts and the identity of projects: at the first need, in a thread",
    "agent/mentions.py": "the reading of references: for prompts that have some, in a thread",
    "agent/orders.py": "git's side of taking turns back: at the first such command, in a thread",
    "agent/session.py": "what runs turns: at the first prompt, in a thread",
    "app.py": "the tool families: after the first session was answered, in a thread",
    "cli/main.py": "one command of many is run",
    "cli/server.py": "the whole server: only to run it",
    "endpoint.py": "the start of a server: only when none runs; cryptography: only without Unix sockets",
    "llm/choice.py": "the clients of models: when one is opened, in a thread",
    "memory/providers/opening.py": "the client of a memory service: where one is configured, in a thread",
    "policy/injection/__init__.py": "tables and patterns: at the first scan, in a thread",
    "policy/secrets/__init__.py": "the same: at the first redaction",
    "policy/commands/classify.py": "the parser: at the first command, in a thread",
    "records.py": "nothing: it compiles constructors",
    "storage/integrity.py": "what reads damaged files: when there is one, in SQLite's thread",
    "shim.py": "everything: the descriptors have to be safe first",
    "tools/mcp/tools.py": "the mcp package: only for sessions with servers, in a thread",
    "workspace/execution/local.py": "processes and sandboxes: at the first command, in a thread",
    "workspace/memory_repository/repository.py": "GitPython: when facts are read or written, in a thread",
}
"""The files that import late, and what for."""


def imported(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code."""
    report = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_server_starts_without_what_it_needs_later() -> None:
    assert imported("import hermes_acp.app") & NEVER_AT_THE_START == set()


WINDOW = {"endpoint", "folders", "local_socket", "private_folder", "shim"}
"""Our modules that every window loads."""
TOO_SLOW = {"asyncio", "dataclasses", "hashlib", "json", "logging", "pathlib", "ssl", "subprocess", "typing"}
"""What is in the standard library and would cost a window more than all the rest."""


@pytest.mark.parametrize("module", ["hermes_acp.shim", "hermes_acp.__main__"])
def test_a_window_begins_with_little_of_the_standard_library_alone(module: str) -> None:
    new = imported(f"import {module}") - imported("")
    own = {name for name in new if name.startswith("hermes_acp")}
    assert own == {"hermes_acp", module, *(f"hermes_acp.{name}" for name in WINDOW)}
    assert {name.partition(".")[0] for name in new - own} <= sys.stdlib_module_names
    assert new & TOO_SLOW == set()


def test_starting_a_server_brings_nothing_slow_either() -> None:
    new = imported("import hermes_acp.shim, hermes_acp.starting") - imported("import hermes_acp.shim")
    assert new & TOO_SLOW == set()
    assert {name for name in new if name.startswith("hermes_acp")} == {"hermes_acp.starting"}


def test_a_window_loads_where_there_are_no_unix_sockets() -> None:
    """Stands in for Windows: its modules are made, and those of Unix are not to be had."""
    pretend = (
        "import os, sys, types, socket, signal\n"
        "sys.platform = 'win32'\n"
        "sys.modules['msvcrt'] = types.ModuleType('msvcrt')\n"
        "sys.modules['fcntl'] = None\n"
        "del socket.AF_UNIX\n"
    )
    assert "hermes_acp.shim" in imported(f"{pretend}\nimport hermes_acp.shim, hermes_acp.loopback")


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        ("hermes_acp.events", set[str]()),
        ("hermes_acp.policy.gate", set[str]()),
        (
            "hermes_acp.agent.sessions",
            {"aiosqlite", "annotated_types", "orjson", "pydantic", "typing_extensions"},
        ),
    ],
)
def test_a_lower_room_brings_no_libraries_that_are_not_its_own(module: str, strangers: set[str]) -> None:
    new = {name.partition(".")[0] for name in imported(f"import {module}") - imported("")}
    new -= sys.stdlib_module_names | {"hermes_acp", "pydantic_core", "typing_inspection"}
    assert {name for name in new if not name.startswith("_")} <= strangers


def test_imports_hide_only_where_there_is_a_reason() -> None:
    hidden = {
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if hides_imports(ast.parse(path.read_text("utf-8")))
    }
    assert hidden == set(LATE)


def hides_imports(tree: ast.Module) -> bool:
    """Whether a function imports, or a module is imported by its name."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = (node for function in functions for node in ast.walk(function))
    if any(isinstance(node, ast.Import | ast.ImportFrom) for node in inside):
        return True
    names = {"import_module", "__import__", "exec", "eval"}
    return any(
        (isinstance(node, ast.Name) and node.id in names)
        or (isinstance(node, ast.Attribute) and node.attr in names - {"exec", "eval"})
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    ("source", "hides"),
    [
        ("import os\nfrom a import b", False),
        ("def f():\n    import os", True),
        ("async def f():\n    if x:\n        from a import b", True),
        ("import importlib\nx = importlib.import_module('a')", True),
        ("x = __import__('a')", True),
        ("def f(pattern):\n    return re.compile(pattern).exec", False),
    ],
)
def test_hidden_imports_are_found(source: str, hides: bool) -> None:
    assert hides_imports(ast.parse(source)) is hides
