"""Which releases go together with the working tree: what is tried, and what the declared ranges say of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from releases import Release, releases_of, wheel_of
from workspace import PACKAGES, ROOT, WorkspaceError, folder_of, metadata_of, sibling_ranges

WITHOUT_THREADS = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class Together:
    """One wheel of every package."""

    title: str
    wheels: Mapping[str, Path]

    def excluding(self) -> list[str]:
        """What the declared ranges of these wheels exclude, one line each; nothing when they admit each other."""
        versions = {package: _version(wheel) for package, wheel in self.wheels.items()}
        return [
            f"{package} {versions[package]} wants {sibling}{specifier}, not {versions[sibling]}"
            for package, wheel in self.wheels.items()
            for sibling, specifier in sibling_ranges(metadata_of(wheel).requires_dist or []).items()
            if versions[sibling] not in specifier
        ]

    def tests_of(self, present: Path) -> list[Path]:
        """The tests of the packages whose wheels are in the folder of the present ones."""
        new = [package for package, wheel in self.wheels.items() if wheel.is_relative_to(present)]
        return [folder_of(package) / "tests" for package in new]


def _with_extras(wheel: Path) -> str:
    """A wheel with all of its extras, as a requirement."""
    metadata = metadata_of(wheel)
    return f"{metadata.name}[{','.join(metadata.provides_extra or [])}] @ {wheel.as_uri()}"


def _version(wheel: Path) -> Version:
    version = metadata_of(wheel).version
    assert version is not None
    return version


def previous(package: str, present: Path) -> Release | None:
    """The newest release whose wheel is not the present one: the last once the tree moved on, else that before it."""
    others = [release for release in releases_of(package) if not is_same(wheel_of(release), present)]
    return others[-1] if others else None


def is_same(wheel: Path, other: Path) -> bool:
    """Whether two wheels hold the same modules and declare the same requirements; their texts may differ."""

    def content(path: Path) -> tuple[str | None, list[str], dict[str, int]]:
        with ZipFile(path) as archive:
            modules = {info.filename: info.CRC for info in archive.infolist() if ".dist-info/" not in info.filename}
        metadata = metadata_of(path)
        return str(metadata.version), sorted(map(str, metadata.requires_dist or [])), modules

    return content(wheel) == content(other)


def oldest(new: Mapping[str, Path]) -> dict[str, Path]:
    """The oldest release of each package that the ranges of the present wheels admit: the floors among the packages."""
    found = {}
    ranges: dict[str, SpecifierSet] = {}
    for wheel in new.values():
        for sibling, specifier in sibling_ranges(metadata_of(wheel).requires_dist or []).items():
            ranges[sibling] = ranges.get(sibling, SpecifierSet()) & specifier
    for package, specifier in ranges.items():
        if admitted := [release for release in releases_of(package) if release.version in specifier]:
            found[package] = wheel_of(admitted[0])
    return found


def combinations(old: Mapping[str, Path], new: Mapping[str, Path], floors: Mapping[str, Path]) -> Iterator[Together]:
    """Each old wheel among new ones, each new among old ones, all old ones, and all at their floors; none twice."""
    tried = [
        *((f"{package} as released, the others new", {**new, package: old[package]}) for package in old),
        *((f"{package} new, the others as released", {**new, **old, package: new[package]}) for package in old),
        ("all as released", {**new, **old}),
        ("all at the oldest releases that the present ranges admit", {**new, **floors}),
    ]
    seen = [new]
    for title, wheels in tried:
        different = {package: wheel for package, wheel in wheels.items() if wheel != new[package]}
        if wheels not in seen and any(not is_same(wheel, new[package]) for package, wheel in different.items()):
            seen.append(wheels)
            yield Together(title=title, wheels={package: wheels[package] for package in PACKAGES})


def try_out(together: Together, environment: Path, tests: Sequence[Path]) -> str:
    """Install one wheel of every package into an environment that holds their requirements, and run tests; a line."""
    python = str(environment / "bin" / "python")
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--reinstall", "--python", python]
    pytest = [python, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    commands = [
        [*install, *map(str, together.wheels.values())],
        ["uv", "pip", "check", "--quiet", "--python", python],
        # one package in one process
        *([*pytest, "-p", "no:cacheprovider", "-m", "not hypothesis", str(path)] for path in tests),
    ]
    for command in commands:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=environment, env={**os.environ, **WITHOUT_THREADS}
        )
        if done.returncode:
            printed = done.stdout + done.stderr
            raise WorkspaceError(f"{together.title}: `{' '.join(command)}` failed\n{printed}")
    return f"{together.title}: {done.stdout.strip().splitlines()[-1]}"


def refuse(together: Together, environment: Path, constraints: Path) -> str:
    """See that the resolver refuses what the declared ranges, also those of extras, exclude; a line that says why."""
    command = ["uv", "pip", "install", "--dry-run", "--python", str(environment / "bin" / "python")]
    command += ["--constraint", str(constraints), *map(_with_extras, together.wheels.values())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 0 or "unsatisfiable" not in done.stderr:
        raise WorkspaceError(f"{together.title}: the resolver should refuse it\n{done.stdout}{done.stderr}")
    return f"{together.title}: refused, as {'; '.join(together.excluding())}"
