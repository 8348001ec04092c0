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
    "pygls",
    "tree_sitter",
    "tree_sitter_bash",
    "hermes_acp.llm.litellm_model",
    "hermes_acp.llm.openai_wire",
    "hermes_acp.llm.scripted",
    "hermes_acp.tools.files",
    "hermes_acp.tools.mcp_connection",
    "hermes_acp.tools.terminal",
    "hermes_acp.tools.toolset",
}
"""What takes long to load and is needed by no answer to `initialize` or `session/new`."""

LATE = {
    "agent/calls.py": "json_repair: only for arguments that are malformed",
    "app.py": "the tool families: after the first session was answered, in a thread",
    "cli/main.py": "one command of many is run",
    "llm/choice.py": "the clients of models: when one is opened, in a thread",
    "policy/commands.py": "the parser: at the first command, in a thread",
    "shim.py": "everything: the descriptors have to be safe first",
    "tools/mcp_tools.py": "the mcp package: only for sessions with servers, in a thread",
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


@pytest.mark.parametrize("module", ["hermes_acp.shim", "hermes_acp.__main__"])
def test_the_program_begins_with_the_standard_library_alone(module: str) -> None:
    new = imported(f"import {module}") - imported("")
    own = {name for name in new if name.startswith("hermes_acp")}
    assert own == {"hermes_acp", "hermes_acp.shim", module}
    assert {name.partition(".")[0] for name in new - own} <= sys.stdlib_module_names
    assert not new & {"asyncio", "logging", "socket", "subprocess", "ssl"}


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
