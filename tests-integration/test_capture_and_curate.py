"""The page `docs/how-to/capture-and-curate.md`: its commands run, one after the other, and do what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from townlet_trajectory.formats.open import format_of, open_dataset

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-to" / "capture-and-curate.md"
CATALOGUE = ROOT / "packages" / "townlet-trajectory" / "tests" / "data" / "catalogue"
COMMANDS = re.findall(r"^    (townlet .+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "townlet_runtime", *shlex.split(command)[1:]]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands of the page leave behind, beside a catalogue of the original."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(CATALOGUE, folder, dirs_exist_ok=True)
    for command in COMMANDS:
        done = run(command, folder)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), f"{command}: {done.stderr}"
    return folder


def num_steps(path: Path) -> int:
    with open_dataset(path, data_root=path.parent) as opened:
        return int(opened.source.table.lengths.sum())


def test_the_page_shows_every_command_of_the_group() -> None:
    shown = {command.split()[2] for command in COMMANDS if command.startswith("townlet dataset")}
    names = "audit convert curate describe filter info label merge-metrics outliers split"
    assert shown == set(names.split())


def test_every_form_holds_the_same_steps(folder: Path) -> None:
    forms = {"captures/calm": "captures", "shards/calm": "shards", "calm.npz": "npz", "minari/calm-v0": "minari"}
    forms["again"] = "captures"
    assert {name: format_of(folder / name) for name in forms} == forms
    assert len({num_steps(folder / name) for name in forms}) == 1
    assert num_steps(folder / "captures" / "calm") >= 6 * 100


def test_parts_and_what_was_kept(folder: Path) -> None:
    busy = num_steps(folder / "captures" / "busy")
    assert num_steps(folder / "parts" / "train") + num_steps(folder / "parts" / "held-out") == busy
    assert 0 < num_steps(folder / "kept") <= busy
    entries = json.loads((folder / "accepted.json").read_text(encoding="utf-8"))
    assert any(entry["accepted"] for entry in entries)
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    assert [*golden] == ["busy", "calm"]


def test_the_parquet_file_has_the_columns_of_the_page(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_schema(folder / "tables" / "calm" / "steps.parquet").names
    table = PAGE.read_text(encoding="utf-8").partition("| column | what it holds |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?`)(?:, \.\.\.)? \|", table, flags=re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell) if name != "features_NAME"]
    assert len(named) > 15
    assert [name for name in named if name not in found] == []
    assert "features_need_hunger" in found


def test_the_catalogue_of_the_original_passes(folder: Path) -> None:
    """The recorded call, with the data that was part of the original's repository."""
    done = run("townlet dataset audit --versions data/bc_datasets/versions.json", folder)
    report = json.loads(done.stdout)
    (idle,) = report["datasets"]
    assert {name: idle[name] for name in ("name", "status", "manifest", "checksums", "captures", "findings")} == {
        "name": "idle_v1_production",
        "status": "PASS",
        "manifest": "data/bc_datasets/manifests/idle_v1.json",
        "checksums": "data/bc_datasets/checksums/idle_v1.json",
        "captures": "data/bc_datasets/captures/idle_v1",
        "findings": [],
    }
    assert (idle["sample_count"], report["failures"], report["warnings"]) == (2, 0, 0)
