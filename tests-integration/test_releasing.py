"""What a release checks and writes: versions, ranges, names between packages, promises, licences."""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import licences
import names
import release as releasing
from compatibility import Together, combinations
from releases import Release, add_row, releases_of
from workspace import PACKAGES, WorkspaceError, is_bounded, range_of, set_version, sibling_ranges

PYPROJECT = """[project]
name = "{name}"
version = "0.1.0"
dependencies = [{dependencies}]
"""


def released(*versions: str) -> list[Release]:
    return [
        Release(package="townlet-behavior", version=Version(version), tree="t", reference=("r",))
        for version in versions
    ]


@pytest.mark.parametrize(
    ("step", "before", "present", "expected"),
    [
        ("0.1.0", [], "0.1.0", "0.1.0"),
        ("minor", ["0.1.0"], "0.1.0", "0.2.0"),
        ("patch", ["0.1.0", "0.1.1"], "0.1.1", "0.1.2"),
        ("minor", ["0.1.0"], "0.2.0", "0.2.0"),  # said before, for a change that needed it
        ("1.0.0", ["0.9.0"], "0.9.0", "1.0.0"),
    ],
)
def test_the_next_version(step: str, before: list[str], present: str, expected: str) -> None:
    version = releasing.next_version("townlet-behavior", step, released(*before), Version(present))
    assert version == Version(expected)


@pytest.mark.parametrize(
    ("step", "before", "present", "message"),
    [
        ("minor", [], "0.1.0", "no release to take a step from"),
        ("0.1.0", ["0.1.0"], "0.1.0", "0.1.0 is released: 0.1.0 does not come after it"),
        ("patch", ["0.1.0"], "0.2.0", "is at 0.2.0 already, and 0.1.1 comes before it"),
        ("major", ["0.1.0"], "0.1.0", "expected minor, patch or a version"),
        ("0.2", ["0.1.0"], "0.1.0", "three numbers"),
        ("0.2.0rc1", ["0.1.0"], "0.1.0", "three numbers"),
    ],
)
def test_versions_that_are_refused(step: str, before: list[str], present: str, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message):
        releasing.next_version("townlet-behavior", step, released(*before), Version(present))


def test_what_may_break_a_promise() -> None:
    assert releasing.may_break(Version("0.1.3"), Version("0.2.0"))
    assert not releasing.may_break(Version("0.1.3"), Version("0.1.4"))
    assert not releasing.may_break(Version("1.1.0"), Version("1.2.0"))
    assert releasing.may_break(Version("1.1.0"), Version("2.0.0"))


def test_ranges() -> None:
    assert range_of(Version("0.2.3")) == ">=0.2,<0.3"
    assert range_of(Version("1.4.0")) == ">=1.4,<2"
    ranges = sibling_ranges([Requirement("numpy>=2"), Requirement("townlet_behavior[x]>=0.1,<0.2")])
    assert list(ranges) == ["townlet-behavior"]
    assert is_bounded(ranges["townlet-behavior"])
    assert not is_bounded(Requirement("townlet-behavior>=0.1").specifier)


def workspace(root: Path) -> None:
    for package in PACKAGES:
        source = root / "packages" / package / "src" / package.replace("-", "_")
        source.mkdir(parents=True)
        (source / "__init__.py").write_text('__version__ = "0.1.0"\n')
        needs = '"townlet-trajectory[statistics]>=0.1,<0.2", "townlet-behavior>=0.1,<0.2"'
        dependencies = needs if package == "townlet-runtime" else '"numpy>=2"'
        text = PYPROJECT.format(name=package, dependencies=dependencies)
        (root / "packages" / package / "pyproject.toml").write_text(text)


def test_a_version_is_written_everywhere_and_moves_the_ranges_that_exclude_it(tmp_path: Path) -> None:
    workspace(tmp_path)
    assert set_version("townlet-trajectory", Version("0.1.1"), tmp_path) == [
        "packages/townlet-trajectory/pyproject.toml",
        "packages/townlet-trajectory/src/townlet_trajectory/__init__.py",
    ]
    runtime = tmp_path / "packages" / "townlet-runtime" / "pyproject.toml"
    assert '"townlet-trajectory[statistics]>=0.1,<0.2"' in runtime.read_text()

    changed = set_version("townlet-trajectory", Version("0.2.0"), tmp_path)
    assert "packages/townlet-runtime/pyproject.toml" in changed
    assert '"townlet-trajectory[statistics]>=0.2,<0.3", "townlet-behavior>=0.1,<0.2"' in runtime.read_text()
    assert 'version = "0.1.0"' in runtime.read_text()


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "releases.toml"
    path.write_text("# what was released\n")
    for row in reversed(released("0.1.0", "0.1.10", "0.1.9")):
        add_row(row, path)
    assert [str(row.version) for row in releases_of("townlet-behavior", path)] == ["0.1.0", "0.1.9", "0.1.10"]
    assert releases_of("townlet-runtime", path) == []


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return folder


def test_names_that_a_sibling_lacks_are_found_with_their_place(tmp_path: Path) -> None:
    sibling = write(
        tmp_path / "sibling",
        townlet_behavior__draws="A, B = 1, 2\nclass C: ...\nif True:\n    from os import path as D\ndef f(): E = 1\n",
    )
    package = write(
        tmp_path / "package",
        townlet_runtime__use="from townlet_behavior.draws import A, B, C, D, E\nimport townlet_behavior.views\n",
        townlet_runtime__other="def late():\n    from townlet_behavior import draws, blend\nimport townlet_behaviors\n",
    )
    assert names.missing_names("townlet-runtime", "townlet-behavior", package, sibling) == [
        "townlet_behavior.blend (townlet_runtime/other.py:2)",
        "townlet_behavior.draws.E (townlet_runtime/use.py:1)",
        "townlet_behavior.views (townlet_runtime/use.py:2)",
    ]
    assert names.siblings_used("townlet-runtime", package) == ["townlet-behavior"]


BEFORE = """class Kept:
    def act(self, agent, ratio=0.5): ...
    def _own(self, agent): ...
def draw(seed, tick): ...
def unlisted(seed): ...
"""
LISTED = ["townlet_behavior.draws.Kept", "townlet_behavior.draws.draw"]


def broken(tmp_path: Path, after: str) -> list[str]:
    old = write(tmp_path / "old", townlet_behavior__draws=BEFORE)
    new = write(tmp_path / "new", townlet_behavior__draws=after)
    return names.breaking_changes("townlet-behavior", LISTED, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def _own(self, agent)", "def _own(self)"),
        ("def unlisted(seed): ...", ""),
        ("def draw(seed, tick)", "def draw(seed, tick, key=None)"),
        ("class Kept:", "class Kept:\n    def more(self): ..."),
    ],
)
def test_what_breaks_nobody(tmp_path: Path, old: str, new: str) -> None:
    assert old in BEFORE
    assert broken(tmp_path, BEFORE.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("def draw(seed, tick): ...", "", "townlet_behavior.draws.draw: gone"),
        ("def draw(seed, tick)", "def draw(seed, time)", "townlet_behavior.draws.draw"),
        ("def draw(seed, tick)", "def draw(seed, tick, key)", "townlet_behavior.draws.draw"),
        ("def act(self, agent, ratio=0.5): ...", "", "townlet_behavior.draws.Kept.act"),
        ("ratio=0.5", "ratio=0.9", "townlet_behavior.draws.Kept.act"),
    ],
)
def test_what_breaks_users_of_a_listed_name(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert old in BEFORE
    lines = broken(tmp_path, BEFORE.replace(old, new))
    assert lines
    assert all(line.startswith(found) for line in lines)


def wheel(folder: Path, package: str, version: str, needs: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{package.replace('-', '_')}-{version}-py3-none-any.whl"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    with ZipFile(path, "w") as archive:
        text = f"Metadata-Version: 2.4\nName: {package}\nVersion: {version}\n{requires}"
        archive.writestr(f"{path.stem}.dist-info/METADATA", text)
        archive.writestr(f"{package}.py", f"# {folder.name}\n")
    return path


def test_every_combination_once_and_what_the_ranges_say_of_it(tmp_path: Path) -> None:
    new = {package: wheel(tmp_path / "new", package, "0.1.0") for package in PACKAGES}
    new["townlet-behavior"] = wheel(tmp_path / "new", "townlet-behavior", "0.2.0")
    new["townlet-runtime"] = wheel(tmp_path / "new", "townlet-runtime", "0.1.1", "townlet-behavior>=0.2,<0.3")
    old = {
        "townlet-behavior": wheel(tmp_path / "old", "townlet-behavior", "0.1.0"),
        "townlet-runtime": wheel(tmp_path / "old", "townlet-runtime", "0.1.0", "townlet-behavior>=0.1,<0.2"),
    }
    found = list(combinations(old, new, floors={"townlet-behavior": old["townlet-behavior"]}))
    chosen = [{package: path.parent.name for package, path in one.wheels.items()} for one in found]
    behaviors_and_runtimes = [(one["townlet-behavior"], one["townlet-runtime"]) for one in chosen]
    assert behaviors_and_runtimes == [("old", "new"), ("new", "old"), ("old", "old")]
    assert found[0].excluding() == ["townlet-runtime 0.1.1 wants townlet-behavior<0.3,>=0.2, not 0.1.0"]
    assert found[1].excluding() == ["townlet-runtime 0.1.0 wants townlet-behavior<0.2,>=0.1, not 0.2.0"]
    assert found[2].excluding() == []


def test_the_tests_of_a_combination_are_those_of_its_present_packages(tmp_path: Path) -> None:
    wheels = {package: wheel(tmp_path / "old", package, "0.1.0") for package in PACKAGES}
    wheels["townlet-training"] = wheel(tmp_path / "new", "townlet-training", "0.1.0")
    (tests,) = Together(title="", wheels=wheels).tests_of(tmp_path / "new")
    assert tests.parts[-2:] == ("townlet-training", "tests")


ATTRIBUTED = ["MIT", "BSD-3-Clause AND Zlib", "GPL-3.0 OR MIT", "zlib", "MIT AND BSD-2-Clause"]


@pytest.mark.parametrize("expression", ATTRIBUTED)
def test_licences_that_ask_for_a_notice(expression: str) -> None:
    assert licences.is_allowed(expression)


@pytest.mark.parametrize("expression", ["GPL-3.0", "MIT AND GPL-3.0", "nothing", "(MIT OR GPL-3.0) AND LGPL-2.1", ""])
def test_licences_that_ask_for_more(expression: str) -> None:
    assert not licences.is_allowed(expression)
