"""Few public names: each listed by its package, documented where it is defined, and on the reference page."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
PACKAGES = ("townlet_behavior", "townlet_trajectory", "townlet_training", "townlet_runtime")
PUBLIC_MODULES = {
    "townlet_behavior": ("testing",),
    "townlet_trajectory": (
        "audit.agent_steps",
        "audit.captures",
        "audit.dataset",
        "audit.describe",
        "audit.explain",
        "audit.explanation",
        "audit.explanation_text",
        "audit.outliers",
        "audit.report",
        "audit.words",
        "data.pieces",
        "data.statistics",
        "dataset.canonical",
        "dataset.classic",
        "dataset.curation",
        "dataset.filter",
        "evaluation.across_runs",
        "evaluation.run_sets",
        "formats.captures.directory",
        "formats.captures.frames",
        "formats.captures.manifest",
        "formats.captures.metrics",
        "formats.captures.sample",
        "formats.captures.source",
        "formats.convert",
        "formats.minari.reader",
        "formats.minari.writer",
        "formats.open",
        "formats.parquet",
        "storage.files",
        "storage.json",
        "storage.locks",
        "storage.manifest",
        "storage.paths",
        "storage.yaml",
    ),
    "townlet_training": (),
    "townlet_runtime": (
        "config",
        "errors",
        "report",
        "testing",
        "town",
        "training",
        "training_schedules",
        "training_settings",
    ),
}
"""Modules whose names are imported from them, beside those of the package itself."""
packages = pytest.mark.parametrize("package", PACKAGES)


def modules_of(package: str) -> list[ModuleType]:
    """Where the public names of a package are imported from."""
    names = [package, *[f"{package}.{module}" for module in PUBLIC_MODULES[package]]]
    return [importlib.import_module(name) for name in names]


def names_of(module: ModuleType) -> set[str]:
    """A module's `__all__`, or what it defines."""
    names = vars(module)
    if "__all__" in names:
        return set(names["__all__"]) - {"__version__"}
    # of the values, only classes and functions know where they are from
    defined = {name for name, value in names.items() if inspect.isclass(value) or inspect.isfunction(value)}
    return {name for name in defined if names[name].__module__ == module.__name__ and not name.startswith("_")}


def public_names(package: str) -> set[str]:
    return set().union(*map(names_of, modules_of(package)))


def documented_constants(package: str) -> set[str]:
    """Names assigned at the top of any module of the package with a string below them that says what they are."""
    found = set()
    (folder,) = importlib.import_module(package).__path__
    for path in Path(folder).rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, following in itertools.pairwise(body):
            is_string = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if is_string and isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def is_documented(module: ModuleType, name: str, constants: set[str]) -> bool:
    value = getattr(module, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return name in constants
    # a dataclass without a docstring is given its signature as one
    return bool(value.__doc__) and not value.__doc__.startswith(f"{name}(")


@packages
def test_all_names_exist(package: str) -> None:
    for module in modules_of(package):
        assert [name for name in names_of(module) if getattr(module, name) is None] == []


@packages
def test_reference_page_lists_exactly_the_public_names(package: str) -> None:
    page = (REFERENCE / f"{package.removeprefix('townlet_')}.md").read_text(encoding="utf-8")
    listed = re.findall(rf"^::: ({package}[\w.]*)\.(\w+)$", page, flags=re.MULTILINE)
    names = [name for _, name in listed]
    assert len(set(names)) == len(names)
    assert set(names) == public_names(package)
    for module, name in listed:
        assert getattr(importlib.import_module(module), name) is not None


def test_the_names_for_plain_worlds_have_a_page_of_their_own() -> None:
    page = (REFERENCE / "plain.md").read_text(encoding="utf-8")
    module = importlib.import_module("townlet_runtime.plain")
    listed = re.findall(r"^::: townlet_runtime\.plain\.(\w+)$", page, flags=re.MULTILINE)
    assert sorted(listed) == sorted(module.__all__)
    assert [name for name in module.__all__ if not is_documented(module, name, set())] == []


@packages
def test_every_public_name_is_documented(package: str) -> None:
    constants = documented_constants(package)
    undocumented = [
        f"{module.__name__}.{name}"
        for module in modules_of(package)
        for name in sorted(names_of(module))
        if not is_documented(module, name, constants)
    ]
    assert undocumented == []


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_the_version_is_that_of_the_distribution(package: str) -> None:
    assert importlib.import_module(package).__version__ == version(package.replace("_", "-"))
