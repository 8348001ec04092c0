"""Sizes that no file, function or constructor of the package may outgrow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hermes_acp"
FILES = sorted(PACKAGE.rglob("*.py"))

FILE_LINES = 600
FUNCTION_LINES = 70
CONSTRUCTOR_PARAMETERS = 9
RECORDS = frozenset({"SessionRow"})
"""Dataclasses whose fields are the columns of a table."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_in_the_file_is_too_large(file: Path) -> None:
    text = file.read_text("utf-8")
    assert list(_too_large(text)) == [], "see `Files` and `Functions` in CONTRIBUTING.md for what to do"


def _too_large(text: str) -> Iterator[str]:
    if (lines := text.count("\n")) > FILE_LINES:
        yield f"{lines} lines, the limit is {FILE_LINES}: the file holds two ideas, split it between them"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _too_long(node)
        elif isinstance(node, ast.ClassDef) and (count := _parameters(node)) > CONSTRUCTOR_PARAMETERS:
            yield (
                f"line {node.lineno}: {node.name} is made from {count} parts, the limit is "
                f"{CONSTRUCTOR_PARAMETERS}: it does several things, or some parts belong together"
            )


def _too_long(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield (
            f"line {node.lineno}: {node.name} has {lines} lines, the limit is {FUNCTION_LINES}: "
            "leave the decisions in it and move the steps into functions of their own"
        )


def _parameters(node: ast.ClassDef) -> int:
    """What has to be given to make one: arguments of `__init__`, or the fields of a dataclass."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return len([*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs]) - 1
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    if not is_dataclass or node.name in RECORDS:
        return 0
    return sum(isinstance(item, ast.AnnAssign) and item.value is None for item in node.body)
