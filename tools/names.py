"""The names that packages give each other: what one uses of another, and what broke since a release."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

from workspace import PACKAGES, module_of

logging.getLogger("griffe").setLevel(logging.WARNING)  # nox lets everything through


def names_used(package: str, sibling: str, source: Path) -> dict[str, str]:
    """Dotted names of a sibling that a package's modules import, each with the first place that does."""
    used: dict[str, str] = {}
    for path in sorted((source / module_of(package)).rglob("*.py")):
        for name, line in imported_names(ast.parse(path.read_text(encoding="utf-8")), module_of(sibling)):
            used.setdefault(name, f"{path.relative_to(source).as_posix()}:{line}")
    return used


def imported_names(tree: ast.Module, module: str) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything imported from a module or below it."""
    inside = re.compile(rf"{module}(\.|$)")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module and inside.match(node.module):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if inside.match(alias.name))


def bound_names(body: list[ast.stmt]) -> set[str]:
    """The names that a module's statements bind, those for type checkers (of names imported when first used) too."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            names |= bound_names([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
        else:
            names |= {
                part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
    return names


def has(source: Path, name: str) -> bool:
    """Whether a dotted name is a module below a `src` folder, or is bound in one."""
    path = source.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return True
    holders = [path.parent.with_suffix(".py"), path.parent / "__init__.py"]
    texts = [holder.read_text(encoding="utf-8") for holder in holders if holder.is_file()]
    return any(path.name in bound_names(ast.parse(text).body) for text in texts)


def missing_names(package: str, sibling: str, source: Path, sibling_source: Path) -> list[str]:
    """The names of a sibling that a package uses and the sibling, as it is in that folder, does not have."""
    used = names_used(package, sibling, source)
    return [f"{name} ({place})" for name, place in sorted(used.items()) if not has(sibling_source, name)]


def public_names(page: str) -> list[str]:
    """The dotted names that a reference page lists."""
    return re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE)


def load(package: str, source: Path) -> griffe.Module:
    """Read a package's interface from a `src` folder, without importing it."""
    loader = griffe.GriffeLoader(search_paths=[source], allow_inspection=False)
    module = loader.load(module_of(package))
    loader.resolve_aliases(implicit=False, external=False)
    assert isinstance(module, griffe.Module)
    return module


def breaking_changes(package: str, names: Iterable[str], old_source: Path, new_source: Path) -> list[str]:
    """What users of the public names of a release cannot do any more, one line each.

    The names are those of the reference page as it was released: what the page never listed may change freely. A name
    that is handed on from another package must still be there; its signature is that package's to keep.
    """
    names = sorted(names)
    gone = [name for name in names if has(old_source, name) and not has(new_source, name)]
    kept = [name for name in names if name not in gone]
    old, new = (public_part(load(package, source), kept) for source in (old_source, new_source))
    listed = {member.canonical_path for member in old.members.values()}
    broken = [
        f"{breakage.obj.canonical_path}: {breakage.kind.value.lower()}{values(breakage)}"
        for breakage in griffe.find_breaking_changes(old, new)
        if breakage.obj.canonical_path not in listed or breakage.kind is not griffe.BreakageKind.OBJECT_REMOVED
    ]
    gone += [name for name in old.members if name not in new.members]
    return sorted({*[f"{name}: gone" for name in gone], *broken})


def public_part(module: griffe.Module, names: Iterable[str]) -> griffe.Module:
    """A module with the listed names alone, each as what it leads to in the same package."""
    part = griffe.Module(module.name)
    for name in names:
        try:
            found = module[name.partition(".")[2]]
            found = found.final_target if found.is_alias else found
        except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
            continue  # of another package
        found.public = True
        part.members[name] = found
    return part


def values(breakage: griffe.Breakage) -> str:
    """The old and the new value of a breakage, where these are short texts and not objects of the code's model."""
    before, after = (str(value) for value in (breakage.old_value, breakage.new_value))
    if any("(" in value or "\n" in value for value in (before, after)):
        return ""
    return f", {before} -> {after}"


def siblings_used(package: str, source: Path) -> list[str]:
    """The packages of the workspace whose names a package imports."""
    return [sibling for sibling in PACKAGES if sibling != package and names_used(package, sibling, source)]
