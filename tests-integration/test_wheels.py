"""What the wheels hold: the package, its licence, the marker of its types, and nothing of the tests."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("townlet-behavior", "townlet-trajectory", "townlet-training", "townlet-runtime")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of built wheels: the one that the check session installed from, or one built for this test."""
    if "TOWNLET_DIST" in os.environ:
        return Path(os.environ["TOWNLET_DIST"])
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(folder)], check=True, cwd=ROOT
    )
    return folder


@pytest.mark.parametrize("package", PACKAGES)
def test_contents(dist: Path, package: str) -> None:
    module = package.replace("-", "_")
    (wheel,) = dist.glob(f"{module}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        licence = archive.read(f"{info}/licenses/LICENSE")
        metadata = archive.read(f"{info}/METADATA").decode()
    sources = ROOT / "packages" / package / "src"
    expected = {path.relative_to(sources).as_posix() for path in sources.rglob("*") if path.is_file()}
    expected = {name for name in expected if "__pycache__" not in name}
    assert {name for name in names if not name.startswith(info) and not name.endswith("/")} == expected
    assert f"{module}/py.typed" in expected
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_carries_the_licence_of_the_repository(package: str) -> None:
    assert (ROOT / "packages" / package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
