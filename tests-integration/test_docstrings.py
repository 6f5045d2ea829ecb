"""Public docstrings: examples run, and functions of three or more parameters say what they take."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(ROOT.glob("packages/*/src/**/*.py"))
FIRST_NAMED = {
    "townlet_behavior": {"BehaviorBridge", "Possession", "Proposals"},
    "townlet_trajectory": {"TrajectoryService", "TrajectoryBatch", "TrajectoryDataset"},
    "townlet_training": {"PPOLearner", "TrainingOrchestrator"},
    "townlet_runtime": {"BatchRuntime", "BatchLoop"},
}
"""The classes that users name first; each shows how it is used."""


NEEDS = {"mesa_worlds": "mesa", "py_trees_controller": "py_trees"}
"""Modules whose examples need an optional library."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parts[3:]).removesuffix(".py").removesuffix(".__init__")


def public(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Yield public classes and functions of a module, and methods of its public classes, with their qualified names."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method


def num_parameters(function: ast.FunctionDef) -> int:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def is_overload(function: ast.FunctionDef) -> bool:
    """Whether it states the types of one way to call a function that is described where it is written out."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in function.decorator_list)


def undescribed(path: Path) -> Iterator[str]:
    for name, node in public(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef) or num_parameters(node) < 3 or is_overload(node):
            continue
        text = ast.get_docstring(node) or ""
        # A method that implements a protocol refers to the one that describes it.
        if "Args:" not in text and not re.search(r"\b[Ss]ee `", text):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"


def test_functions_of_three_or_more_parameters_describe_them() -> None:
    assert [line for path in MODULES for line in undescribed(path)] == []


@pytest.mark.parametrize("package", FIRST_NAMED)
def test_the_classes_that_users_name_first_have_an_example(package: str) -> None:
    shown = {
        name
        for path in MODULES
        if name_of(path).split(".")[0] == package
        for name, node in public(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and ">>> " in (ast.get_docstring(node) or "")
    }
    assert shown >= FIRST_NAMED[package]


@pytest.mark.parametrize("path", [path for path in MODULES if ">>> " in path.read_text(encoding="utf-8")], ids=name_of)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    module = importlib.import_module(name_of(path))
    failed, attempted = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert attempted > 0 and failed == 0
