"""What the packages of the workspace say of themselves, for the sessions of the noxfile."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("townlet-behavior", "townlet-trajectory", "townlet-training", "townlet-runtime")


class WorkspaceError(Exception):
    """Something of the workspace is not as a release or a check needs it."""


def module_of(package: str) -> str:
    """The import name of a package."""
    return package.replace("-", "_")


def folder_of(package: str, root: Path = ROOT) -> Path:
    """The folder of a package."""
    return root / "packages" / package


def project(package: str, root: Path = ROOT) -> dict[str, Any]:
    """The `[project]` table of a package."""
    text = (folder_of(package, root) / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def version_of(package: str, root: Path = ROOT) -> Version:
    """The version that a package's pyproject.toml has."""
    return Version(project(package, root)["version"])


def requirements_of(package: str, root: Path = ROOT) -> list[Requirement]:
    """Everything that a package declares, with what its extras do."""
    table = project(package, root)
    extras = table.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (table.get("dependencies", []), *extras) for line in lines]


def sibling_ranges(requirements: list[Requirement]) -> dict[str, SpecifierSet]:
    """The range of each package of the workspace that is among some requirements."""
    ranges: dict[str, SpecifierSet] = {}
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name in PACKAGES:
            ranges[name] = ranges.get(name, SpecifierSet()) & requirement.specifier
    return ranges


def is_bounded(specifier: SpecifierSet) -> bool:
    """Whether a range has a floor and a cap."""
    operators = {part.operator for part in specifier}
    return ">=" in operators and "<" in operators


def range_of(version: Version) -> str:
    """The range of versions that keep what this one promises: below 1.0 a minor version may break it."""
    if version.major:
        return f">={version.major}.{version.minor},<{version.major + 1}"
    return f">=0.{version.minor},<0.{version.minor + 1}"


def metadata_of(wheel: Path) -> Metadata:
    """The METADATA of a wheel."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(archive.read(name))


def set_version(package: str, version: Version, root: Path = ROOT) -> list[str]:
    """Write a version wherever the workspace says it, and move the ranges that would exclude it; what was changed.

    A range that holds the new version stays as it is: only a package that needs what is new in it raises its floor.
    """
    changed = []
    for path, pattern in (
        (folder_of(package, root) / "pyproject.toml", r'(?m)^(version = ")[^"]+(")'),
        (folder_of(package, root) / "src" / module_of(package) / "__init__.py", r'(?m)^(__version__ = ")[^"]+(")'),
    ):
        changed += replace(path, re.compile(pattern), rf"\g<1>{version}\g<2>", root)
    for dependent in PACKAGES:
        known = sibling_ranges(requirements_of(dependent, root))
        if package in known and version not in known[package]:
            pattern = rf"(\"{package}(?:\[[^\]]*\])?)[<>=][^\"]*\""
            path = folder_of(dependent, root) / "pyproject.toml"
            changed += replace(path, re.compile(pattern), rf'\g<1>{range_of(version)}"', root)
    return changed


def replace(path: Path, pattern: re.Pattern[str], replacement: str, root: Path) -> list[str]:
    """Replace what a pattern finds in a file; the file's name where that changed it."""
    before = path.read_text(encoding="utf-8")
    after = pattern.sub(replacement, before)
    if after == before:
        return []
    path.write_text(after, encoding="utf-8")
    return [path.relative_to(root).as_posix()]
