"""A module fits a sitting, a function fits a screen, and a branch nests at most four deep."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(ROOT.glob("packages/*/src/**/*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_NESTING = 4
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def nesting(node: ast.AST, *, is_elif: bool = False) -> int:
    """Depth of blocks within a node. An `elif` is the branch of its `if`, not a block inside it."""
    own = 1 if isinstance(node, BLOCKS) and not is_elif else 0
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            continue  # counted for itself
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, is_elif=chained))
    return own + deepest


def oversized(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    lines = len(source.splitlines())
    if lines > MAX_MODULE_LINES:
        yield f"{path.relative_to(ROOT)}: {lines} lines, at most {MAX_MODULE_LINES}"
    for function in functions(ast.parse(source)):
        where = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > MAX_FUNCTION_LINES:
            yield f"{where}: {length} lines, at most {MAX_FUNCTION_LINES}"
        if nesting(function) > MAX_NESTING:
            yield f"{where}: nested {nesting(function)} deep, at most {MAX_NESTING}"


def test_there_is_something_to_measure() -> None:
    assert {path.parts[len(ROOT.parts) + 1] for path in MODULES} == {
        "townlet-behavior",
        "townlet-trajectory",
        "townlet-training",
        "townlet-runtime",
    }


def test_modules_and_functions_are_small() -> None:
    assert [line for path in MODULES for line in oversized(path)] == []


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ("return 1", 0),
        ("if a:\n  b\nelif c:\n  d\nelif e:\n  f", 1),
        ("if a:\n  b\nelse:\n  if c:\n    d\n  e", 2),
        ("for a in b:\n  if c:\n    with d:\n      e", 3),
        ("def inner():\n  if a:\n    b", 0),
    ],
)
def test_nesting_counts_blocks(body: str, depth: int) -> None:
    tree = ast.parse("def outer():\n" + "\n".join("  " + line for line in body.splitlines()))
    assert nesting(next(functions(tree))) == depth
