"""What was released: the rows of releases.toml, and the wheels of them, built from the repository's own objects."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from workspace import ROOT, WorkspaceError, folder_of, module_of

RELEASES = ROOT / "releases.toml"
BUILT = ROOT / ".nox" / "released"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of one package."""

    package: str
    version: Version
    tree: str
    """The git tree of the package's folder."""
    reference: tuple[str, ...]
    """The git blobs of its reference pages: its public names."""


def releases_of(package: str, path: Path = RELEASES) -> list[Release]:
    """The releases of a package, oldest first."""
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get(package, [])
    releases = [
        Release(package=package, version=Version(row["version"]), tree=row["tree"], reference=tuple(row["reference"]))
        for row in rows
    ]
    return sorted(releases, key=lambda release: release.version)


def add_row(release: Release, path: Path = RELEASES) -> None:
    """Note a release."""
    row = (
        f'\n[[{release.package}]]\nversion = "{release.version}"\n'
        f'tree = "{release.tree}"\nreference = {json.dumps(release.reference)}\n'
    )
    with path.open("a", encoding="utf-8") as file:
        file.write(row)


def git(*arguments: str) -> str:
    """What a call of git prints."""
    try:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, cwd=ROOT)
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(f"git {' '.join(arguments)}: {error.stderr.strip()}") from error
    except FileNotFoundError as error:
        raise WorkspaceError("git is not installed") from error
    return done.stdout.strip()


def reference_pages(package: str) -> list[str]:
    """The pages that list the public names of a package; a test compares them."""
    pages = [package.removeprefix("townlet-"), *(["plain"] if package == "townlet-runtime" else [])]
    return [f"docs/reference/{page}.md" for page in pages]


def reference_of(release: Release) -> str:
    """The text of the reference pages as they were released."""
    return "\n".join(git("cat-file", "blob", blob) for blob in release.reference)


def source_of(release: Release) -> Path:
    """The folder of a package as it was released, below `.nox/`."""
    folder = BUILT / f"{release.package}-{release.version}-{release.tree[:12]}" / "source"
    if folder.is_dir():
        return folder
    try:
        git("cat-file", "-e", release.tree)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"{release.package} {release.version}: its tree {release.tree} is not in this clone; a shallow one lacks"
            " it: `git fetch --unshallow`"
        ) from error
    partial = folder.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", release.tree], check=True, capture_output=True, cwd=ROOT).stdout
    subprocess.run(["tar", "-x", "-C", str(partial)], input=archive, check=True)
    return partial.rename(folder)


def wheel_of(release: Release) -> Path:
    """The wheel of a release, built from its tree: no package index has to be asked for it."""
    source = source_of(release)
    pattern = f"{module_of(release.package)}-{release.version}-*.whl"
    if not (found := sorted(source.parent.glob(pattern))):
        build(source, source.parent, "--wheel")
        found = sorted(source.parent.glob(pattern))
    if len(found) != 1:
        raise WorkspaceError(f"{release.package} {release.version}: tree {release.tree} does not hold this version")
    return found[0]


def build(source: Path, folder: Path, *options: str) -> None:
    """Build distributions of a package's folder."""
    command = ["uv", "build", "--quiet", "--no-sources", "--out-dir", str(folder), *options, str(source)]
    subprocess.run(command, check=True, cwd=ROOT)


def staged(package: str) -> tuple[str, tuple[str, ...]]:
    """(tree of the package, blobs of its reference pages) as they are in git's index."""
    blobs = [git("ls-files", "--stage", "--", page).split()[1] for page in reference_pages(package)]
    return git("write-tree", f"--prefix={folder_of(package).relative_to(ROOT).as_posix()}/"), tuple(blobs)
