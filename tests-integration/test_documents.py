"""The code and the links in the documents are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
SKETCHES = {ROOT / "docs" / "architecture.md"}
"""Pages whose code shows signatures, not programmes."""
NEEDS = {"docs/how-to/mesa.md": "mesa", "docs/how-to/behavior-trees.md": "py_trees"}
"""Pages whose code needs an optional library."""
WITH_CODE = [page for page in PAGES if page not in SKETCHES and "```python" in page.read_text(encoding="utf-8")]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """One after the other, in one interpreter: a later block may use what an earlier one made."""
    if name(page) in NEEDS:
        pytest.importorskip(NEEDS[name(page)])
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


TUTORIAL = ROOT / "docs" / "tutorial.md"
"""Commands between its files make what the next one reads: `test_tutorial.py` runs them all in order."""
FILES = [page for page in PAGES if page != TUTORIAL and '```python title="' in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", FILES, ids=name)
def test_python_files_run(page: Path, tmp_path: Path) -> None:
    """Blocks with a title are programmes, each a file of that name."""
    found = re.findall(r'```python title="([\w.]+)"\n(.*?)```', page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for title, text in found:
        (tmp_path / title).write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, title], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert found


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("packages/*/README.md")], ids=name)
def test_links_outside_of_the_site_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "    pip install uv && uv run townlet train      #" in readme
    assert "    uv run nox                                  #" in readme


def test_the_readme_names_tests_that_exist() -> None:
    promises = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Promises")[2].partition("\n## ")[0]
    held_by = re.findall(r"`((?:packages|tests-integration)/[^`]+)`", promises)
    assert len(held_by) >= 10
    assert [path for path in held_by if not (ROOT / path).is_file()] == []


def test_the_check_runs_the_command_of_the_readme_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    calls = [line.split("<")[0].strip() for line in script.splitlines() if line.startswith("uv ")]
    assert calls == ["uv --version", "uv lock --check", "uv run nox"]
