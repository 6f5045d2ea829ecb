"""A module is one idea, a function fits a screen, a folder can be surveyed, and no import leads far down."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(ROOT.glob("packages/*/src/**/*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_NESTING = 4
MAX_FOLDER_MODULES = 16
FLAT = "townlet_behavior"
"""The one package that is small enough to stay a single folder."""
MAX_IMPORT_CHAIN = 10
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


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).parts[3:]
    return ".".join(parts).removesuffix(".py").removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """Modules of the same package that importing `path` imports: statements at its top level."""
    found: set[str] = set()
    folders = path.relative_to(ROOT).parts[3:-1]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            base = folders[: len(folders) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & known) - {module_name(path)}


def longest_chains(package: str) -> list[str]:
    """The longest chain of imports within `package`, from the module that needs most down to one that needs none."""
    paths = {module_name(path): path for path in MODULES if module_name(path).split(".")[0] == package}
    imports = {name: imported_modules(path, set(paths)) for name, path in paths.items()}
    chains: dict[str, list[str]] = {}

    def chain(name: str, above: tuple[str, ...] = ()) -> list[str]:
        assert name not in above, f"a circle of imports: {' -> '.join([*above, name])}"
        if name not in chains:
            below = (chain(other, (*above, name)) for other in sorted(imports[name]))
            chains[name] = [name, *max(below, key=len, default=[])]
        return chains[name]

    return max(map(chain, paths), key=len)


def test_there_is_something_to_measure() -> None:
    assert {path.parts[len(ROOT.parts) + 1] for path in MODULES} == {
        "townlet-behavior",
        "townlet-trajectory",
        "townlet-training",
        "townlet-runtime",
    }


def test_modules_and_functions_are_small() -> None:
    assert [line for path in MODULES for line in oversized(path)] == []


def test_a_folder_can_be_surveyed() -> None:
    folders = Counter(path.parent.relative_to(ROOT) for path in MODULES if path.parent.name != FLAT)
    assert {str(folder): count for folder, count in folders.items() if count > MAX_FOLDER_MODULES} == {}


@pytest.mark.parametrize("package", ["townlet_behavior", "townlet_trajectory", "townlet_training", "townlet_runtime"])
def test_no_import_leads_far_down(package: str) -> None:
    chain = longest_chains(package)
    assert 2 <= len(chain) <= MAX_IMPORT_CHAIN, " -> ".join(chain)


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


def test_the_picture_of_the_layout_names_every_module() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.partition("## Layout")[2].split("```")[1]
    words = set(re.findall(r"[\w/*]+", picture))
    beginnings = tuple(word.removesuffix("*") for word in words if word.endswith("*"))

    def is_named(path: Path) -> bool:
        # A folder within a folder of a package is named as a whole.
        inner = any(f"{folder}/" in words for folder in path.relative_to(ROOT).parts[5:-1])
        return inner or path.stem in words or path.stem.startswith(beginnings)

    assert [str(path.relative_to(ROOT)) for path in MODULES if path.stem[0] != "_" and not is_named(path)] == []
