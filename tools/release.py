"""Release a package: what is checked before anything is written, and what is written.

A release is one commit and one tag. Its row in releases.toml names the git tree of the package's folder and not the
commit: a commit cannot hold its own id, a tree can be known before it, and stays the same when commits are rebased or
joined. The tag `PACKAGE/vVERSION` leads to the commit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from names import breaking_changes, missing_names, public_names, siblings_used
from releases import (
    Release,
    add_row,
    build,
    git,
    reference_of,
    releases_of,
    source_of,
    staged,
    wheel_of,
)
from workspace import (
    PACKAGES,
    ROOT,
    WorkspaceError,
    folder_of,
    is_bounded,
    metadata_of,
    module_of,
    requirements_of,
    set_version,
    sibling_ranges,
    version_of,
)

STEPS = ("minor", "patch")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    package: str
    version: Version
    index: Path
    """The folder that gets the distributions: `pip install --find-links` and `uv pip install --find-links` read it."""


def wanted(arguments: Sequence[str], session: str) -> Wanted:
    """Read `PACKAGE minor|patch|VERSION [--index FOLDER]`."""
    parser = argparse.ArgumentParser(prog=f"nox -s {session} --")
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("version", metavar="minor|patch|VERSION")
    parser.add_argument("--index", type=Path, default=ROOT / "dist" / "release", help="default: dist/release")
    parsed = parser.parse_args(arguments)
    version = next_version(parsed.package, parsed.version, releases_of(parsed.package), version_of(parsed.package))
    return Wanted(package=parsed.package, version=version, index=parsed.index.resolve())


def next_version(package: str, step: str, released: Sequence[Release], present: Version) -> Version:
    """The version to release: a step from the last release, or the one that is named."""
    last = released[-1].version if released else None
    if step not in STEPS:
        try:
            version = Version(step)
        except InvalidVersion as error:
            raise WorkspaceError(f"expected minor, patch or a version as 0.2.0, got {step!r}") from error
    elif last is None:
        raise WorkspaceError(f"{package} has no release to take a step from: name a version, as {present}")
    elif step == "minor":
        version = Version(f"{last.major}.{last.minor + 1}.0")
    else:
        version = Version(f"{last.major}.{last.minor}.{last.micro + 1}")
    if len(version.release) != 3 or str(version) != version.base_version:
        raise WorkspaceError(f"expected a version of three numbers, got {step!r}")
    if last is not None and version <= last:
        raise WorkspaceError(f"{package} {last} is released: {version} does not come after it")
    if version < present:
        raise WorkspaceError(f"{package} is at {present} already, and {version} comes before it")
    return version


def require_ready(package: str, version: Version) -> None:
    """Refuse what a release must not be, before anything is written."""
    if changed := git("status", "--porcelain"):
        raise WorkspaceError(f"commit or remove first what `git status` lists:\n{changed}")
    require_siblings(package)
    released = releases_of(package)
    if not released or may_break(released[-1].version, version):
        return
    if broken := broken_since(released[-1]):
        complaint = f"{package} {version} would break users of {released[-1].version}: release a minor version"
        raise WorkspaceError("\n  ".join([complaint, *broken]))


def require_siblings(package: str) -> None:
    """A package can be released when every release of a sibling that its range admits has the names that it uses."""
    source = folder_of(package) / "src"
    ranges = sibling_ranges(requirements_of(package))
    for sibling in siblings_used(package, source):
        specifier = ranges.get(sibling)
        if specifier is None or not is_bounded(specifier):
            raise WorkspaceError(f"{package} uses {sibling} and must declare a floor and a cap, got `{specifier}`")
        admitted = [release for release in releases_of(sibling) if release.version in specifier]
        if not admitted:
            raise WorkspaceError(f"{package} needs {sibling}{specifier}, none of which is released: release it first")
        for release in reversed(admitted):
            missing = missing_names(package, sibling, source, source_of(release) / "src")
            if missing:
                do = "release it first" if release is admitted[-1] else "raise the floor of its range"
                listed = "\n  ".join(missing)
                raise WorkspaceError(
                    f"{package} uses names that {sibling} {release.version} does not have: {do}\n  {listed}"
                )


def broken_since(release: Release) -> list[str]:
    """What changed in the working tree that users of a release cannot do any more."""
    names = public_names(reference_of(release))
    return breaking_changes(release.package, names, source_of(release) / "src", folder_of(release.package) / "src")


def may_break(old: Version, new: Version) -> bool:
    """Whether a version may break what an earlier one promised: below 1.0 a minor one may."""
    return new.major > old.major or (old.major == 0 and new.minor > old.minor)


def run(*command: str | Path) -> None:
    """Run a command in the workspace; one that fails ends the release."""
    try:
        subprocess.run([str(part) for part in command], check=True, cwd=ROOT)
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(f"`{' '.join(map(str, command))}` failed") from error


def write_release(package: str, version: Version) -> Release:
    """Version, ranges, changelog, lock and releases.toml, all in git's index and not committed yet."""
    set_version(package, version)
    folder = folder_of(package)
    towncrier = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", str(version)]
    run(*towncrier, "--config", folder / "pyproject.toml", "--dir", folder)
    run("uv", "lock", "--quiet")
    git("add", "--all")
    tree, reference = staged(package)
    release = Release(package=package, version=version, tree=tree, reference=reference)
    add_row(release)
    git("add", "--all")
    return release


def build_distributions(release: Release, index: Path) -> Path:
    """The wheel and the sdist of a release from its tree, and its bill of materials, in a folder; the wheel."""
    index.mkdir(parents=True, exist_ok=True)
    build(source_of(release), index)
    stem = f"{module_of(release.package)}-{release.version}"
    (found,) = index.glob(f"{stem}-*.whl")
    metadata = metadata_of(found)
    if metadata.version != release.version:
        raise WorkspaceError(f"{found.name} says version {metadata.version}")
    for sibling, specifier in sibling_ranges(metadata.requires_dist or []).items():
        if not is_bounded(specifier):
            raise WorkspaceError(f"{found.name} needs {sibling}{specifier}, without a floor and a cap")
    bill_of_materials(release.package, index / f"{stem}.cdx.json")
    return found


def bill_of_materials(package: str, path: Path) -> None:
    """CycloneDX 1.5 of a package with every extra, without what only tests need."""
    export = ["uv", "export", "--quiet", "--locked", "--format", "cyclonedx1.5", "--package", package, "--all-extras"]
    run(*export, "--no-default-groups", "--preview-features", "sbom-export", "--output-file", path)


def commit(release: Release) -> str:
    """Commit and tag what is in git's index; the tag."""
    subject, tag = f"Release {release.package} {release.version}", f"{release.package}/v{release.version}"
    git("commit", "--quiet", "--message", subject)
    git("tag", "--annotate", tag, "--message", subject)
    return tag


def try_wheel(release: Release, wheel: Path, work: Path) -> None:
    """Install the new wheel with what is released of its siblings, at the locked versions of all else; import it."""
    constraints, environment = work / "constraints.txt", work / "installed"
    export = ["uv", "export", "--quiet", "--locked", "--all-packages", "--all-extras", "--no-default-groups"]
    run(*export, "--no-emit-workspace", "--no-hashes", "--no-annotate", "--output-file", constraints)
    siblings = [wheel_of(one) for package in PACKAGES for one in releases_of(package)]
    links = [argument for sibling in siblings for argument in ("--find-links", sibling.parent)]
    # what was built under the same name before is in the cache
    anew = [argument for package in PACKAGES for argument in ("--reinstall-package", package)]
    run("uv", "venv", "--quiet", "--clear", environment)
    python = environment / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, *links, "--constraint", constraints, *anew, wheel)
    run("uv", "pip", "check", "--quiet", "--python", python)
    run(python, "-P", "-c", f"import {module_of(release.package)}")
